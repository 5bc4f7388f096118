//! What a person decides about credentials.

use super::state::Slot;
use super::{Lease, Pool};
use crate::credential::CredentialId;
use crate::events::{EventKind, Numbers};
use crate::standing::{Change, Quota};
use crate::vault::VaultError;

impl Pool {
    /// Returns whether the pool has this credential, ready or not.
    pub fn contains(&self, id: CredentialId) -> bool {
        self.with_state(|state, _| state.find(id).is_some())
    }

    /// Clears a credential's cooldowns and failures, and moves it back to its place in the order that a person has
    /// set. A paused credential stays paused. If it shares a [quota](Self::set_quota), the limits of that end for all
    /// accounts that do. Saved immediately.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] if the pool has no such credential, and the vault's error if it can't be saved. The
    /// change still applies in this process, and the pool retries to save it in the background.
    pub async fn reset(&self, id: CredentialId) -> Result<(), VaultError> {
        if let Some(lease) = self.apply_manual_change(id, Change::Reset)? {
            self.emit(Numbers::NONE, EventKind::Reset { account: lease.credential().into() });
        }
        self.save().await
    }

    /// Takes a credential out of use until [`resume`](Self::resume). No request takes it, not even one that is pinned
    /// to it, and it is not renewed ahead of its expiry. Requests that are under way with it continue. No success, new
    /// sign-in or [`reset`](Self::reset) ends the pause. Saved immediately.
    ///
    /// In [`Mode::Auto`](super::Mode::Auto) paused accounts still count as accounts: API keys do not take their place.
    ///
    /// # Errors
    /// The same as for [`reset`](Self::reset). After an error of the vault's, the credential is paused in this
    /// process, but perhaps not in others.
    pub async fn pause(&self, id: CredentialId) -> Result<(), VaultError> {
        if let Some(lease) = self.apply_manual_change(id, Change::Paused)? {
            self.emit(Numbers::NONE, EventKind::Paused { account: lease.credential().into() });
        }
        self.save().await
    }

    /// Ends the [pause](Self::pause) of a credential. Saved immediately.
    ///
    /// # Errors
    /// The same as for [`reset`](Self::reset).
    pub async fn resume(&self, id: CredentialId) -> Result<(), VaultError> {
        if let Some(lease) = self.apply_manual_change(id, Change::Resumed)? {
            self.emit(Numbers::NONE, EventKind::Resumed { account: lease.credential().into() });
            // Its token may be due for renewal.
            self.0.renewals.send_replace(());
        }
        self.save().await
    }

    /// Moves a credential to a [tier](crate::standing::Standing::tier); `None` is the default tier of its kind. Saved
    /// immediately.
    ///
    /// # Errors
    /// The same as for [`reset`](Self::reset).
    pub async fn set_tier(&self, id: CredentialId, tier: Option<u8>) -> Result<(), VaultError> {
        if let Some(lease) = self.apply_manual_change(id, Change::Tier { tier })? {
            let account = lease.credential().into();
            self.emit(Numbers::NONE, EventKind::Moved { account, tier, place: None });
        }
        self.save().await
    }

    /// Sets the [quota](crate::standing::Quota) that a credential takes from: one that it shares with all accounts of the
    /// pool for which the same name is set or stated, or its own; `None` is the one that its vendor's responses name, or
    /// else its own. A limit that one account of a quota meets cools all of them down. Saved immediately.
    ///
    /// # Errors
    /// The same as for [`reset`](Self::reset).
    pub async fn set_quota(&self, id: CredentialId, quota: Option<Quota>) -> Result<(), VaultError> {
        if let Some(lease) = self.apply_manual_change(id, Change::Quota { quota: quota.clone() })? {
            self.emit(Numbers::NONE, EventKind::QuotaSet { account: lease.credential().into(), quota });
        }
        self.save().await
    }

    /// Makes a change that a person asks for. Returns the lease if it changes the standing here. If it does not, it is
    /// saved all the same: another process may have made the opposite change a moment ago.
    fn apply_manual_change(
        &self,
        id: CredentialId,
        change: Change,
    ) -> Result<Option<Lease>, VaultError> {
        let now = self.now();
        self.with_state(|state, config| {
            let slot = state.find(id).ok_or(VaultError::NotFound(id))?;
            let before = state.slots[slot].seen_standing();
            state.change(slot, change, config, now);
            let slot: &Slot = &state.slots[slot];
            Ok((slot.seen_standing() != before).then(|| slot.lease.clone()))
        })
    }
}

//! What to do if an older vault, such as a backup, replaces that of a running pool. Its refresh tokens are spent, and
//! to use one ends the whole sign-in at most vendors. The pool has newer ones, and stores them again.

use tokio::runtime::Handle;

use crate::credential::{Credential, Metadata, Record};
use crate::events::{EventKind, Numbers};
use crate::pool::{Lease, Pool, SlotIndex};
use crate::vault::{Replaced, VaultError, VaultExt, replace_as_it_came};

/// The credential in the vault after a newer secret was stored again.
pub(super) enum PutBack {
    /// With this pool's secret.
    Ours(Credential),
    /// With a secret that came after the vault was replaced: a new sign-in.
    Theirs(Credential),
}

impl Pool {
    /// Returns the leases whose secret is newer than the vault's.
    pub(in crate::pool) fn newer_than(&self, stored: &[Credential]) -> Vec<Lease> {
        self.with_state(|state, _| {
            let known = |record: &Credential| {
                let lease = &state.slots[*state.by_id.get(&record.metadata.id)?].lease;
                is_newer(lease, &record.metadata).then(|| lease.clone())
            };
            stored.iter().filter_map(known).collect()
        })
    }

    /// Stores these secrets again, each in a task of its own.
    pub(in crate::pool) fn put_all_back(&self, newer: Vec<Lease>) {
        let Ok(runtime) = Handle::try_current() else { return };
        for lease in newer {
            let pool = self.clone();
            runtime.spawn(async move {
                // Whoever refreshes it next tries again.
                if let Err(error) = pool.put_back_leased(&lease).await {
                    tracing::warn!(
                        "an older vault was put in place, and newer tokens are not stored yet: {error}"
                    );
                }
            });
        }
    }

    async fn put_back_leased(&self, lease: &Lease) -> Result<(), VaultError> {
        let (vault, id) = (self.vault(), lease.credential().id);
        let _lease = vault.lease_refresh(self.key(), id).await?;
        let stored = self.vault().get(self.key(), id).await?;
        self.put_back(lease.slot(), stored).await.map(drop)
    }

    /// Stores this pool's secret again in place of an older one. The caller must hold the refresh lease.
    pub(super) async fn put_back(
        &self,
        slot: SlotIndex,
        stored: Credential,
    ) -> Result<PutBack, VaultError> {
        // Read now, since another task may have done this after the older vault was found.
        let lease = self.with_state(|state, _| state.slots[slot].lease.clone());
        let Metadata { id, generation, .. } = stored.metadata;
        if lease.credential().generation == generation {
            return Ok(PutBack::Ours(stored));
        }
        let Some(secret) = lease.secret().filter(|_| is_newer(&lease, &stored.metadata)) else {
            return Ok(PutBack::Theirs(stored));
        };
        let pool = self.key().clone();
        let replaced = replace_as_it_came(self.vault(), pool, id, generation, secret.clone()).await?;
        let credential = match replaced {
            Replaced::Conflict(theirs) => return Ok(PutBack::Theirs(theirs)),
            Replaced::Swapped(generation) => {
                let updated_at = lease.credential().updated_at;
                let metadata = Metadata { generation, updated_at, ..stored.metadata };
                Record { metadata, secret: secret.clone() }
            }
        };
        self.emit(Numbers::NONE, EventKind::OlderVault { account: (&credential.metadata).into() });
        let now = self.now();
        // It was usable before.
        let _ = self
            .with_state(|state, config| state.adopt(&credential, true, self.provider(), config, now));
        Ok(PutBack::Ours(credential))
    }
}

/// Returns whether this lease's secret is newer than the stored one, whose generation is smaller. Generations start
/// again in an older vault, so a new sign-in there has a small one, too; its time tells them apart.
fn is_newer(lease: &Lease, stored: &Metadata) -> bool {
    let known = lease.credential();
    lease.secret().is_some()
        && stored.generation < known.generation
        && stored.updated_at <= known.updated_at
}

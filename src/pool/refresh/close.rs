//! Closing a pool without losing a token.

use std::fmt;
use std::time::Duration;

use super::stage::{RefreshStage, Running};
use crate::credential::Metadata;
use crate::patience::within;
use crate::pool::Pool;

/// How long to wait after a failed save, while a pool is being closed.
const PAUSE: Duration = Duration::from_millis(200);

/// What a pool had not finished when [`Pool::close`] returned.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unfinished {
    /// Accounts whose refresh token was sent to the vendor, and whose new one is not saved. If the program ends now,
    /// the new one may be lost, and a new sign-in needed.
    pub renewals: Vec<Metadata>,
    /// Whether some outcome, such as a cooldown, is not in the vault.
    pub unsaved: bool,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Metadata { pool, label, .. }) in self.renewals.iter().enumerate() {
            f.write_str(if number == 0 { "the renewal of " } else { ", " })?;
            write!(f, "{pool}/{label}")?;
        }
        if !self.renewals.is_empty() {
            f.write_str(" has not ended: its new token may be lost, and a new sign-in needed")?;
        }
        if self.unsaved {
            f.write_str(if self.renewals.is_empty() { "" } else { "; " })?;
            f.write_str("the latest changes to the accounts' standing are not saved")?;
        }
        Ok(())
    }
}

impl std::error::Error for Unfinished {}

impl Pool {
    /// Closes the pool. Call it whenever the program ends, also on a signal.
    ///
    /// Starts no more renewals. Waits, at most this long, until those under way have ended and their new tokens are
    /// saved, together with all other outcomes. A renewal that is aborted loses the account at most vendors: the old
    /// refresh token is spent, and the new one was not saved yet.
    ///
    /// A token endpoint usually answers within a second; a minute is a good bound. Later requests are sent with the
    /// tokens that the pool has. [`renewing`](Self::renewing) returns the accounts that are waited for. A second call
    /// continues to wait.
    ///
    /// ```
    /// # use tower_credentials::{Pool, provider::GenericProvider, vault::MemoryVault};
    /// # async fn run(pool: Pool) {
    /// if let Err(unfinished) = pool.close(std::time::Duration::from_secs(60)).await {
    ///     eprintln!("{unfinished}");
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Unfinished`], if something is not done by then. It continues while the runtime does.
    pub async fn close(&self, most: Duration) -> Result<(), Unfinished> {
        self.0.closing.send_replace(true);
        let finish = async {
            self.renewals_end(|pool| !pool.is_refreshing()).await;
            while self.save().await.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let finished = within(most, finish).await;
        self.publish();
        finished.map_err(|_| Unfinished {
            renewals: self.renewing(),
            unsaved: self.has_unsaved() || self.has_unsaved_responses(),
        })
    }

    /// Returns the accounts that are being renewed: their refresh token was sent to the vendor, and the new one is not
    /// saved yet.
    pub fn renewing(&self) -> Vec<Metadata> {
        self.with_state(|state, _| {
            let is_presented = |stage: &RefreshStage| {
                matches!(stage, RefreshStage::Running(Running { presented_at: Some(_), .. }))
            };
            let slots = state.slots.iter().filter(|slot| is_presented(&slot.refresh));
            slots.map(|slot| slot.lease.credential().clone()).collect()
        })
    }

    /// Waits until no account is [being renewed](Self::renewing).
    pub async fn renewed(&self) {
        self.renewals_end(|pool| pool.renewing().is_empty()).await;
    }

    /// Waits until this holds. Checks at the end of each refresh.
    async fn renewals_end(&self, done: impl Fn(&Self) -> bool) {
        let mut ends = self.0.renewals.subscribe();
        loop {
            ends.mark_unchanged();
            if done(self) || ends.changed().await.is_err() {
                return;
            }
        }
    }

    fn is_refreshing(&self) -> bool {
        self.with_state(|state, _| state.slots.iter().any(|slot| slot.refresh.is_running()))
    }

    pub(super) fn is_closing(&self) -> bool {
        *self.0.closing.borrow()
    }

    /// Waits until somebody closes the pool.
    pub(super) async fn closing(&self) {
        // The pool has the sender.
        let _ = self.0.closing.subscribe().wait_for(|closing| *closing).await;
    }
}

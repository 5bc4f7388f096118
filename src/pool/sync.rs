//! Loading what others have changed in the vault.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::Pool;
use super::state::PoolState;
use crate::events::{EventKind, Numbers};
use crate::vault::{VaultError, VaultExt};

/// How many times a load is tried until it does not overlap with a save of this pool.
const TRIES: usize = 8;

impl Pool {
    /// Loads what others have changed in the vault: credentials that were added, removed, moved or renewed, and
    /// cooldowns. This is one cheap request if nothing has changed.
    ///
    /// A pool does this automatically, as often as [`PoolBuilder::sync_every`](super::PoolBuilder::sync_every) says: by
    /// default, each second.
    ///
    /// # Errors
    /// The vault's error. The pool is then unchanged.
    pub async fn sync(&self) -> Result<(), VaultError> {
        let result = self.load_changes().await;
        self.publish_synced(&result);
        result
    }

    /// Loads the changes, and publishes nothing.
    pub(super) async fn load_changes(&self) -> Result<(), VaultError> {
        let revision = self.vault().revision(self.key().clone()).await?;
        let is_current = |state: &mut PoolState| state.revision == revision && !state.must_reload();
        if !self.with_state(|state, _| is_current(state)) {
            self.load().await?;
        }
        // The clock may have been set since the last load.
        let now = self.now();
        self.with_state(|state, config| state.end_misdated(config, now));
        Ok(())
    }

    /// Starts a task that syncs the pool. It ends with the last clone of the pool, or with the current runtime.
    /// Outside of a runtime this does nothing.
    pub(super) fn keep_syncing(&self, every: Duration) {
        let Ok(runtime) = Handle::try_current() else { return };
        let pool = std::sync::Arc::downgrade(&self.0);
        runtime.spawn(async move {
            let every = every.max(Duration::from_millis(1));
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut reported = None;
            let mut saved_responses = Instant::now();
            loop {
                let now = ticks.tick().await;
                let Some(pool) = pool.upgrade().map(Pool) else { return };
                pool.catch_up();
                // Logged once, not every second.
                let error = pool.sync_patiently(every).await.err().map(|error| error.to_string());
                if error != reported
                    && let Some(error) = &error
                {
                    tracing::warn!(target: "tower_credentials", %error, "could not read the vault");
                }
                reported = error;
                pool.save_pending();
                let save_every = pool.0.config.save_last_responses_every;
                if save_every.is_some_and(|every| now.duration_since(saved_responses) >= every) {
                    saved_responses = now;
                    pool.save_last_responses();
                }
            }
        });
    }

    /// Syncs the pool. While the vault hangs, the rest of what this task does goes on.
    async fn sync_patiently(&self, every: Duration) -> Result<(), VaultError> {
        let mut sync = pin!(self.sync());
        loop {
            match timeout(every, sync.as_mut()).await {
                Ok(result) => return result,
                Err(_) => {
                    self.catch_up();
                    self.publish();
                }
            }
        }
    }

    /// Loads the vault. If a save overlaps with the load, its outcomes may be in the loaded pool or not, but they must
    /// count once: the load is then repeated, a few times, and after that left to the next sync.
    pub(super) async fn load(&self) -> Result<(), VaultError> {
        for _ in 0..TRIES {
            let Some(saves) = self.with_state(|state, _| state.journal.settled()) else {
                match self.run_saver() {
                    Some(saving) => saving.await,
                    // The vault hangs.
                    None => return Ok(()),
                }
                continue;
            };
            let stored = self.vault().load_pool(self.key().clone()).await?;
            let newer = self.newer_than(&stored);
            let now = self.now();
            let damaged = self.with_state(|state, config| {
                (state.journal.settled() == Some(saves)).then(|| {
                    let damaged = state.load(stored, &*self.0.provider, config, now);
                    self.0.size.store(state.size() as u64, Ordering::Relaxed);
                    damaged
                })
            });
            if let Some(damaged) = damaged {
                self.put_all_back(newer);
                for damage in damaged {
                    self.emit(Numbers::NONE, EventKind::Damaged { damage: damage.into() });
                }
                self.0.renewals.send_replace(());
                return Ok(());
            }
        }
        Ok(())
    }
}

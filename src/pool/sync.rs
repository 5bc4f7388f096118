//! Taking over what others have changed in the vault.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Pool;
use super::state::PoolState;
use crate::events::Event;
use crate::vault::{VaultError, VaultExt};

/// How often a load is made until none of the pool's own outcomes is on its way meanwhile.
const TRIES: usize = 8;

impl Pool {
    /// Takes over what others have changed in the vault: credentials that were added, removed, moved
    /// or renewed, and cooldowns. One cheap request where nothing has changed.
    ///
    /// A pool does this by itself, every second unless
    /// [set otherwise](super::PoolBuilder::sync_every).
    ///
    /// # Errors
    /// Whatever the vault answers; the pool is then as it was.
    pub async fn sync(&self) -> Result<(), VaultError> {
        let revision = self.vault().revision(self.key().clone()).await?;
        let is_read = |state: &mut PoolState| state.revision == revision && !state.is_to_be_read_again();
        if !self.with_state(|state, _| is_read(state)) {
            self.load().await?;
        }
        // The clock may have been set since.
        let now = self.now();
        self.with_state(|state, config| state.end_misdated(config, now));
        Ok(())
    }

    /// Keeps syncing while any clone of the pool lives and the present runtime does; without effect
    /// outside of one.
    pub(super) fn keep_syncing(&self, every: Duration) {
        let Ok(runtime) = Handle::try_current() else { return };
        let pool = std::sync::Arc::downgrade(&self.0);
        runtime.spawn(async move {
            let every = every.max(Duration::from_millis(1));
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut told = None;
            let mut saved_responses = Instant::now();
            loop {
                let now = ticks.tick().await;
                let Some(pool) = pool.upgrade().map(Pool) else { return };
                pool.date_answers();
                // Told once, not every second.
                let trouble = pool.sync().await.err().map(|error| error.to_string());
                if trouble != told
                    && let Some(error) = &trouble
                {
                    tracing::warn!(target: "tower_credentials", %error, "could not read the vault");
                }
                told = trouble;
                pool.save_pending();
                let save_every = pool.0.config.save_last_responses_every;
                if save_every.is_some_and(|every| now.duration_since(saved_responses) >= every) {
                    saved_responses = now;
                    pool.save_last_responses();
                }
            }
        });
    }

    /// Takes over what the vault has. What is on its way into the vault may be in what was loaded or not, and
    /// must count once: such a load is made again, a few times, and then left to the next sync.
    pub(super) async fn load(&self) -> Result<(), VaultError> {
        for _ in 0..TRIES {
            let Some(batches) = self.with_state(|state, _| state.journal.settled()) else {
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
                (state.journal.settled() == Some(batches)).then(|| {
                    let damaged = state.load(stored, &*self.0.provider, config, now);
                    self.0.size.store(state.size() as u64, Ordering::Relaxed);
                    damaged
                })
            });
            if let Some(damaged) = damaged {
                self.put_all_back(newer);
                for damage in damaged {
                    self.emit(&Event::Damaged { damage: &damage });
                }
                self.0.renewals.send_replace(());
                return Ok(());
            }
        }
        Ok(())
    }
}

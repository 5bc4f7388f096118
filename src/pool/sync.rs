//! Loading what others have changed in the vault.

mod task;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;

use self::task::Syncing;
use super::Pool;
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
        self.sync_if_told(false).await
    }

    /// As [`sync`](Self::sync). If a watch has told of a change, what that has brought may be enough.
    async fn sync_if_told(&self, told: bool) -> Result<(), VaultError> {
        let result = self.load_changes(told).await;
        self.note_contact(&result);
        self.publish_synced(&result);
        result
    }

    /// Loads the changes, or at least what a watch has told of. Publishes nothing.
    pub(super) async fn load_changes(&self, told: bool) -> Result<(), VaultError> {
        let revision = match told {
            true => None,
            false => Some(self.vault().revision(self.key().clone()).await?),
        };
        let (is_known, must_reload) =
            self.with_state(|state, _| (Some(state.revision) == revision, state.must_reload()));
        if must_reload || (!is_known && !self.apply_changes(told).await?) {
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
        let (key, pool) = (self.key().clone(), Arc::downgrade(&self.0));
        // The timer is made in the task: a runtime without timers opens a pool all the same.
        runtime.spawn(async move {
            Syncing::new(key, every.max(Duration::from_millis(1))).run(pool).await;
        });
    }

    /// Applies what has changed in the vault, or at least what a watch has told of. Returns `false` if the pool must be loaded
    /// for that.
    async fn apply_changes(&self, told: bool) -> Result<bool, VaultError> {
        for _ in 0..TRIES {
            // Otherwise left to the next sync.
            let Some(saves) = self.settled().await else { return Ok(true) };
            let since = self.with_state(|state, _| state.revision);
            let changes = match told {
                true => self.vault().told_changes(self.key().clone(), since).await,
                false => self.vault().changes(self.key().clone(), since).await,
            };
            let changes = match changes {
                Ok(Some(changes)) => changes,
                Ok(None) | Err(VaultError::Unsupported { .. }) => return Ok(false),
                Err(error) => return Err(error),
            };
            let newer = self.newer_than(&changes.credentials);
            let is_renewed = !changes.credentials.is_empty();
            let now = self.now();
            let applied = self.with_state(|state, config| {
                let is_same = state.journal.settled() == Some(saves) && state.revision == since;
                is_same.then(|| {
                    let is_applied = state.can_apply(&changes)
                        && state.apply(changes, &*self.0.provider, config, now);
                    self.0.size.store(state.size() as u64, Ordering::Relaxed);
                    is_applied
                })
            });
            if let Some(is_applied) = applied {
                self.put_all_back(newer);
                if is_renewed {
                    self.0.renewals.send_replace(());
                }
                return Ok(is_applied);
            }
        }
        // Left to the next sync.
        Ok(true)
    }

    /// Waits until no save is under way. Returns how many there have been; `None` if the vault hangs, or one save follows the
    /// other.
    async fn settled(&self) -> Option<u64> {
        for _ in 0..TRIES {
            if let Some(saves) = self.with_state(|state, _| state.journal.settled()) {
                return Some(saves);
            }
            self.run_saver()?.await;
        }
        None
    }

    /// Loads the vault. If a save overlaps with the load, its outcomes may be in the loaded pool or not, but they must
    /// count once: the load is then repeated, a few times, and after that left to the next sync.
    pub(super) async fn load(&self) -> Result<(), VaultError> {
        for _ in 0..TRIES {
            let Some(saves) = self.settled().await else { return Ok(()) };
            let stored = self.vault().load_pool(self.key().clone()).await?;
            let newer = self.newer_than(&stored.credentials);
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

//! Renewing tokens ahead of their expiry, while the old ones still work.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Refresher;
use crate::pool::Pool;

/// How long the renewing task sleeps at most, since clocks are set and machines are suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

impl Pool {
    /// Starts a task that renews tokens. It ends with the last clone of the pool, or with the current runtime. Outside
    /// of a runtime this does nothing.
    pub(in crate::pool) fn keep_renewing(&self, refresher: Refresher) {
        let Ok(runtime) = Handle::try_current() else { return };
        let pool = std::sync::Arc::downgrade(&self.0);
        // The pool must be able to end while this task waits.
        let alive = move || pool.upgrade().map(Pool).filter(|pool| !pool.is_closing());
        let mut changes = self.0.renewals.subscribe();
        runtime.spawn(async move {
            loop {
                changes.mark_unchanged();
                let Some(pool) = alive() else { return };
                let now = pool.now();
                let (due, next) = pool.with_state(|state, config| state.renewals(config, now));
                drop(pool);
                for lease in due.into_iter().filter(|lease| refresher.renews(lease)) {
                    let Some(pool) = alive() else { return };
                    let refreshing = pool.refresh(&lease, &refresher, true);
                    drop(pool);
                    refreshing.await;
                }
                let sleep = next.map_or(LONGEST_SLEEP, |next| next.min(LONGEST_SLEEP));
                if !wait(&mut changes, sleep).await {
                    return;
                }
            }
        });
    }
}

/// Waits for a change, at most so long. Returns whether the pool is still alive.
async fn wait(changes: &mut watch::Receiver<()>, sleep: Duration) -> bool {
    !matches!(tokio::time::timeout(sleep, changes.changed()).await, Ok(Err(_)))
}

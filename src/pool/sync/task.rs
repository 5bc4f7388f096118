//! The task that syncs a pool: when the vault tells of a change, and now and then.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Weak;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use crate::credential::PoolKey;
use crate::pool::{Inner, Pool};
use crate::vault::{VaultError, VaultExt, Watch};

/// How many times less often the vault is asked while it tells of changes.
const RARELY: u32 = 30;

/// What the task does next.
enum Wake {
    /// It is time.
    Tick(Instant),
    /// The vault tells of a change.
    Changed,
    /// The vault tells nothing more.
    Unwatched,
}

/// Whether the vault tells of changes.
enum Watching {
    /// It is not known yet, or the last handle has ended.
    Unknown,
    Watch(Watch),
    /// It tells nobody.
    Never,
}

/// The state of the task.
pub(super) struct Syncing {
    key: PoolKey,
    every: Duration,
    ticks: Interval,
    watching: Watching,
    synced: Instant,
    saved_responses: Instant,
    /// Whether the vault could not be read the last time.
    is_away: bool,
    /// Whether the log says so. It says it once, and once that the vault can be read again.
    is_logged: bool,
}

impl Syncing {
    pub(super) fn new(key: PoolKey, every: Duration) -> Self {
        let now = Instant::now();
        let mut ticks = interval_at(now + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            key,
            every,
            ticks,
            watching: Watching::Unknown,
            synced: now,
            saved_responses: now,
            is_away: false,
            is_logged: false,
        }
    }

    /// Runs until the last clone of the pool is dropped.
    pub(super) async fn run(mut self, pool: Weak<Inner>) {
        if let Some(pool) = pool.upgrade().map(Pool) {
            self.watch(&pool).await;
            if self.is_told() {
                // Of what has changed since the pool was opened it tells nothing.
                self.sync(&pool, false).await;
            }
        }
        loop {
            let wake = self.next().await;
            let Some(pool) = pool.upgrade().map(Pool) else { return };
            pool.catch_up();
            match wake {
                Wake::Unwatched => self.watching = Watching::Unknown,
                Wake::Changed => self.sync(&pool, true).await,
                Wake::Tick(now) => self.tick(&pool, now).await,
            }
        }
    }

    /// Waits for whatever comes first.
    async fn next(&mut self) -> Wake {
        let Self { ticks, watching, .. } = self;
        match watching {
            Watching::Unknown | Watching::Never => Wake::Tick(ticks.tick().await),
            Watching::Watch(watch) => {
                let mut changed = pin!(watch.changed());
                poll_fn(|cx| {
                    if let Poll::Ready(now) = ticks.poll_tick(cx) {
                        return Poll::Ready(Wake::Tick(now));
                    }
                    let changed = changed.as_mut().poll(cx);
                    changed.map(|goes_on| if goes_on { Wake::Changed } else { Wake::Unwatched })
                })
                .await
            }
        }
    }

    fn is_told(&self) -> bool {
        matches!(self.watching, Watching::Watch(_))
    }

    async fn tick(&mut self, pool: &Pool, now: Instant) {
        let was_told =
            self.is_told() && !self.is_away && !pool.with_state(|state, _| state.must_reload());
        if matches!(self.watching, Watching::Unknown) {
            self.watch(pool).await;
        }
        if !was_told || now.duration_since(self.synced) >= self.every.saturating_mul(RARELY) {
            self.sync(pool, false).await;
        } else {
            pool.publish();
        }
        pool.save_pending();
        let save_every = pool.0.config.save_last_responses_every;
        if save_every.is_some_and(|every| now.duration_since(self.saved_responses) >= every) {
            self.saved_responses = now;
            pool.save_last_responses();
        }
    }

    /// Asks the vault to tell of changes.
    async fn watch(&mut self, pool: &Pool) {
        let watch = timeout(self.every, pool.vault().watch(self.key.clone())).await;
        self.watching = match watch {
            Ok(Ok(Some(watch))) => Watching::Watch(watch),
            Ok(Ok(None) | Err(VaultError::Unsupported { .. })) => Watching::Never,
            Ok(Err(_)) | Err(_) => Watching::Unknown,
        };
    }

    /// `told` says whether the vault has told of a change.
    async fn sync(&mut self, pool: &Pool, told: bool) {
        let result = sync_patiently(pool, self.every, told).await;
        self.synced = Instant::now();
        self.is_away = result.is_err();
        match &result {
            // Whoever returns this has logged it, once for all pools.
            Err(VaultError::Unreachable(_)) => {}
            Err(error) if !std::mem::replace(&mut self.is_logged, true) => {
                tracing::warn!(target: "tower_credentials", %error, "could not read the vault");
            }
            Ok(()) if std::mem::take(&mut self.is_logged) => {
                tracing::info!(target: "tower_credentials", "the vault can be read again");
            }
            _ => {}
        }
    }
}

/// Syncs the pool. While the vault hangs, the rest of what its task does goes on.
async fn sync_patiently(pool: &Pool, every: Duration, told: bool) -> Result<(), VaultError> {
    let mut sync = pin!(pool.sync_if_told(told));
    loop {
        match timeout(every, sync.as_mut()).await {
            Ok(result) => return result,
            Err(_) => {
                pool.catch_up();
                pool.publish();
            }
        }
    }
}

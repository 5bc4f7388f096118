//! Renewing tokens ahead of their expiry, while the old ones still work.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Refresher;
use crate::clock::Timestamp;
use crate::credential::{Generation, Metadata};
use crate::pool::{Lease, Pool};

/// How long before its expiry a token is renewed, at most; a tenth of its life where that is shorter.
const MARGIN: Duration = Duration::from_secs(300);

/// How long a new token is left alone, whatever is said of its expiry.
const SHORTEST_LIFE: Duration = Duration::from_secs(30);

/// How long after a refresh that failed the next one is made: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// How long the renewing task sleeps at most: clocks are set, and machines are suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// From when on a token is renewed before it is sent. A new one is used at least once, and for a while: of a server
/// whose tokens are dead when they come, each request would spend a refresh token.
pub(crate) fn lapses_at(lease: &Lease) -> Option<Timestamp> {
    let expiry = lease.expires_at().filter(|_| lease.is_refreshable())?;
    let Metadata { generation, updated_at, .. } = lease.credential();
    // Put into the vault as one that has expired, or known to be no good by who has renewed it.
    let is_known_dead = *generation == Generation::FIRST && expiry <= *updated_at;
    let is_left_alone = !is_known_dead && expiry != Timestamp::default();
    Some(if is_left_alone { expiry.max(updated_at.after(SHORTEST_LIFE)) } else { expiry })
}

/// When a credential's token is to be renewed next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Renewal {
    /// When it is due, where its expiry is known.
    due: Option<Timestamp>,
    /// Refreshes that have failed in a row.
    failures: u32,
    /// Until then the token endpoint is left alone.
    held_off_until: Timestamp,
    /// When it is tried again without being asked for: a random time after that.
    next_try: Timestamp,
}

impl Renewal {
    /// For a token that is new. `random`, from 0 to 1, spreads the renewals of many, and of many processes.
    pub(crate) fn of(lease: &Lease, random: f64) -> Self {
        let due = lease.expires_at().filter(|_| lease.is_refreshable()).map(|expiry| {
            let life = expiry.since(lease.credential().updated_at);
            let margin = MARGIN.min(life / 10);
            let due = expiry.before(margin.mul_f64(1.0 - random / 2.0));
            // Not at once again, where a server says that its tokens are dead when they come.
            due.max(lease.credential().updated_at.after(SHORTEST_LIFE))
        });
        Self { due, ..Self::default() }
    }

    /// A refresh has failed by no verdict of the vendor's.
    pub(crate) fn failed(&mut self, now: Timestamp, random: f64) {
        let grown = BACKOFF.0.saturating_mul(2u32.saturating_pow(self.failures)).min(BACKOFF.1);
        self.failures = self.failures.saturating_add(1);
        self.held_off_until = now.after(grown);
        self.next_try = now.after(grown.mul_f64(1.0 + random / 2.0));
    }

    pub(crate) fn is_held_off(&self, now: Timestamp) -> bool {
        now < self.held_off_until
    }

    /// When to renew, where that is to be done ahead.
    pub(crate) fn at(&self) -> Option<Timestamp> {
        self.due.map(|due| due.max(self.next_try))
    }
}

impl Pool {
    /// Keeps renewing while any clone of the pool lives and the present runtime does; without effect
    /// outside of one.
    pub(in crate::pool) fn keep_renewing(&self, refresher: Refresher) {
        let Ok(runtime) = Handle::try_current() else { return };
        let pool = std::sync::Arc::downgrade(&self.0);
        // The pool must be able to end while this task waits.
        let alive = move || pool.upgrade().map(Pool);
        let mut changes = self.0.renewals.subscribe();
        runtime.spawn(async move {
            loop {
                changes.mark_unchanged();
                let Some(pool) = alive() else { return };
                let now = pool.now();
                let (due, next) = pool.with_book(|book, config| book.renewals(config, now));
                drop(pool);
                for lease in due {
                    let Some(pool) = alive() else { return };
                    let refreshing = pool.refresh(&lease, &refresher, true);
                    drop(pool);
                    refreshing.await;
                }
                let sleep = next.map_or(LONGEST_SLEEP, |next| next.since(now).min(LONGEST_SLEEP));
                if !wait(&mut changes, sleep).await {
                    return;
                }
            }
        });
    }
}

/// Waits for a change, at most so long; whether the pool still lives.
async fn wait(changes: &mut watch::Receiver<()>, sleep: Duration) -> bool {
    !matches!(tokio::time::timeout(sleep, changes.changed()).await, Ok(Err(_)))
}

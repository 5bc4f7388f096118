//! Renewing tokens ahead of their expiry, while the old ones still work.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{HoldOff, Refreshed, Refresher};
use crate::clock::Timestamp;
use crate::credential::{Generation, Metadata};
use crate::pool::{Lease, Pool};

/// How long before its expiry a token is renewed, at most; a tenth of its life where that is shorter.
const MARGIN: Duration = Duration::from_secs(300);

/// How long a new token is left alone, whatever is said of its expiry.
pub(super) const SHORTEST_LIFE: Duration = Duration::from_secs(30);

/// How long after a refresh that failed the next one is made: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// How long after a refresh for which the vault could not be used the next one is made, at most: nobody but the
/// vault is asked.
const VAULT_BACKOFF: Duration = Duration::from_secs(10);

/// How long the renewing task sleeps at most: clocks are set, and machines are suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// From when on a token is renewed before it is sent. A new one is used at least once, and for a while: of a server
/// whose tokens are dead when they come, each request would spend a refresh token.
pub(crate) fn lapses_at(lease: &Lease) -> Option<Timestamp> {
    if lease.lacks_token() {
        return Some(Timestamp::default());
    }
    let expiry = lease.expires_at().filter(|_| lease.is_refreshable())?;
    let Metadata { generation, updated_at, .. } = lease.credential();
    // Put into the vault as one that has expired, or known to be no good by who has renewed it.
    let is_known_dead = *generation == Generation::FIRST && expiry <= *updated_at;
    let is_left_alone = !is_known_dead && expiry != Timestamp::default() && !lease.has_unread_response();
    Some(if is_left_alone { expiry.max(updated_at.after(SHORTEST_LIFE)) } else { expiry })
}

/// When a credential's token is to be renewed next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Renewal {
    /// When it is due, where its expiry is known.
    due: Option<Timestamp>,
    /// Refreshes that have failed in a row.
    failures: u32,
    held: Option<Held>,
}

/// For how long no refresh is begun. By a clock that nobody sets.
#[derive(Clone, Debug)]
struct Held {
    until: Instant,
    /// When it is tried again without being asked for: a random time after that.
    next_try: Instant,
    /// What requests are told meanwhile.
    told: Refreshed,
}

impl Renewal {
    /// For a token that is new. `random`, from 0 to 1, spreads the renewals of many, and of many processes.
    pub(crate) fn of(lease: &Lease, now: Timestamp, random: f64) -> Self {
        // One that lacks its first token has never had a life.
        let is_first = lease.credential().generation == Generation::FIRST;
        let expiry = if lease.lacks_token() { Some(Timestamp::default()) } else { lease.expires_at() };
        let due = expiry.filter(|_| lease.is_refreshable()).map(|expiry| {
            if lease.lacks_token() && is_first {
                return expiry;
            }
            // Its expiry was told by the same clock, so nobody knows how old it is.
            if lease.credential().updated_at.is_misdated(now) {
                return now;
            }
            let life = expiry.since(lease.credential().updated_at);
            let margin = MARGIN.min(life / 10);
            let due = expiry.before(margin.mul_f64(1.0 - random / 2.0));
            if lease.has_unread_response() {
                return due;
            }
            // Not at once again, where a server says that its tokens are dead when they come.
            due.max(lease.credential().updated_at.after(SHORTEST_LIFE))
        });
        Self { due, ..Self::default() }
    }

    /// A refresh has failed by no verdict of the vendor's. How long the next one is left, and how many have failed in
    /// a row.
    pub(crate) fn failed(&mut self, hold_off: HoldOff, random: f64) -> (Duration, u32) {
        let grown = BACKOFF.0.saturating_mul(2u32.saturating_pow(self.failures));
        let (wait, told) = match hold_off {
            HoldOff::Vendor { stated } => {
                (grown.min(BACKOFF.1).max(stated.unwrap_or_default()), Refreshed::NoHelp)
            }
            HoldOff::Vault => (grown.min(VAULT_BACKOFF), Refreshed::Unavailable),
            HoldOff::ByOthers { left } => (left, Refreshed::NoHelp),
        };
        if !matches!(hold_off, HoldOff::ByOthers { .. }) {
            self.failures = self.failures.saturating_add(1);
        }
        let now = Instant::now();
        // What is stated may be long, and a tenth of it is spread enough.
        let spread = (wait / 2).min(grown.max(wait / 10)).mul_f64(random);
        self.held = Some(Held { until: now + wait, next_try: now + wait + spread, told });
        (wait, self.failures)
    }

    /// So many have failed one after the other, here or in other processes.
    pub(crate) fn have_failed(&mut self, in_a_row: u32) {
        self.failures = self.failures.max(in_a_row);
    }

    /// What requests are told that need a refresh, where none is begun now.
    pub(crate) fn held_off(&self) -> Option<Refreshed> {
        let held = self.held.as_ref().filter(|held| Instant::now() < held.until)?;
        Some(held.told.clone())
    }

    /// In how long to renew, where that is to be done ahead.
    pub(crate) fn is_due_in(&self, now: Timestamp) -> Option<Duration> {
        let held = self.held.as_ref().map(|held| held.next_try.duration_since(Instant::now()));
        self.due.map(|due| due.since(now).max(held.unwrap_or_default()))
    }
}

impl Pool {
    /// Keeps renewing while any clone of the pool lives and the present runtime does; without effect
    /// outside of one.
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

/// Waits for a change, at most so long; whether the pool still lives.
async fn wait(changes: &mut watch::Receiver<()>, sleep: Duration) -> bool {
    !matches!(tokio::time::timeout(sleep, changes.changed()).await, Ok(Err(_)))
}

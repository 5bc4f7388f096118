//! When a credential's token is renewed next, and for how long a refresh that failed is not repeated.

use std::time::Duration;

use tokio::time::Instant;

use super::stage::Refreshed;
use crate::clock::Timestamp;
use crate::credential::{Generation, Metadata};
use crate::pool::lease::Lease;

/// How long before its expiry a token is renewed, at most; a tenth of its lifetime if that is shorter.
const MARGIN: Duration = Duration::from_secs(300);

/// How long a new token is used at least, whatever expiry it claims.
pub(super) const SHORTEST_LIFE: Duration = Duration::from_secs(30);

/// How long to wait after a failed refresh: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// How long to wait at most if the vault failed: nobody but the vault is asked.
const VAULT_BACKOFF: Duration = Duration::from_secs(10);

/// Returns from when on a token is renewed before it is sent. A new token is used for a while even if it claims to have
/// expired: if a server's tokens are dead when they come, each request would cost a refresh token.
pub(crate) fn lapses_at(lease: &Lease) -> Option<Timestamp> {
    if lease.lacks_token() {
        return Some(Timestamp::default());
    }
    let expiry = lease.expires_at().filter(|_| lease.is_refreshable())?;
    let Metadata { generation, updated_at, .. } = lease.credential();
    // It had expired when it was put into the vault, or whoever renewed it knows that it is dead.
    let is_known_dead = *generation == Generation::FIRST && expiry <= *updated_at;
    let is_new = !is_known_dead && expiry != Timestamp::default() && !lease.has_unread_response();
    Some(if is_new { expiry.max(updated_at.after(SHORTEST_LIFE)) } else { expiry })
}

/// Why, and for how long, no refresh is started.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HoldOff {
    /// The token endpoint fails. It may have stated when to ask again.
    Vendor { stated: Option<Duration> },
    /// The vault fails.
    Vault,
    /// Another process has found that the token endpoint fails.
    ByOthers { left: Duration },
}

/// When a credential's token is renewed next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Renewal {
    /// When it is due, if its expiry is known.
    due: Option<Timestamp>,
    /// How many consecutive refreshes have failed.
    failures: u32,
    held: Option<Held>,
}

/// How long no refresh is started. Uses the monotonic clock, which nobody can set.
#[derive(Clone, Debug)]
struct Held {
    until: Instant,
    /// When the next refresh starts without a request: a random time after that.
    next_try: Instant,
    /// The result for requests meanwhile.
    result: Refreshed,
}

impl Renewal {
    /// Plans the renewal of a new token. `random`, from 0 to 1, spreads those of many tokens and of many processes.
    pub(crate) fn of(lease: &Lease, now: Timestamp, random: f64) -> Self {
        // A credential that lacks its first token has never had a lifetime.
        let is_first = lease.credential().generation == Generation::FIRST;
        let expiry = if lease.lacks_token() { Some(Timestamp::default()) } else { lease.expires_at() };
        let due = expiry.filter(|_| lease.is_refreshable()).map(|expiry| {
            if lease.lacks_token() && is_first {
                return expiry;
            }
            // The same wrong clock has set the expiry, so nobody knows how old the token is.
            if lease.credential().updated_at.is_misdated(now) {
                return now;
            }
            let life = expiry.since(lease.credential().updated_at);
            let margin = MARGIN.min(life / 10);
            let due = expiry.before(margin.mul_f64(1.0 - random / 2.0));
            if lease.has_unread_response() {
                return due;
            }
            // Not immediately again, if a server says that its tokens are dead when they come.
            due.max(lease.credential().updated_at.after(SHORTEST_LIFE))
        });
        Self { due, ..Self::default() }
    }

    /// Records a refresh that failed without a verdict of the vendor's. Returns how long to wait for the next one, and
    /// how many have failed in a row.
    pub(crate) fn failed(&mut self, hold_off: HoldOff, random: f64) -> (Duration, u32) {
        let grown = BACKOFF.0.saturating_mul(2u32.saturating_pow(self.failures));
        let (wait, result) = match hold_off {
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
        // A stated time may be long, and a tenth of it is enough jitter.
        let jitter = (wait / 2).min(grown.max(wait / 10)).mul_f64(random);
        self.held = Some(Held { until: now + wait, next_try: now + wait + jitter, result });
        (wait, self.failures)
    }

    /// Takes over how many refreshes have failed in a row, here or in other processes.
    pub(crate) fn have_failed(&mut self, in_a_row: u32) {
        self.failures = self.failures.max(in_a_row);
    }

    /// Returns the result for requests that need a refresh while none is started.
    pub(crate) fn held_off(&self) -> Option<Refreshed> {
        let held = self.held.as_ref().filter(|held| Instant::now() < held.until)?;
        Some(held.result.clone())
    }

    /// Returns how long to wait until the token is renewed ahead of its expiry; `None` if it never is.
    pub(crate) fn is_due_in(&self, now: Timestamp) -> Option<Duration> {
        let held = self.held.as_ref().map(|held| held.next_try.duration_since(Instant::now()));
        self.due.map(|due| due.since(now).max(held.unwrap_or_default()))
    }
}

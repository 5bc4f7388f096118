//! The engine's clock, and this host's.
//!
//! All moments of standings in the engine are by the engine's clock, so that they mean the same to hosts whose clocks differ.
//! A host moves them by the difference where it writes and reads. It measures that with each connection and then now and then;
//! between two measurements it reckons by its monotonic clock, so that it notices if its wall clock is set.

use std::time::{Duration, Instant};

use super::Inner;
use super::fault::Fault;
use super::pool::Pool;
use crate::clock::Clock;
use crate::standing::shift::Shift;
use crate::vault::Revision;

/// For how long a measurement is used.
const MEASURED_FOR: Duration = Duration::from_secs(60);

/// A smaller difference counts as none, so that hosts in step read exactly what was written. In milliseconds.
const LEAST: i64 = 1_000;

/// A difference that is known is kept until it is off by more than this, so that no moment changes with each measurement. In
/// milliseconds.
const TOLERATED: i64 = 500;

/// What an engine's clock has said.
#[derive(Clone, Copy, Debug)]
pub(super) struct EngineTime {
    /// In milliseconds since the Unix epoch.
    millis: i64,
    /// When it said so, by this host's monotonic clock.
    at: Instant,
    round_trip: Duration,
}

impl EngineTime {
    /// Takes what `TIME` has said, seconds and microseconds, in response to a command that was sent at this moment.
    pub(super) fn said((seconds, micros): (i64, i64), asked_at: Instant) -> Self {
        let round_trip = asked_at.elapsed();
        let millis = seconds.saturating_mul(1_000).saturating_add(micros / 1_000);
        Self { millis, at: asked_at + round_trip / 2, round_trip }
    }

    /// Returns whether it was said no longer ago than this.
    pub(super) fn is_from_within(&self, past: Duration) -> bool {
        self.at.elapsed() <= past
    }

    /// Returns how long the command and its response have taken.
    pub(super) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Returns by how many milliseconds the engine's clock is ahead of this one, and by how many that may be wrong.
    pub(super) fn ahead_of(&self, clock: &Clock) -> (i64, i64) {
        let before = self.at.elapsed();
        let own = i64::try_from(clock.now().as_millis()).unwrap_or(i64::MAX);
        // The process may have been stopped in between.
        let taken = self.at.elapsed().saturating_sub(before);
        let engine = self.millis.saturating_add(millis_of(before + taken / 2));
        (engine.saturating_sub(own), millis_of((self.round_trip + taken) / 2))
    }
}

fn millis_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// By how much the engine's clock is ahead of this host's, as far as a pool's moments are concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// In milliseconds.
    pub(super) ahead: i64,
    /// How often it has changed.
    changes: u16,
}

impl Difference {
    /// Returns the difference after a measurement, whose error is given, too.
    fn after(self, (ahead, error): (i64, i64)) -> Self {
        let ahead = if ahead.saturating_abs() < LEAST.saturating_add(error) { 0 } else { ahead };
        let is_near =
            ahead.saturating_sub(self.ahead).saturating_abs() <= TOLERATED.saturating_add(error);
        if is_near { self } else { Self { ahead, changes: self.changes.wrapping_add(1) } }
    }

    /// Returns what the engine has stored with its moments by this host's clock.
    pub(super) fn here<T: Shift>(self, mut stored: T) -> T {
        stored.shift(-self.ahead);
        stored
    }

    /// Turns a revision of the log into one of this host's, and back. After each change of the difference it is another one:
    /// the pool loads its standings again, with the right moments.
    pub(super) fn mark(self, revision: Revision) -> Revision {
        let mut bytes = *revision.as_bytes();
        let [high, low] = self.changes.to_be_bytes();
        bytes[0] ^= high;
        bytes[1] ^= low;
        Revision::from_bytes(bytes)
    }
}

impl Inner {
    /// Returns the difference between the clocks for a pool. Asks the engine if the last measurement is too old, or if the
    /// clocks seem to differ otherwise than before.
    pub(super) async fn difference(&self, pool: &Pool) -> Result<Difference, Fault> {
        let (slot, clock) = (pool.keys.slot(), &self.settings.clock);
        let mut time = self.engine.time(slot, MEASURED_FOR).await?;
        let known = *pool.difference();
        if known.after(time.ahead_of(clock)) != known {
            // The monotonic clock may have stood still, while the host was suspended.
            time = self.engine.time(slot, Duration::ZERO).await?;
        }
        let measured = time.ahead_of(clock);
        let (known, now) = {
            let mut difference = pool.difference();
            let known = *difference;
            *difference = known.after(measured);
            (known, *difference)
        };
        if known != now {
            tracing::info!(
                target: "tower_credentials",
                pool = %pool.key,
                ahead_ms = now.ahead,
                "the vault's engine has another time than this host, which is taken into account"
            );
            // Those who watch it load it again.
            pool.changed.send_replace(());
        }
        Ok(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public API shows a difference only over an engine, whose clock a test can't set.
    #[test]
    fn a_difference_is_kept_until_it_is_off_by_more_than_half_a_second_and_the_error() {
        let none = Difference::default();
        assert_eq!(none.after((999, 0)), none);
        assert_eq!(none.after((-1_200, 300)), none);
        let hour = none.after((3_600_000, 5));
        assert_eq!((hour.ahead, hour.changes), (3_600_000, 1));
        assert_eq!(hour.after((3_600_500, 0)), hour);
        assert_eq!(hour.after((3_601_000, 500)), hour);
        assert_eq!(hour.after((3_600_501, 0)).ahead, 3_600_501);
        let none_again = hour.after((20, 0));
        assert_eq!((none_again.ahead, none_again.changes), (0, 2));
    }

    #[test]
    fn a_revision_is_another_one_after_a_change_and_can_be_turned_back() {
        let revision = Revision::from_bytes([7; 16]);
        let [before, after] = [0, 1].map(|changes| Difference { ahead: 0, changes });
        assert_eq!(before.mark(revision), revision);
        assert_ne!(after.mark(revision), revision);
        assert_eq!(after.mark(after.mark(revision)), revision);
    }
}

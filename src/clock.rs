//! What time it is, for deadlines that outlive the process.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment in milliseconds since the Unix epoch; what deadlines and records are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment that lies `milliseconds` after the Unix epoch.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whether this was told by a clock that was wrong: it lies further in the future than the clocks of those who share
    /// a vault may be apart.
    pub(crate) fn is_misdated(self, now: Timestamp) -> bool {
        const CLOCKS_DIFFER: Duration = Duration::from_secs(60);
        self > now.after(CLOCKS_DIFFER)
    }

    /// How long after `earlier` this moment lies; zero where it does not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The moment `duration` later. A fraction of a millisecond is rounded up, so that a wait until
    /// the result is never too short.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let milliseconds = duration.as_nanos().div_ceil(1_000_000);
        Self(self.0.saturating_add(u64::try_from(milliseconds).unwrap_or(u64::MAX)))
    }

    /// The moment this long before.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The last moment that RFC 3339 has a text for, in milliseconds.
const END_OF_9999: u64 = 253_402_300_799_999;

/// As RFC 3339 has it, in UTC to the millisecond: `2026-11-28T22:33:44.000Z`. What is after the year 9999 is shown as
/// its end.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = UNIX_EPOCH + Duration::from_millis(self.0.min(END_OF_9999));
        humantime::format_rfc3339_millis(shown).fmt(f)
    }
}

impl From<Timestamp> for SystemTime {
    /// What the system has no time for becomes the end of the year 9999.
    fn from(timestamp: Timestamp) -> Self {
        let exact = UNIX_EPOCH.checked_add(Duration::from_millis(timestamp.0));
        exact.unwrap_or(UNIX_EPOCH + Duration::from_millis(END_OF_9999))
    }
}

impl From<SystemTime> for Timestamp {
    /// A time before the epoch becomes the epoch.
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Where a pool reads the time: the system's wall clock, or a function of yours, such as one over
/// tokio's paused clock in a test.
///
/// The wall clock, since a cooldown is saved and shared: it must mean the same after a restart, after
/// a suspended laptop wakes up, and in another process.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn Fn() -> SystemTime + Send + Sync>>);

impl Clock {
    /// The system's wall clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that asks `now`.
    pub fn from_fn(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(now)))
    }

    /// Whether it is the system's.
    pub(crate) fn is_system(&self) -> bool {
        self.0.is_none()
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            None => SystemTime::now().into(),
            Some(now) => now().into(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_system() { "Clock(system)" } else { "Clock(function)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_as_rfc_3339_has_it_and_comes_back_as_the_systems_time() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (1_795_905_224_000, "2026-11-28T22:33:44.000Z"),
            (END_OF_9999, "9999-12-31T23:59:59.999Z"),
            (END_OF_9999 + 1, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            let timestamp = Timestamp::from_millis(milliseconds);
            assert_eq!(timestamp.to_string(), text);
            let time = SystemTime::from(timestamp);
            if milliseconds <= END_OF_9999 {
                assert_eq!(Timestamp::from(time), timestamp);
            }
        }
    }
}

//! Wall-clock time, for deadlines that outlive the process.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment, in milliseconds since the Unix epoch. Deadlines and records use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Creates the moment that is this many milliseconds after the Unix epoch.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Returns the milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns whether a wrong clock has set this: it is further in the future than the clocks of processes that share
    /// a vault may differ.
    pub(crate) fn is_misdated(self, now: Timestamp) -> bool {
        const CLOCKS_DIFFER: Duration = Duration::from_secs(60);
        self > now.after(CLOCKS_DIFFER)
    }

    /// Returns how long after `earlier` this moment is; zero if it is not after it.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Returns the moment this much later. A fraction of a millisecond is rounded up, so that a wait until then is
    /// never too short.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let milliseconds = duration.as_nanos().div_ceil(1_000_000);
        Self(self.0.saturating_add(u64::try_from(milliseconds).unwrap_or(u64::MAX)))
    }

    /// Returns the moment this much earlier.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The last moment that RFC 3339 can express, in milliseconds.
const END_OF_9999: u64 = 253_402_300_799_999;

/// Formats it by RFC 3339, in UTC to the millisecond: `2026-11-28T22:33:44.000Z`. A moment after the year 9999 is
/// shown as the end of that year.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = UNIX_EPOCH + Duration::from_millis(self.0.min(END_OF_9999));
        humantime::format_rfc3339_millis(shown).fmt(f)
    }
}

impl From<Timestamp> for SystemTime {
    /// A moment that the system cannot express becomes the end of the year 9999.
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

/// The clock of a pool: the system's wall clock, or a function, for example one over tokio's paused clock in a test.
///
/// It is a wall clock because cooldowns are saved and shared: they must mean the same after a restart, after a
/// suspended laptop wakes up, and in another process.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn Fn() -> SystemTime + Send + Sync>>);

impl Clock {
    /// Returns the system's wall clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// Creates a clock that calls `now`.
    pub fn from_fn(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(now)))
    }

    /// Returns whether it is the system's.
    pub(crate) fn is_system(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the current time.
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
    fn a_moment_is_shown_by_rfc_3339_and_converts_to_system_time_and_back() {
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

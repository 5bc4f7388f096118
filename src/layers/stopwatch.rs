//! How long an attempt took.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use super::history::Sent;

/// The time of an attempt that has just ended. The clock is read when the time is first asked for, and only then.
pub(super) struct Stopwatch {
    started: Option<Instant>,
    elapsed: OnceCell<Duration>,
}

impl Stopwatch {
    /// Returns the stopwatch of this attempt. `None` is one whose time does not count.
    #[inline]
    pub(super) fn of(sent: Option<&Sent>) -> Self {
        Self { started: sent.and_then(|sent| sent.started), elapsed: OnceCell::new() }
    }

    /// Returns the time, if the attempt is timed.
    pub(super) fn elapsed(&self) -> Option<Duration> {
        let started = self.started?;
        Some(*self.elapsed.get_or_init(|| started.elapsed()))
    }
}

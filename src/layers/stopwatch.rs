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
    /// For an attempt that is not timed.
    pub(super) const NONE: Self = Self { started: None, elapsed: OnceCell::new() };

    #[inline]
    pub(super) fn of(sent: Option<&Sent>) -> Self {
        Self { started: sent.and_then(|sent| sent.started), ..Self::NONE }
    }

    /// Returns the time, if the attempt is timed.
    pub(super) fn elapsed(&self) -> Option<Duration> {
        let started = self.started?;
        Some(*self.elapsed.get_or_init(|| started.elapsed()))
    }
}

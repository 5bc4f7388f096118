//! A pool's logical clock: it orders cooldowns and attempts, whatever the wall clock does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A moment on a pool's logical clock. Of two moments the later one is the larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogicalTime(u64);

/// A logical clock. It advances with each cooldown, so it tells whether an attempt began before or after one. Every
/// clone is the same clock.
#[derive(Clone, Debug, Default)]
pub(super) struct LogicalClock(Arc<AtomicU64>);

impl LogicalClock {
    /// Returns the current time.
    #[inline]
    pub(super) fn now(&self) -> LogicalTime {
        LogicalTime(self.0.load(Ordering::Acquire))
    }

    /// Moves to a later time, and returns it.
    pub(super) fn advance(&self) -> LogicalTime {
        LogicalTime(self.0.fetch_add(1, Ordering::AcqRel) + 1)
    }
}

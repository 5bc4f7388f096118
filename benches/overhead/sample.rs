//! The time and the allocations that requests take.

use std::time::{Duration, Instant};

use crate::counting_allocator::allocations;

/// The time and the allocations of some requests.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sample {
    pub(crate) time: Duration,
    /// Of this thread.
    pub(crate) allocations: u64,
}

/// Measures what happens between its two calls.
pub(crate) struct Meter {
    allocations: u64,
    start: Instant,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self { allocations: allocations(), start: Instant::now() }
    }

    pub(crate) fn stop(self) -> Sample {
        let time = self.start.elapsed();
        Sample { time, allocations: allocations() - self.allocations }
    }
}

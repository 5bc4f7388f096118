//! Of which responses the limit headers are read.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How many responses of an account are read between two looks of the task that syncs the pool. Those of a person's own
/// programs are all read; a busy server's cost nothing beyond these.
const MOST: u64 = 16;

/// How many low bits hold how many were read.
const COUNT_BITS: u32 = 8;

/// Counts the looks of the task that syncs the pool.
#[derive(Debug, Default)]
pub(super) struct SamplePeriod(AtomicU32);

impl SamplePeriod {
    pub(super) fn advance(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many responses of an account were read in a period, and in which.
#[derive(Debug, Default)]
pub(crate) struct Samples(AtomicU64);

impl Samples {
    /// Returns whether this response is one of those that are read. Of concurrent ones more may be, which does not
    /// matter.
    #[inline]
    pub(super) fn take(&self, period: &SamplePeriod) -> bool {
        let period = u64::from(period.0.load(Ordering::Relaxed)) << COUNT_BITS;
        let known = self.0.load(Ordering::Relaxed);
        let is_of_this = known >> COUNT_BITS == period >> COUNT_BITS;
        if is_of_this && known - period >= MOST {
            return false;
        }
        self.0.store(if is_of_this { known } else { period } + 1, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public API does not show which responses are read.
    #[test]
    fn each_period_reads_a_few() {
        let (samples, period) = (Samples::default(), SamplePeriod::default());
        let read = || (0..1000).filter(|_| samples.take(&period)).count() as u64;
        assert_eq!((read(), read()), (MOST, 0));
        period.advance();
        assert_eq!((read(), read()), (MOST, 0));
        period.advance();
        period.advance();
        assert_eq!((read(), read()), (MOST, 0));
    }
}

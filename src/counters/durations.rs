//! How long attempts took, as a histogram.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The upper bounds of the buckets, in milliseconds: those that OpenTelemetry's semantic conventions advise for
/// `http.client.request.duration`.
const BOUNDS: [u64; 14] = [5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000];

/// How long attempts took, from when they were sent until the head of the response arrived, or until they failed: a
/// histogram.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Durations {
    /// How many attempts were timed.
    pub count: u64,
    /// The sum of their durations, in seconds.
    pub sum: f64,
    /// For each [bound](Self::bounds), how many took at most this long, but longer than the bound before; and at the
    /// end, how many took longer than the last.
    pub buckets: Vec<u64>,
}

impl Durations {
    /// Returns the upper bounds of the buckets, in seconds, without the last, which has none.
    pub fn bounds() -> impl ExactSizeIterator<Item = f64> {
        BOUNDS.iter().map(|bound| Duration::from_millis(*bound).as_secs_f64())
    }
}

#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Histogram {
    pub(super) fn record(&self, elapsed: Duration) {
        let bucket = BOUNDS.partition_point(|bound| Duration::from_millis(*bound) < elapsed);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Durations {
        let buckets: Vec<_> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let nanoseconds = self.nanoseconds.load(Ordering::Relaxed);
        Durations {
            count: buckets.iter().sum(),
            sum: Duration::from_nanos(nanoseconds).as_secs_f64(),
            buckets,
        }
    }
}

//! Clocks that a test advances.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use tower_credentials::Clock;

/// The tests' clocks start at this time since the Unix epoch.
const START: Duration = Duration::from_secs(4_000_000_000);

/// A clock that follows tokio's, which a test can pause.
pub(crate) fn tokio_clock() -> Clock {
    let start = tokio::time::Instant::now();
    Clock::from_fn(move || UNIX_EPOCH + START + start.elapsed())
}

/// A clock that a test advances, for tests over sockets.
#[derive(Clone)]
pub(crate) struct HandClock(Arc<AtomicU64>);

impl HandClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let elapsed = self.0.clone();
        Clock::from_fn(move || {
            UNIX_EPOCH + START + Duration::from_millis(elapsed.load(Ordering::SeqCst))
        })
    }
}

/// Lets every task run as far as it can.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

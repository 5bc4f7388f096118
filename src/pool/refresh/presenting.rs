//! Until when a token may be presented: as long as its lease is held for sure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

tokio::task_local! {
    static PRESENTING: Presenting;
}

/// The time at which the vault was asked, by both clocks: one stands still while the computer is suspended, and the other may
/// be set.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    at: Instant,
    by_wall_clock: SystemTime,
}

impl Asked {
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), by_wall_clock: SystemTime::now() }
    }

    fn elapsed(&self) -> Duration {
        self.at.elapsed().max(self.by_wall_clock.elapsed().unwrap_or_default())
    }
}

/// Whether the token of an exchange may be presented.
#[derive(Clone)]
pub(super) struct Presenting {
    asked: Asked,
    within: Option<Duration>,
    was_refused: Arc<AtomicBool>,
}

impl Presenting {
    /// The token may be presented within this time after the vault was asked; `None` if there is no limit.
    pub(super) fn within(within: Option<Duration>, asked: Asked) -> Self {
        Self { asked, within, was_refused: Arc::default() }
    }

    pub(super) fn may(&self) -> bool {
        let is_late = self.within.is_some_and(|within| self.asked.elapsed() > within);
        if is_late {
            self.was_refused.store(true, Ordering::Relaxed);
        }
        !is_late
    }

    /// Whether somebody was told that it is too late.
    pub(super) fn was_refused(&self) -> bool {
        self.was_refused.load(Ordering::Relaxed)
    }

    /// Exchanges with this in mind.
    pub(super) async fn scope<T>(&self, exchange: impl Future<Output = T>) -> T {
        PRESENTING.scope(self.clone(), exchange).await
    }
}

/// Whether the refresh that this is called in may still present its token.
pub(super) fn may_present() -> bool {
    PRESENTING.try_with(Presenting::may).unwrap_or(true)
}

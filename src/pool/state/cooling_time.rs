//! How long a credential has cooled down in all.

use std::time::Duration;

use crate::clock::Timestamp;

/// How long a credential has cooled down for all requests, since the pool was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CoolingTime {
    ended: Duration,
    /// From when until when it cools down now, unless that changes.
    current: Option<(Timestamp, Timestamp)>,
}

impl CoolingTime {
    /// Records until when it cools down from now on. A moment that is past means that it does not.
    pub(super) fn update(&mut self, until: Timestamp, now: Timestamp) {
        self.ended = self.up_to(now);
        self.current = (until > now).then_some((now, until));
    }

    /// Returns how long it has cooled down up to now.
    pub(crate) fn up_to(&self, now: Timestamp) -> Duration {
        let current = self.current.map_or(Duration::ZERO, |(since, until)| now.min(until).since(since));
        self.ended + current
    }
}

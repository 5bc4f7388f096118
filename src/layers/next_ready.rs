//! When a pool that is used up can be asked again.

use std::time::Duration;

use crate::clock::Timestamp;

/// Set on the last response of a pool that is used up: when to ask again. Read it from the response's
/// extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextReady {
    at: Timestamp,
    wait: Duration,
}

impl NextReady {
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { at, wait: at.since(now) }
    }

    /// When the next credential of the pool is ready.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// How long that was from when the response came; zero where another one was ready, as after a request
    /// that can't be sent again.
    pub fn wait(&self) -> Duration {
        self.wait
    }
}

//! When a pool that is used up can be asked again.

use std::time::Duration;

use http::Response;

use crate::clock::Timestamp;
use crate::pool::Pool;
use crate::standing::Scope;

/// Set on the last response of a pool that is used up: when to ask again. Read it from the response's
/// extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextReady {
    at: Timestamp,
    wait: Duration,
    is_stated: bool,
}

impl NextReady {
    /// Says it on a response, if any credential is ever ready for requests of this scope.
    pub(super) fn mark<R>(response: &mut Response<R>, pool: &Pool, scope: Option<&Scope>) {
        if let Some((at, is_stated)) = pool.next_ready(scope) {
            response.extensions_mut().insert(Self { at, wait: at.since(pool.now()), is_stated });
        }
    }

    /// When the next credential of the pool is ready.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether that credential's upstream has stated that time. Otherwise it is a guess, or was stated to another
    /// process, or the credential is ready now and nobody had to state anything.
    pub fn is_stated(&self) -> bool {
        self.is_stated
    }

    /// How long that was from when the response came; zero if one was ready, as after a request that can't be
    /// sent again, or one that was refused to all.
    pub fn wait(&self) -> Duration {
        self.wait
    }
}

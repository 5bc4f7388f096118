//! The extension that says when a used-up pool can be asked again.

use std::time::Duration;

use http::Response;

use crate::clock::Timestamp;
use crate::pool::Pool;
use crate::standing::Scope;

/// A response extension that says when to ask a used-up pool again. It is on the last response of a request
/// that no other credential could take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextReady {
    at: Timestamp,
    wait: Duration,
    is_stated: bool,
}

impl NextReady {
    /// Adds it to a response, if a credential is ever ready for requests of this scope.
    pub(super) fn mark<R>(response: &mut Response<R>, pool: &Pool, scope: Option<&Scope>) {
        if let Some((at, is_stated)) = pool.next_ready(scope) {
            response.extensions_mut().insert(Self { at, wait: at.since(pool.now()), is_stated });
        }
    }

    /// Returns when the pool's next credential is ready.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Returns whether that credential's upstream has stated the time. Otherwise it is a guess, or was stated to another
    /// process, or the credential is ready now.
    pub fn is_stated(&self) -> bool {
        self.is_stated
    }

    /// Returns how long the wait was from when the response arrived. It is zero if a credential was ready, as after a
    /// request whose body can't be sent again, or one that all credentials were refused.
    pub fn wait(&self) -> Duration {
        self.wait
    }
}

//! The extension that names the credential behind a response.

use std::fmt;

use http::Response;

use super::history::Sent;
use crate::credential::Metadata;
use crate::pool::{Lease, Pool};

/// A response extension that names the credential of the request that got this response.
///
/// It is added if [`expose_attempts`](crate::PoolBuilder::expose_attempts) is set.
///
/// ```
/// # use tower_credentials::AnsweredBy;
/// # fn log(response: &http::Response<()>) {
/// if let Some(by) = response.extensions().get::<AnsweredBy>() {
///     println!("{} answered, in {} attempts", by.credential().label, by.attempts());
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct AnsweredBy {
    lease: Lease,
    attempts: u32,
}

impl AnsweredBy {
    /// Adds it to a response, if the pool exposes attempts.
    #[inline]
    pub(super) fn mark<R>(response: &mut Response<R>, pool: &Pool, sent: &Sent) {
        if pool.exposes_attempts() {
            let by = Self { lease: sent.lease.clone(), attempts: sent.number };
            response.extensions_mut().insert(by);
        }
    }

    /// Returns the credential.
    pub fn credential(&self) -> &Metadata {
        self.lease.credential()
    }

    /// Returns how often the request had been sent by then.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl fmt::Debug for AnsweredBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnsweredBy")
            .field("credential", self.credential())
            .field("attempts", &self.attempts)
            .finish()
    }
}

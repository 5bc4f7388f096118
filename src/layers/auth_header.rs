//! Applying a credential's headers.

use tower_layer::Layer;

use super::core::Core;
use super::jobs::{Jobs, Roles};
use super::sends::SendsOnce;
use super::service::service;
use crate::pool::Pool;

/// Puts a credential's headers on each request, in place of whatever credential the caller set.
///
/// Alone it applies the credential that the pool's policy picks, and learns from the answers: the
/// request after a 429 takes another credential.
///
/// A request to an origin that the provider does not name is refused with
/// [`Error::UntrustedOrigin`](crate::Error::UntrustedOrigin).
#[derive(Clone, Debug)]
pub struct AuthHeaderLayer {
    pool: Pool,
}

impl AuthHeaderLayer {
    /// Applies the credentials of this pool.
    pub fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

impl<S: Clone> Layer<S> for AuthHeaderLayer {
    type Service = AuthHeader<S>;

    fn layer(&self, inner: S) -> AuthHeader<S> {
        AuthHeader(Core::new(inner, self.pool.clone(), Jobs::plain(Roles::AUTH_HEADER)))
    }
}

/// The service of [`AuthHeaderLayer`].
#[derive(Debug)]
pub struct AuthHeader<S>(Core<S>);

service!(AuthHeader, SendsOnce);

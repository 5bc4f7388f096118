//! Applying a credential's headers.

use tower_layer::Layer;

use super::core::Core;
use super::jobs::{Jobs, LayerOptions};
use super::sends::SendsOnce;
use super::service::service;
use crate::pool::Pool;

/// Puts a credential's headers on each request, in place of any credential that the caller set.
///
/// Without the other layers, it applies the credential that the pool's policy picks, and records the responses:
/// the request after a 429 uses another credential.
///
/// A request to an origin that the provider does not list is refused with
/// [`Error::UntrustedOrigin`](crate::Error::UntrustedOrigin).
#[derive(Clone, Debug)]
pub struct AuthHeaderLayer {
    pool: Pool,
}

impl AuthHeaderLayer {
    /// Creates a layer that applies the credentials of this pool.
    pub fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

impl<S: Clone> Layer<S> for AuthHeaderLayer {
    type Service = AuthHeader<S>;

    fn layer(&self, inner: S) -> AuthHeader<S> {
        AuthHeader(Core::new(inner, self.pool.clone(), LayerOptions::of(Jobs::AUTH_HEADER)))
    }
}

/// The service of [`AuthHeaderLayer`].
#[derive(Debug)]
pub struct AuthHeader<S>(Core<S>);

service!(AuthHeader, SendsOnce);

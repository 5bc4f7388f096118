//! A layer that adds the API key of an environment variable to a pool that has none stored.

mod future;
mod key;
mod route;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::{VaultError, VaultRequest, VaultResponse};
use crate::BoxError;
use crate::accessors::accessors;
use crate::credential::PoolKey;
use crate::secret::SecretString;
use future::Stage;
use key::Shared;
use route::Route;

pub use future::EnvironmentFuture;

/// Adds the API key of an environment variable to a pool that has no API key stored.
///
/// The credential's id is derived from the variable's name, so it is the same in every run. Its standing is kept in memory,
/// and its secret is never written: requests for it do not reach the inner vault, and all others pass through.
///
/// ```
/// use tower_credentials::vault::{EnvironmentLayer, MemoryVault, VaultExt};
/// use tower_credentials::{PoolKey, SecretString};
/// use tower_layer::Layer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_credentials::BoxError> {
/// let key = PoolKey::new("example");
/// let read = || std::env::var("EXAMPLE_API_KEY").ok().map(SecretString::from);
/// # let read = || Some(SecretString::from("sk-1"));
/// let layer = EnvironmentLayer::new(key.clone(), "EXAMPLE_API_KEY", read);
/// let vault = layer.layer(MemoryVault::new());
/// assert_eq!(vault.load_pool(key).await?.credentials[0].metadata.label.as_ref(), "$EXAMPLE_API_KEY");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EnvironmentLayer {
    shared: Arc<Shared>,
}

impl EnvironmentLayer {
    /// Adds the credential of the environment variable `variable` to this pool. `read` returns the variable's value; it is
    /// called with each request for the pool or its revision. An empty value counts as unset. A value that is not an
    /// [API key](SecretString::api_key) is reported as [`Damage`](super::Damage) under the variable's name, if it would be used.
    pub fn new(
        pool: PoolKey,
        variable: impl Into<String>,
        read: impl Fn() -> Option<SecretString> + Send + Sync + 'static,
    ) -> Self {
        Self { shared: Arc::new(Shared::new(pool, variable.into(), Box::new(read))) }
    }
}

impl<V> Layer<V> for EnvironmentLayer {
    type Service = EnvironmentVault<V>;

    fn layer(&self, inner: V) -> EnvironmentVault<V> {
        EnvironmentVault { inner, shared: self.shared.clone() }
    }
}

impl fmt::Debug for EnvironmentLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentLayer")
            .field("variable", &self.shared.variable)
            .finish_non_exhaustive()
    }
}

/// A vault with one more credential; see [`EnvironmentLayer`].
#[derive(Clone)]
pub struct EnvironmentVault<V> {
    inner: V,
    shared: Arc<Shared>,
}

accessors!(EnvironmentVault, inner);

impl<V: fmt::Debug> fmt::Debug for EnvironmentVault<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentVault").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<V> Service<VaultRequest> for EnvironmentVault<V>
where
    V: Service<VaultRequest, Response = VaultResponse, Error: Into<BoxError>>,
{
    type Response = VaultResponse;
    type Error = VaultError;
    type Future = EnvironmentFuture<V::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        self.inner.poll_ready(cx).map_err(failed)
    }

    fn call(&mut self, request: VaultRequest) -> Self::Future {
        let shared = self.shared.clone();
        let stage = match shared.route(request) {
            Route::Inner { request, then } => Stage::Inner { response: self.inner.call(request), then },
            Route::Ready(response) => Stage::Ready { response: Some(response) },
            Route::Lease => Stage::Leasing { lock: shared.leases.lock(shared.id) },
        };
        EnvironmentFuture { stage, shared }
    }
}

fn failed(error: impl Into<BoxError>) -> VaultError {
    error.into().into()
}

//! The models that an upstream offers, cached for a while. The requests go through the layers, so a limited account or an
//! expired token does not prevent them.
//!
//! A [`Discovery`] sends requests only when it is asked. The provider
//! ([`Provider::models`](crate::provider::Provider::models)), or the settings `models_url` and `models_shape`, name the
//! list's URL and shape.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::ServiceBuilder;
//! use tower_credentials::discovery::Discovery;
//! use tower_credentials::registry::Registry;
//! use tower_credentials::vault::{MemoryVault, VaultExt};
//! use tower_credentials::{BoxError, Credential, PoolKey, Secret};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let vault = MemoryVault::new();
//! vault.put(Credential::new(PoolKey::new("openai"), "work", Secret::api_key("sk-1"))).await?;
//! let registry = Registry::builder().build()?;
//! let pool = registry.pool("openai", vault)?.open().await?;
//!
//! // In place of a client: a vendor with two models.
//! let upstream = tower::service_fn(async |request: Request<Full<Bytes>>| {
//!     assert_eq!(request.uri(), "https://api.openai.com/v1/models");
//!     let list = r#"{"data": [{"id": "small", "owned_by": "example"}, {"id": "large"}]}"#;
//!     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(list)))
//! });
//! let client = ServiceBuilder::new().layer(registry.layer(pool.clone())).service(upstream);
//!
//! let discovery = Discovery::builder(&pool, client).build()?;
//! let models = discovery.models().await?;
//! assert_eq!(models.iter().map(|model| &*model.id).collect::<Vec<_>>(), ["large", "small"]);
//! assert!(models.stale().is_none());
//! # Ok(())
//! # }
//! ```
//!
//! A list is used for its [time to live](DiscoveryBuilder::time_to_live), by default an hour, and then requested again: with
//! `If-None-Match` (RFC 9110, section 13.1.2), if the upstream gave an `ETag` to a list of one page. If that fails, the last
//! list is returned, [marked](Models::stale) with its age and the error, and no request is sent for half a minute.
//! A list belongs to the accounts that the pool had; if they change, it is requested again.
//! Concurrent callers share one request, and it goes on if some of them stop waiting.

mod builder;
mod cache;
mod error;
mod flight;
mod model;
mod page;
mod upstream;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response, Uri};
use http_body::Body;
use tower_service::Service;

use crate::BoxError;
use crate::clock::Timestamp;
use crate::pool::Pool;
use cache::{Accounts, Cached, Store};
use flight::Flight;
use upstream::{Exchange, Upstream};

pub use builder::DiscoveryBuilder;
pub use error::{DiscoveryError, DiscoveryErrorKind};
pub use model::{Model, Models, Stale};

/// Requests a provider's models, and keeps the list. Cheap to clone; clones share everything.
///
/// See [the module](self) for an example.
#[derive(Clone)]
pub struct Discovery(Arc<Inner>);

struct Inner {
    upstream: Upstream,
    store: Store,
    time_to_live: Duration,
    filter: Option<Filter>,
    /// The time and the error of the last request, if it failed.
    failed: Mutex<Option<(Timestamp, DiscoveryError)>>,
    /// Callers of [`Discovery::models`], which looks into the store first.
    lookups: Flight<Outcome>,
    refreshes: Flight<Outcome>,
}

/// The time after a failure in which the last list is returned without a request.
const RETRY_AFTER: Duration = Duration::from_secs(30);

type Outcome = Result<Models, DiscoveryError>;

type Filter = Box<dyn Fn(&Model) -> bool + Send + Sync>;

impl Discovery {
    /// Returns a builder of a discovery for a pool's provider. The service is an HTTP client with the layers of this
    /// pool over it. It gets requests with an empty body, `B::default()`.
    pub fn builder<S, B, R>(pool: &Pool, service: S) -> DiscoveryBuilder
    where
        S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + 'static,
        B: Default + Send + 'static,
        R: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        DiscoveryBuilder::new(pool, Exchange::new(service))
    }

    fn new(upstream: Upstream, store: Store, time_to_live: Duration, filter: Option<Filter>) -> Self {
        Self(Arc::new(Inner {
            upstream,
            store,
            time_to_live,
            filter,
            failed: Mutex::default(),
            lookups: Flight::default(),
            refreshes: Flight::default(),
        }))
    }

    /// Returns the models: from the last list while it is fresh, or else from a new one. If there is no new one, the last
    /// list is returned, [marked](Models::stale) as stale. For half a minute after a failure it is returned immediately, so
    /// that a hanging upstream doesn't make everybody wait; [`refresh`](Self::refresh) sends a request all the same.
    ///
    /// # Errors
    /// If there is neither a new list nor an old one. [`DiscoveryError`] says why there is no new one.
    pub async fn models(&self) -> Result<Models, DiscoveryError> {
        let inner = self.0.clone();
        let outcome = self.0.lookups.join(|| async move { inner.look_up().await }).await;
        outcome.unwrap_or_else(|| Err(self.0.interrupted()))
    }

    /// Requests a new list, however fresh the last one is. If there is no new one, the last list is returned, marked as
    /// stale.
    ///
    /// # Errors
    /// The same as [`models`](Self::models).
    pub async fn refresh(&self) -> Result<Models, DiscoveryError> {
        self.0.refresh().await
    }

    /// Returns the URL of the list. Requests of an account with its own host go there instead.
    pub fn uri(&self) -> &Uri {
        &self.0.upstream.uri
    }
}

impl Inner {
    fn pool(&self) -> &Pool {
        &self.upstream.pool
    }

    async fn look_up(self: Arc<Self>) -> Outcome {
        if let Some(cached) = self.store.load(&self.accounts()).await {
            let now = self.pool().now();
            if cached.is_fresh(now, self.time_to_live) {
                return Ok(self.shown(&cached, None));
            }
            if let Some(error) = self.has_just_failed(now) {
                return Ok(self.stale(&cached, error));
            }
        }
        self.refresh().await
    }

    fn has_just_failed(&self, now: Timestamp) -> Option<DiscoveryError> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: Timestamp| at <= now && now.since(at) < RETRY_AFTER;
        failed.as_ref().filter(|(at, _)| is_recent(*at)).map(|(_, error)| error.clone())
    }

    async fn refresh(self: &Arc<Self>) -> Outcome {
        let inner = self.clone();
        let outcome = self.refreshes.join(|| async move { inner.fetch().await }).await;
        outcome.unwrap_or_else(|| Err(self.interrupted()))
    }

    async fn fetch(&self) -> Outcome {
        // Read before the request: an account that joins the pool meanwhile has no part in the list.
        let accounts = self.accounts();
        let known = self.store.load(&accounts).await;
        let fetched = self.upstream.fetch(known.as_ref()).await;
        let failed = fetched.as_ref().err().map(|error| (self.pool().now(), error.clone()));
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        let error = match fetched {
            Ok(cached) => {
                self.store.save(&accounts, &cached).await;
                return Ok(self.shown(&cached, None));
            }
            Err(error) => error,
        };
        let Some(known) = known else { return Err(error) };
        tracing::debug!(%error, "the models are from an older list");
        Ok(self.stale(&known, error))
    }

    fn accounts(&self) -> Accounts {
        Accounts::of(self.pool().status().into_iter().map(|status| status.credential.id))
    }

    fn stale(&self, known: &Cached, error: DiscoveryError) -> Models {
        let age = self.pool().now().since(known.fetched_at);
        self.shown(known, Some(Stale { age, error }))
    }

    /// A list in the form that callers get.
    fn shown(&self, cached: &Cached, stale: Option<Stale>) -> Models {
        let models = match &self.filter {
            None => cached.models.clone(),
            Some(filter) => cached.models.iter().filter(|model| filter(model)).cloned().collect(),
        };
        Models::new(models, cached.fetched_at, stale)
    }

    fn interrupted(&self) -> DiscoveryError {
        self.upstream.error(DiscoveryErrorKind::Interrupted)
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("pool", self.0.pool().key())
            .field("uri", &self.0.upstream.uri)
            .field("time_to_live", &self.0.time_to_live)
            .field("limits", &self.0.upstream.limits)
            .finish_non_exhaustive()
    }
}

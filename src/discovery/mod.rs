//! The models that an upstream offers, asked for through the layers, so that an account that is limited or
//! whose token has expired is in nobody's way; and kept for a while.
//!
//! Nobody is asked before a [`Discovery`] is. Where the list is, and in which shape, the provider says
//! ([`Provider::models`](crate::provider::Provider::models)), or the settings `models_url` and `models_shape`
//! do.
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
//! An answer is used for an hour unless [told otherwise](DiscoveryBuilder::time_to_live), and asked for again
//! after that: with `If-None-Match` (RFC 9110, section 13.1.2), where the upstream gave an `ETag` to a list of
//! one page. When it can't be had, the last one is given, [marked](Models::stale) with its age and the error, and
//! for half a minute nobody is asked again.
//! An answer is that of the accounts which the pool had: with others, it is asked for anew.
//! However many ask at once, one request is sent; whoever stops waiting stops nobody else's.

mod ask;
mod builder;
mod cache;
mod error;
mod flight;
mod model;
mod page;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response, Uri};
use http_body::Body;
use tower_service::Service;

use crate::BoxError;
use crate::clock::Timestamp;
use crate::pool::Pool;
use crate::provider::ModelsShape;
use ask::Exchange;
use cache::{Accounts, Cached, Store};
use flight::Flight;

pub use builder::DiscoveryBuilder;
pub use error::{DiscoveryError, DiscoveryErrorKind};
pub use model::{Model, Models, Stale};

/// What asks for a provider's models, and keeps the answer. Cheap to clone; every clone is the same.
///
/// See [the module](self) for an example.
#[derive(Clone)]
pub struct Discovery(Arc<Inner>);

struct Inner {
    pool: Pool,
    shape: ModelsShape,
    uri: Uri,
    exchange: Exchange,
    store: Store,
    limits: Limits,
    filter: Option<Filter>,
    /// When there was no new answer last, and why.
    failed: Mutex<Option<(Timestamp, DiscoveryError)>>,
    /// Looks into the store first.
    gets: Flight<Answer>,
    asks: Flight<Answer>,
}

/// How long after a failure the last answer is given without asking.
const RETRY_AFTER: Duration = Duration::from_secs(30);

type Answer = Result<Models, DiscoveryError>;

type Filter = Box<dyn Fn(&Model) -> bool + Send + Sync>;

/// What an answer may take, and how long it is good for.
#[derive(Clone, Debug)]
struct Limits {
    time_to_live: Duration,
    timeout: Duration,
    pages: usize,
    page_bytes: usize,
    bytes: usize,
    models: usize,
}

impl Discovery {
    /// What asks for the models of a pool's provider by this service: an HTTP client with the layers of this
    /// pool over it. It sends requests with an empty body, `B::default()`.
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

    /// The models: those of the last answer while it is young enough, else of a new one, else of the last one
    /// in any case, [marked](Models::stale) as stale. For half a minute after a failure that one is given at once,
    /// so that an upstream that hangs does not make everybody wait; [`refresh`](Self::refresh) asks all the same.
    ///
    /// # Errors
    /// Where there is no answer, neither a new nor an old one. [`DiscoveryError`] says why there is no new one.
    pub async fn models(&self) -> Result<Models, DiscoveryError> {
        let inner = self.0.clone();
        let answer = self.0.gets.join(|| async move { inner.get().await }).await;
        answer.unwrap_or_else(|| Err(self.0.error(DiscoveryErrorKind::Interrupted)))
    }

    /// The models of a new answer, however young the last one is. It is given, marked as stale, where there is
    /// no new one.
    ///
    /// # Errors
    /// As for [`models`](Self::models).
    pub async fn refresh(&self) -> Result<Models, DiscoveryError> {
        self.0.refresh().await
    }

    /// Where the list is asked for, unless an account has its own host.
    pub fn uri(&self) -> &Uri {
        &self.0.uri
    }
}

impl Inner {
    async fn get(self: Arc<Self>) -> Answer {
        if let Some(cached) = self.store.load(&self.accounts()).await {
            let now = self.pool.now();
            if cached.is_fresh(now, self.limits.time_to_live) {
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

    async fn refresh(self: &Arc<Self>) -> Answer {
        let inner = self.clone();
        let answer = self.asks.join(|| async move { inner.ask().await }).await;
        answer.unwrap_or_else(|| Err(self.error(DiscoveryErrorKind::Interrupted)))
    }

    async fn ask(&self) -> Answer {
        // Before anyone is asked: whoever joins the pool meanwhile has had no part in the answer.
        let accounts = self.accounts();
        let known = self.store.load(&accounts).await;
        let asked = self.ask_upstream(known.as_ref()).await;
        let failed = asked.as_ref().err().map(|error| (self.pool.now(), error.clone()));
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        let error = match asked {
            Ok(cached) => {
                self.store.save(&accounts, &cached).await;
                return Ok(self.shown(&cached, None));
            }
            Err(error) => error,
        };
        let Some(known) = known else { return Err(error) };
        tracing::debug!(%error, "the models are those of an older answer");
        Ok(self.stale(&known, error))
    }

    fn accounts(&self) -> Accounts {
        Accounts::of(self.pool.status().into_iter().map(|status| status.credential.id))
    }

    fn stale(&self, known: &Cached, error: DiscoveryError) -> Models {
        let age = self.pool.now().since(known.fetched_at);
        self.shown(known, Some(Stale { age, error }))
    }

    /// An answer as it is given to callers.
    fn shown(&self, cached: &Cached, stale: Option<Stale>) -> Models {
        let models = match &self.filter {
            None => cached.models.clone(),
            Some(filter) => cached.models.iter().filter(|model| filter(model)).cloned().collect(),
        };
        Models::new(models, cached.fetched_at, stale)
    }

    fn error(&self, kind: DiscoveryErrorKind) -> DiscoveryError {
        DiscoveryError::new(self.pool.key().provider(), &self.uri, kind)
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("pool", self.0.pool.key())
            .field("uri", &self.0.uri)
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

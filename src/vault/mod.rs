//! The vault: a tower [`Service`](tower_service::Service) that keeps credentials, their order, their cooldowns and their health.
//!
//! A [`Vault`] is any service from [`VaultRequest`] to [`VaultResponse`], so it can be wrapped like any service, in a
//! timeout, a concurrency limit or a trace. [`VaultExt`] has a method for each request.
//!
//! A *backend* is the same service over sealed secrets, `VaultRequest<Sealed>`; the `SealLayer`
//! of the `seal` module turns one into a vault. So a backend never sees a secret, and writing one
//! takes no cryptography.
//!
//! # A backend of one's own
//!
//! The module `conformance` (feature `conformance`) says what a backend owes, and makes a test of each promise for a backend
//! of your own. A `match` over requests must end in an arm for those that it does not support, since later versions may add
//! some.
//!
//! The short way is a [`PoolDocument`]: it is all that a backend keeps of one pool, and does what is owed of each request, so
//! that only storing it is left. Any store will do that can change one value for each pool in one step: in a transaction, or by
//! a compare-and-swap.
//!
//! ```
//! use std::time::SystemTime;
//!
//! use tower_credentials::BoxError;
//! use tower_credentials::vault::seal::Sealed;
//! use tower_credentials::vault::*;
//!
//! /// A store that keeps a text for each pool, and knows how often it was changed.
//! trait Store {
//!     fn get(&self, pool: &str) -> Result<Option<(String, u64)>, BoxError>;
//!     /// Stores a text unless it was changed in between, and returns whether it did.
//!     fn swap(&self, pool: &str, known: u64, text: String) -> Result<bool, BoxError>;
//! }
//!
//! fn respond(
//!     store: &impl Store,
//!     request: VaultRequest<Sealed>,
//! ) -> Result<VaultResponse<Sealed>, BoxError> {
//!     let Some(pool) = request.pool() else {
//!         return Err(VaultError::Unsupported { request: request.name() }.into());
//!     };
//!     let name = serde_json::to_string(pool)?;
//!     loop {
//!         let (mut document, known) = match store.get(&name)? {
//!             Some((text, known)) => (serde_json::from_str(&text)?, known),
//!             None => (PoolDocument::new(pool.clone()), 0),
//!         };
//!         let applied = document.apply(request.clone(), SystemTime::now().into())?;
//!         if !applied.is_changed || store.swap(&name, known, serde_json::to_string(&document)?)? {
//!             return Ok(applied.response);
//!         }
//!     }
//! }
//! ```
//!
//! The backend itself does `List`, the two leases and `Watch`, and makes sure that no id is in two pools. The example
//! `sqlite_backend` is a whole one in under 300 lines, and keeps every promise.
//!
//! A vault that keeps no changes is simpler still. The smallest that a pool can use is a fixed list:
//!
//! ```
//! use std::future::{Ready, ready};
//! use std::sync::Arc;
//! use std::task::{Context, Poll};
//!
//! use tower_credentials::provider::GenericProvider;
//! use tower_credentials::standing::Standings;
//! use tower_credentials::vault::*;
//! use tower_credentials::{Credential, Pool, PoolKey, Secret};
//! use tower_service::Service;
//!
//! #[derive(Clone)]
//! struct Fixed(Arc<[Credential]>);
//!
//! impl Service<VaultRequest> for Fixed {
//!     type Response = VaultResponse;
//!     type Error = VaultError;
//!     type Future = Ready<Result<VaultResponse, VaultError>>;
//!
//!     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
//!         Poll::Ready(Ok(()))
//!     }
//!
//!     fn call(&mut self, request: VaultRequest) -> Self::Future {
//!         let all = self.0.iter();
//!         ready(match request {
//!             VaultRequest::Load(key) => {
//!                 let credentials = all.filter(|known| known.metadata.pool == key).cloned().collect();
//!                 let (standings, revision) = (Standings::default(), Revision::new(1));
//!                 Ok(VaultResponse::Pool(StoredPool::new(credentials, standings, revision, Vec::new())))
//!             }
//!             VaultRequest::Revision(_) => Ok(VaultResponse::Revision(Revision::new(1))),
//!             VaultRequest::Get { pool, id } => {
//!                 let mut of_pool = all.filter(|known| known.metadata.pool == pool);
//!                 let found = of_pool.find(|known| known.metadata.id == id).cloned();
//!                 found.map(VaultResponse::Credential).ok_or(VaultError::NotFound(id))
//!             }
//!             // All other requests, now or in a later version: put, record, leases.
//!             other => Err(VaultError::Unsupported { request: other.name() }),
//!         })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let work = Credential::new(PoolKey::new("example"), "work", Secret::api_key("sk-1"));
//! let provider = GenericProvider::bearer("example").origin("https://api.example.com")?;
//! let pool = Pool::builder(provider, Fixed([work].into())).open().await?;
//! assert_eq!(pool.status().len(), 1);
//! # Ok(())
//! # }
//! ```

mod batch;
mod changes;
mod copy;
mod damage;
#[cfg(feature = "seal")]
#[cfg_attr(
    not(feature = "file"),
    allow(dead_code, unused_imports, reason = "a key file needs a part of it")
)]
pub(crate) mod disk;
mod document;
#[cfg(feature = "providers")]
mod environment;
mod error;
mod ext;
mod failed;
mod fair_lock;
mod memory;
mod recent;
#[cfg(any(feature = "config", feature = "redis"))]
#[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "only a backend connects"))]
mod redis_url;
mod request;
mod response;
#[cfg(any(feature = "file", feature = "redis"))]
mod severity;
mod storable;
#[cfg(any(feature = "file", feature = "redis"))]
mod unfinished;
mod watch;

#[cfg(feature = "backup")]
#[cfg_attr(docsrs, doc(cfg(feature = "backup")))]
pub mod backup;
#[cfg(feature = "file")]
#[cfg_attr(docsrs, doc(cfg(feature = "file")))]
pub mod file;
#[cfg(feature = "seal")]
#[cfg_attr(docsrs, doc(cfg(feature = "seal")))]
pub mod key;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub mod redis;
#[cfg(feature = "seal")]
#[cfg_attr(docsrs, doc(cfg(feature = "seal")))]
pub mod seal;

pub use batch::{BatchId, BatchOrigin, InvalidBatchOrigin};
pub use changes::{Changes, OrderChange};
pub use damage::Damage;
pub use document::{Applied, PoolDocument};
#[cfg(feature = "providers")]
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub use environment::{EnvironmentFuture, EnvironmentLayer, EnvironmentVault};
pub use error::VaultError;
#[cfg(feature = "file")]
use error::{READ_DIRECTORY, way_out};
#[cfg(feature = "conformance")]
pub(crate) use ext::call;
#[cfg(feature = "backup")]
pub(crate) use ext::put_again;
pub use ext::{Vault, VaultExt};
pub(crate) use ext::{record, replace_as_it_came};
pub use memory::{MemoryFuture, MemoryVault};
#[cfg(any(feature = "config", feature = "redis"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "config", feature = "redis"))))]
pub use redis_url::{InvalidRedisUrl, RedisUrl};
pub use request::VaultRequest;
pub use response::{
    Begun, FailedRefresh, InvalidRevision, Listing, RefreshLease, Replaced, Revision, StoredPool,
    VaultResponse,
};
#[cfg(feature = "file")]
pub(crate) use storable::check_stored_names;
pub use storable::{MAX_NAME_LEN, check_name, free_label};
pub(crate) use storable::{check_kind, check_names, check_secret, check_stored_name, now};
#[cfg(any(feature = "file", feature = "redis"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "file", feature = "redis"))))]
pub use unfinished::UnfinishedRefresh;
pub use watch::Watch;

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
//! - **An unknown request**, or one that this backend does not support, fails with [`VaultError::Unsupported`]. It never
//!   gets [`Done`](VaultResponse::Done) as its response. Later versions may add requests, so a `match` must end in an arm
//!   for the others. A pool reads with `Load` and `Revision` and saves with `Record`. Without the two leases,
//!   `BeginRefresh` and `ReplaceSecret` the pool renews no token, and an event says why. If `RefreshFailed` is not
//!   supported, each process finds out by itself. Without `Changes` each change loads the whole pool, and without `Watch` the
//!   pool asks for the revision each second.
//! - **A missing record** is [`VaultError::NotFound`], and nothing else is: the vault has looked, and there is none. A
//!   backend's own trouble (no connection, a timeout) is any other error, of any type: an error that is not a
//!   `VaultError` becomes [`VaultError::Layer`]. No account cools down for it; the request is made again. A pool that
//!   was never put into is not an error: it is empty, at any revision.
//! - **A credential's pool** is in each request that names a credential, so a backend may keep each pool in a place of its
//!   own, such as a slot of a cluster, without an index over all of them. A credential that is in another pool than the
//!   request says is [`VaultError::NotFound`], and nothing changes. If a record can't be read and nothing else says its pool,
//!   it counts as one of the request's pool.
//! - **One record that can't be read** does not fail a `Load` or a `List`. It is listed in `damaged`, with its credential's
//!   id and kind as far as they are known, and with [`may_pass`](Damage::may_pass) if the record itself may be well: the
//!   pool then goes on using what it has. `Get` fails with [`VaultError::Damaged`].
//! - **Names** are checked by [`check_name`] on `Put` and `Relabel`: providers, namespaces and labels have 1 to
//!   [`MAX_NAME_LEN`] bytes and no invisible character. Otherwise they are any text: escape them in paths and queries.
//!   A label is unique in its pool, and an id in the vault.
//! - **A revision** changes with everything that changes the response to a `Load`, whoever made the change, and not later
//!   than the change can be read: `Put`, `Relabel`, `Move`, `Remove`, `ReplaceSecret`, and a `Record` that is merged.
//!   `Reseal` makes no new revision, nor do reads, leases and the notes on refreshes.
//!   It is opaque, so a backend may use a counter, or random bytes where a database may be restored from a backup and count
//!   again.
//! - **Changes** since a revision lead to what a `Load` would show at the revision that they come with. A backend that does
//!   not know what was there at a revision, or can't read a record that has changed, responds with `None`.
//! - **A batch of outcomes** may come again, if its sender has got no response. It counts once: the backend keeps the number
//!   of the last batch of each origin, together with the outcomes, for as long as a sender may try again.
//! - **Compare and swap** (`ReplaceSecret`, `Reseal`) is one step for all processes: of several that expect the same
//!   generation one gets [`Replaced::Swapped`], and the others get what is stored by then.
//! - **Outcomes** are merged into the stored standings with [`Standings::merge`](crate::standing::Standings::merge), in
//!   order. A [`Standing`](crate::standing::Standing) that was read earlier is never written back as a whole.
//! - **A lease** ends when its [`RefreshLease`] is dropped, and with its process. If it can end before that, as over a
//!   network, `BeginRefresh` only notes the refresh if the lease is still held, and is [`VaultError::LeaseLost`] otherwise; its
//!   response says [how long](Begun::present_within) the token may be presented.
//!
//! `tests/vault/vault_contract` in the crate's repository has a test for each of these promises, which runs over any vault.
//! The smallest backend that a pool can use is a fixed list:
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
#[cfg_attr(not(feature = "file"), allow(dead_code, reason = "a key file needs a part of it"))]
pub(crate) mod disk;
#[cfg(feature = "providers")]
mod environment;
mod error;
mod ext;
mod fair_lock;
mod memory;
mod recent;
mod request;
mod response;
mod storable;
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
#[cfg(feature = "providers")]
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub use environment::{EnvironmentFuture, EnvironmentLayer, EnvironmentVault};
pub use error::VaultError;
#[cfg(feature = "file")]
use error::{READ_DIRECTORY, way_out};
#[cfg(feature = "backup")]
pub(crate) use ext::put_again;
pub use ext::{Vault, VaultExt};
pub(crate) use ext::{record, replace_as_it_came};
pub use memory::{MemoryFuture, MemoryVault};
pub use request::VaultRequest;
pub use response::{
    Begun, FailedRefresh, Listing, RefreshLease, Replaced, Revision, StoredPool, VaultResponse,
};
#[cfg(feature = "file")]
pub(crate) use storable::check_stored_names;
pub use storable::{MAX_NAME_LEN, check_name};
pub(crate) use storable::{check_kind, check_names, check_secret, check_stored_name, free_label, now};
pub use watch::Watch;

//! Tests of what every vault promises, for a backend of your own, and what a backend owes.
//!
//! Take the crate with the feature `conformance` as a dev-dependency, and write one line:
//!
//! ```
//! use tower_credentials::vault::MemoryVault;
//! use tower_credentials::vault::seal::Sealed;
//!
//! async fn new() -> (MemoryVault<Sealed>, ()) {
//!     (MemoryVault::new(), ())
//! }
//!
//! tower_credentials::conformance::every_promise_sealed!(new);
//! ```
//!
//! - [`every_promise_sealed!`] is for a backend, which keeps sealed secrets;
//! - [`every_promise!`] is for a vault, which keeps secrets as they are, or seals them itself;
//! - [`every_promise_of_hosts!`] is for either, if several processes or hosts share what is stored.
//!
//! Each promise becomes a `#[test]` of its name, with a runtime of its own that has one thread. So a backend must not need
//! `tokio::task::block_in_place`. A test that fails panics with what it has seen; the secrets that it may show are its own, and
//! [obviously false](fixtures::PLANTED).
//!
//! # What a backend owes
//!
//! A [`PoolDocument`](crate::vault::PoolDocument) keeps these promises for one pool. A backend that stores it owes the rest:
//! that each change is one step and durable, the leases, that an id is unique in the vault, and that its futures may be left.
//!
//! - **An unknown request**, or one that this backend does not support, fails with [`VaultError::Unsupported`]. It never
//!   gets [`Done`](crate::vault::VaultResponse::Done) as its response. Later versions may add requests, so a `match` must
//!   end in an arm for the others. A pool reads with `Load` and `Revision` and saves with `Record`. Without the two leases,
//!   `BeginRefresh` and `ReplaceSecret` the pool renews no token, and an event says why. If `RefreshFailed` is not
//!   supported, each process finds out by itself. Without `Changes` each change loads the whole pool, and without `Watch`
//!   the pool asks for the revision each second.
//! - **A missing record** is [`VaultError::NotFound`], and nothing else is: the vault has looked, and there is none. A
//!   backend's own trouble (no connection, a timeout) is any other error, of any type: an error that is not a `VaultError`
//!   becomes [`VaultError::Layer`]. No account cools down for it; the request is made again. A pool that was never put into
//!   is not an error: it is empty, at any revision.
//! - **A credential's pool** is in each request that names a credential, so a backend may keep each pool in a place of its
//!   own, such as a slot of a cluster, without an index over all of them. A credential that is in another pool than the
//!   request says is [`VaultError::NotFound`], and nothing changes. If a record can't be read and nothing else says its
//!   pool, it counts as one of the request's pool.
//! - **One record that can't be read** does not fail a `Load` or a `List`. It is listed in `damaged`, with its credential's
//!   id and kind as far as they are known, and with [`may_pass`](crate::vault::Damage::may_pass) if the record itself may
//!   be well: the pool then goes on using what it has. `Get` fails with [`VaultError::Damaged`].
//! - **Names** are checked by [`check_name`] on `Put` and `Relabel`: providers, namespaces and labels have 1 to
//!   [`MAX_NAME_LEN`] bytes and no invisible character. Otherwise they are any text: escape them in paths and queries. A
//!   label is unique in its pool, and an id in the vault. [`free_label`] numbers a label that is taken.
//! - **A revision** changes with everything that changes the response to a `Load`, whoever made the change, and not later
//!   than the change can be read: `Put`, `Relabel`, `Move`, `Remove`, `ReplaceSecret`, and a `Record` that is merged.
//!   `Reseal` makes no new revision, since a pool reads the same secret as before, nor do reads, leases and the notes on
//!   refreshes. It is opaque, so a backend may use a counter, or random bytes where a database may be restored from a
//!   backup and count again.
//! - **Changes** since a revision lead to what a `Load` would show at the revision that they come with. Credentials that
//!   moved to the back come as [`ToBack`](crate::vault::OrderChange::ToBack). A backend that does not know what was there
//!   at a revision, or can't read a record that has changed, responds with `None`.
//! - **A batch of outcomes** may come again, if its sender has got no response. It counts once: the backend keeps the
//!   number of the last batch of each origin, together with the outcomes, for as long as a sender may try again.
//! - **Compare and swap** (`ReplaceSecret`, `Reseal`) is one step for all processes: of several that expect the same
//!   generation one gets [`Replaced::Swapped`], and the others get what is stored by then.
//! - **Outcomes** are merged into the stored standings with [`Standings::merge`](crate::standing::Standings::merge), in
//!   order. A [`Standing`](crate::standing::Standing) that was read earlier is never written back as a whole.
//! - **A lease** is held by one at a time, in all processes. It ends when its [`RefreshLease`] is dropped, and with its
//!   process. If it can end before that, as over a network, `BeginRefresh` only notes the refresh if the lease is still
//!   held, and is [`VaultError::LeaseLost`] otherwise; its response says [how long](crate::vault::Begun::present_within)
//!   the token may be presented. A lease holds up no other request but one for the same lease. Callers of one process get it
//!   in the order in which they have asked.
//! - **A future may be polled once and left**, for as long as its caller likes, and may be dropped at any time. So nothing
//!   that others need is held while a lease is waited for: no connection of a pool, no transaction, no lock. Whoever stops
//!   waiting, before or after its turn has come, keeps nobody out.
//!
//! [`MAX_NAME_LEN`]: crate::vault::MAX_NAME_LEN
//! [`RefreshLease`]: crate::vault::RefreshLease
//! [`Replaced::Swapped`]: crate::vault::Replaced::Swapped
//! [`VaultError::Damaged`]: crate::vault::VaultError::Damaged
//! [`VaultError::Layer`]: crate::vault::VaultError::Layer
//! [`VaultError::LeaseLost`]: crate::vault::VaultError::LeaseLost
//! [`VaultError::NotFound`]: crate::vault::VaultError::NotFound
//! [`VaultError::Unsupported`]: crate::vault::VaultError::Unsupported
//! [`check_name`]: crate::vault::check_name
//! [`free_label`]: crate::vault::free_label

mod changes;
mod credentials;
pub mod fixtures;
pub mod hosts;
mod leases;
mod macros;
mod new_secrets;
mod other_pools;
mod reader;
#[doc(hidden)]
pub mod run;
mod standings;
mod watches;

pub use hosts::Hosts;

#[doc(inline)]
pub use crate::{
    __every_promise as every_promise, __every_promise_of_hosts as every_promise_of_hosts,
    __every_promise_sealed as every_promise_sealed,
};

/// What a vault promises: a function for each promise, which panics if the vault does not keep it.
///
/// The vault must be empty. The functions must run in a tokio runtime with its clock; [`every_promise!`] makes
/// a test of each.
pub mod promises {
    pub use super::changes::*;
    pub use super::credentials::*;
    pub use super::leases::*;
    pub use super::new_secrets::*;
    pub use super::other_pools::*;
    pub use super::standings::*;
}

//! The vault: a tower [`Service`] that keeps credentials, their order, their cooldowns and their health.
//!
//! A [`Vault`] is any service from [`VaultRequest`] to [`VaultResponse`], so it is wrapped like any
//! service: a timeout, a concurrency limit, a trace. [`VaultExt`] has a method for each request.
//!
//! A *backend* is the same service over sealed secrets, `VaultRequest<Sealed>`; the `SealLayer`
//! of the `seal` module turns one into a vault. So a backend never sees a secret, and writing one
//! takes no cryptography.
//!
//! # A backend of one's own
//!
//! - **A request that is not known**, or that this backend does not do, is answered with [`VaultError::Unsupported`], and
//!   never with [`Done`](VaultResponse::Done): requests may be added, so a `match` ends in an arm for the others. A pool
//!   reads by `Load` and `Revision` and saves by `Record`. Without the two leases, `BeginRefresh` and `ReplaceSecret` no
//!   token of it is renewed, and an event says why. If `RefreshFailed` is not done, each process finds out by itself.
//! - **A missing record** is [`VaultError::NotFound`], and nothing else is: it says that the vault has looked and there is
//!   none. Trouble of the backend's own (no connection, a time-out) is any other error, of any type: what is no
//!   `VaultError` becomes [`VaultError::Layer`]. No account cools down for it; it is tried again. A pool that was never
//!   put into is no error: it is empty, at any revision.
//! - **One record that can't be read** fails no `Load` and no `List`. It is named in `damaged`, with its credential's id
//!   and kind as far as they are known, and [`may_pass`](Damage::may_pass) if the record itself may be well: it then stays in
//!   use as it was. `Get` answers it with [`VaultError::Damaged`].
//! - **Names** are checked by [`check_name`] on `Put` and `Relabel`: providers, namespaces and labels have 1 to
//!   [`MAX_NAME_LEN`] bytes and no character that is not seen. They are any other text: escape them in paths and queries.
//!   A label is unique in its pool, and an id in the vault.
//! - **A revision** changes with everything that a `Load` would answer otherwise, whoever has changed it, and no later
//!   than that can be read: `Put`, `Relabel`, `Move`, `Remove`, `ReplaceSecret`, and a `Record` that is merged. `Reseal`
//!   changes none, nor do reads, leases and the notes of refreshes.
//! - **Compare and swap** (`ReplaceSecret`, `Reseal`) is one step for all processes: of several that expect one
//!   generation one gets [`Replaced::Swapped`], and the others what is stored by then.
//! - **Outcomes** are merged into what is stored by [`Standings::merge`], in order. A [`Standing`](crate::standing::Standing)
//!   that was read before is never written back whole.
//! - **A lease** ends when its [`RefreshLease`] is dropped, and with its process.
//!
//! `tests/vault/vault_contract` in the crate's repository has a test for each of these promises, to be run over any vault.
//! The least that a pool can use is a fixed list that others keep:
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
//!             VaultRequest::Get { id } => {
//!                 let found = all.clone().find(|known| known.metadata.id == id).cloned();
//!                 found.map(VaultResponse::Credential).ok_or(VaultError::NotFound(id))
//!             }
//!             // Whatever else there is, now or in a later version: put, record, leases.
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

mod copy;
#[cfg(feature = "seal")]
#[cfg_attr(not(feature = "file"), allow(dead_code, reason = "a key's file needs a part of it"))]
pub(crate) mod disk;
#[cfg(feature = "providers")]
mod environment;
mod error;
mod ext;
mod fair_lock;
mod memory;
mod storable;

#[cfg(feature = "backup")]
#[cfg_attr(docsrs, doc(cfg(feature = "backup")))]
pub mod backup;
#[cfg(feature = "file")]
#[cfg_attr(docsrs, doc(cfg(feature = "file")))]
pub mod file;
#[cfg(feature = "seal")]
#[cfg_attr(docsrs, doc(cfg(feature = "seal")))]
pub mod key;
#[cfg(feature = "seal")]
#[cfg_attr(docsrs, doc(cfg(feature = "seal")))]
pub mod seal;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_service::Service;

use crate::BoxError;
use crate::clock::Timestamp;
use crate::credential::{CredentialId, Generation, Kind, Metadata, PoolKey, Record, Secret};
use crate::printable::Shown;
use crate::standing::{Outcome, Standings};

#[cfg(feature = "providers")]
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub use environment::{EnvironmentFuture, EnvironmentLayer, EnvironmentVault};
pub use error::VaultError;
#[cfg(feature = "file")]
use error::way_out;
pub use ext::VaultExt;
#[cfg(feature = "backup")]
pub(crate) use ext::put_again;
pub(crate) use ext::{record, replace_as_it_came};
pub use memory::{MemoryFuture, MemoryVault};
#[cfg(feature = "file")]
pub(crate) use storable::check_stored_names;
pub use storable::{MAX_NAME_LEN, check_name};
pub(crate) use storable::{check_kind, check_names, check_secret};

/// A service that keeps credentials: every `Service<VaultRequest, Response = VaultResponse>` is one. What it has to keep to
/// is at [the module](self#a-backend-of-ones-own).
pub trait Vault:
    Service<VaultRequest, Response = VaultResponse, Error: Into<BoxError>, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> Vault for S where
    S: Service<VaultRequest, Response = VaultResponse, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// What a vault is asked. `T` is a [`Secret`] for a vault, a sealed one for a backend. A later version may ask for more:
/// see [what to answer](self#a-backend-of-ones-own).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum VaultRequest<T = Secret> {
    /// One pool, whole. Answered by [`VaultResponse::Pool`].
    Load(PoolKey),
    /// The metadata of every credential. Answered by [`VaultResponse::List`].
    List,
    /// Adds a credential, last in its pool. A label that is taken gets `-2`, `-3` and so on; an id
    /// that is taken is an error. Answered by [`VaultResponse::Stored`].
    Put(Record<T>),
    /// Gives a credential another label, refused where it is taken. Answered by
    /// [`VaultResponse::Stored`].
    Relabel {
        /// Which credential.
        id: CredentialId,
        /// Its new label.
        label: Arc<str>,
    },
    /// Moves a credential to another place in its pool's order. Answered by [`VaultResponse::Done`].
    Move {
        /// Which credential.
        id: CredentialId,
        /// The place, counted from 0; one past the end means the back.
        place: usize,
    },
    /// Removes a credential and all that is known of it. Answered by [`VaultResponse::Done`].
    Remove {
        /// Which credential.
        id: CredentialId,
    },
    /// Reads one credential. Answered by [`VaultResponse::Credential`].
    Get {
        /// Which credential.
        id: CredentialId,
    },
    /// Replaces a secret if the stored generation is the expected one; the new secret's generation is
    /// the one after it, its kind must be the stored one. Durable before it is answered, by
    /// [`VaultResponse::Replaced`].
    ReplaceSecret {
        /// Which credential.
        id: CredentialId,
        /// The generation that is replaced.
        expected: Generation,
        /// What replaces it.
        secret: T,
        /// What replaces the attributes; `None` leaves them. They are bound by the seal, so they change with
        /// a secret or not at all.
        attributes: Option<BTreeMap<String, String>>,
    },
    /// Stores a secret in place of the same one, at the same generation: what seals it anew under another
    /// key asks its backend for. Makes no new revision, since nothing that a pool reads is another. Durable before it is
    /// answered, by [`VaultResponse::Replaced`].
    Reseal {
        /// Which credential.
        id: CredentialId,
        /// The generation of the secret; nothing is stored where another one is there by now.
        expected: Generation,
        /// The secret.
        secret: T,
    },
    /// Merges outcomes into a pool's standings. An outcome of a credential that is gone is dropped.
    /// Never touches a secret. Answered by [`VaultResponse::Revision`].
    Record {
        /// Which pool.
        pool: PoolKey,
        /// What happened, in order.
        outcomes: Vec<Outcome>,
    },
    /// Leases a credential's refresh: answered, by [`VaultResponse::Lease`], once no one else holds it.
    LeaseRefresh {
        /// Which credential.
        id: CredentialId,
    },
    /// Leases the refreshes of all credentials that go by this name, an OAuth client's most often, which
    /// must not be made at the same time: answered, by [`VaultResponse::Lease`], once no one else holds it.
    LeaseClient {
        /// Which client.
        client: Arc<str>,
    },
    /// Notes that the secret of a generation is about to be exchanged for another one, so that whoever comes
    /// after a crash knows that it may be spent. To be asked while the credential's refresh is leased.
    /// Durable before it is answered, by [`VaultResponse::Begun`]. A new secret ends it, and so does an outcome by
    /// which that generation [needs a sign-in](crate::standing::Health::NeedsSignIn).
    BeginRefresh {
        /// Which credential.
        id: CredentialId,
        /// The generation that is to be exchanged; nothing is noted where another one is there by now.
        expected: Generation,
    },
    /// Notes that the exchange of a generation has failed by no verdict of the vendor's, so that nobody asks the
    /// token endpoint before a while has passed. To be asked while the credential's refresh is leased. A new secret
    /// ends it. Answered by [`VaultResponse::Done`]; where that fails, other processes find out by themselves.
    RefreshFailed {
        /// Which credential.
        id: CredentialId,
        /// The generation that was to be exchanged; nothing is noted where another one is there by now.
        expected: Generation,
        /// How long the token endpoint is to be left alone.
        failed: FailedRefresh,
    },
    /// Which revision a pool is at; cheap enough to ask every second. Answered by
    /// [`VaultResponse::Revision`].
    Revision(PoolKey),
}

impl<T> VaultRequest<T> {
    /// What the request is called: `load`, `replace secret`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Load(_) => "load",
            Self::List => "list",
            Self::Put(_) => "put",
            Self::Relabel { .. } => "relabel",
            Self::Move { .. } => "move",
            Self::Remove { .. } => "remove",
            Self::Get { .. } => "get",
            Self::ReplaceSecret { .. } => "replace secret",
            Self::Reseal { .. } => "reseal",
            Self::Record { .. } => "record",
            Self::LeaseRefresh { .. } => "lease refresh",
            Self::LeaseClient { .. } => "lease client",
            Self::BeginRefresh { .. } => "begin refresh",
            Self::RefreshFailed { .. } => "refresh failed",
            Self::Revision(_) => "revision",
        }
    }
}

/// What a vault answers. Which variant answers which request is said at [`VaultRequest`].
#[derive(Debug)]
#[non_exhaustive]
pub enum VaultResponse<T = Secret> {
    /// A pool, whole.
    Pool(StoredPool<T>),
    /// Every credential's metadata, and what could not be read.
    List(Listing),
    /// The metadata as it was stored.
    Stored(Metadata),
    /// One credential.
    Credential(Record<T>),
    /// What a compare and swap came to.
    Replaced(Replaced<T>),
    /// A refresh's lease.
    Lease(RefreshLease),
    /// A refresh that has begun.
    Begun(Begun<T>),
    /// A pool's revision.
    Revision(Revision),
    /// Done, and there is nothing to tell.
    Done,
}

/// A pool as a vault keeps it.
#[derive(Clone, Debug)]
pub struct StoredPool<T = Secret> {
    /// The credentials, first to last.
    pub credentials: Vec<Record<T>>,
    /// How they stand. A damaged credential keeps its place and its standing here. No
    /// [verdict](crate::standing::Health::NeedsSignIn) is on an older secret than the credential's.
    pub standings: Standings,
    /// Which revision this is.
    pub revision: Revision,
    /// Records of the vault that could not be read; the others are not affected.
    pub damaged: Vec<Damage>,
}

impl<T> StoredPool<T> {
    /// What a vault answers. A verdict on a secret that a newer one has replaced is
    /// [void](crate::standing::Health::NeedsSignIn), also one that was recorded after that: it is left out here,
    /// so that nobody who reads a pool has to look.
    pub fn new(
        credentials: Vec<Record<T>>,
        mut standings: Standings,
        revision: Revision,
        damaged: Vec<Damage>,
    ) -> Self {
        for Record { metadata, .. } in &credentials {
            if let Some(standing) = standings.credentials.get_mut(&metadata.id) {
                standing.forget_before(metadata.generation);
            }
        }
        Self { credentials, standings, revision, damaged }
    }
}

/// Every credential's metadata, and what could not be read.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The credentials, by pool and in each pool's order.
    pub credentials: Vec<Metadata>,
    /// Records that could not be read; the others are not affected.
    pub damaged: Vec<Damage>,
}

/// A record that could not be read. It was left where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// Which record: a file's path, or the credential's id where a vault has no files.
    pub record: String,
    /// What is wrong with it, and the way out.
    pub reason: String,
    /// The credential whose record it is, if it is one of the pool that was asked for.
    pub id: Option<CredentialId>,
    /// The kind that is written on it, if that can be read. The credential counts as one of this kind, and one that may
    /// be of any as one of each: a damaged sign-in must not bill an API key instead.
    pub kind: Option<Kind>,
    /// Whether the record itself may be well: the system could not read it this time. What a pool has in memory stays
    /// in use, and is read again at the next look.
    pub may_pass: bool,
}

impl Damage {
    /// That `record` cannot be read, because of `reason`.
    pub fn new(record: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { record: record.into(), reason: reason.into(), id: None, kind: None, may_pass: false }
    }

    /// It is this credential's record, and this kind is written on it, if any can be read.
    #[must_use]
    pub fn of(mut self, id: CredentialId, kind: Option<Kind>) -> Self {
        (self.id, self.kind) = (Some(id), kind);
        self
    }

    /// The record itself may be well.
    #[must_use]
    pub fn may_pass(mut self) -> Self {
        self.may_pass = true;
        self
    }

    /// Whether it may be a credential for which this holds.
    pub(crate) fn may_be(&self, is_it: impl Fn(Kind) -> bool) -> bool {
        self.id.is_some() && self.kind.is_none_or(is_it)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Shown(&self.record), Shown(&self.reason))
    }
}

/// What a compare and swap of a secret came to.
#[derive(Clone, Debug)]
pub enum Replaced<T = Secret> {
    /// The secret was replaced; this is its generation now.
    Swapped(Generation),
    /// Someone else was first; this is what they stored.
    Conflict(Record<T>),
}

/// A refresh that has begun, or need not begin.
#[derive(Clone, Debug)]
pub struct Begun<T = Secret> {
    /// What is stored now. Where its generation isn't the expected one, the refresh is done already.
    pub record: Record<T>,
    /// When a refresh of this same generation began before, of which nothing was stored: its process died,
    /// or the answer was lost. The refresh token may be spent.
    pub unfinished: Option<Timestamp>,
    /// The last exchange of this same generation, where it has [failed](VaultRequest::RefreshFailed). While there is
    /// a part of its wait left, the refresh has not begun and nothing was noted.
    pub failed: Option<FailedRefresh>,
}

/// An exchange that has failed by no verdict of the vendor's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRefresh {
    /// How long the token endpoint is to be left alone; in an answer, what is left of that.
    pub wait: Duration,
    /// How many have failed one after the other.
    pub in_a_row: u32,
    /// Why, in words: nothing secret. Those who find it are told.
    pub reason: String,
}

/// A number that grows whenever a pool has changed, be it a credential, a secret, the order or a
/// cooldown. Only whether two are equal means anything: a vault may count or take a file's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(u64);

impl Revision {
    /// The revision of this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The right to refresh a credential, until it is dropped.
pub struct RefreshLease(#[allow(dead_code, reason = "held for its Drop")] Box<dyn Any + Send + Sync>);

impl RefreshLease {
    /// A lease that ends when `guard` is dropped.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

impl fmt::Debug for RefreshLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshLease")
    }
}

/// `label`, or where it is taken the first of `label-2`, `label-3` … that is not; shortened where the
/// number would make it longer than [`MAX_NAME_LEN`].
pub(crate) fn free_label(label: &Arc<str>, is_taken: impl Fn(&str) -> bool) -> Arc<str> {
    if !is_taken(label) {
        return label.clone();
    }
    let numbered = |number: u64| {
        let suffix = format!("-{number}");
        let room = MAX_NAME_LEN.saturating_sub(suffix.len());
        let fits = label.char_indices().map(|(start, char)| start + char.len_utf8());
        let end = fits.take_while(|end| *end <= room).last().unwrap_or(0);
        format!("{}{suffix}", &label[..end])
    };
    (2..).map(numbered).find(|candidate| !is_taken(candidate)).map_or_else(|| label.clone(), Into::into)
}

/// What a vault stamps a new secret with.
pub(crate) fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

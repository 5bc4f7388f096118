//! The vault: a tower [`Service`] that keeps credentials, their order, their cooldowns and their health.
//!
//! A [`Vault`] is any service from [`VaultRequest`] to [`VaultResponse`], so it is wrapped like any
//! service: a timeout, a concurrency limit, a trace. [`VaultExt`] has a method for each request.
//!
//! A *backend* is the same service over sealed secrets, `VaultRequest<Sealed>`; the `SealLayer`
//! of the `seal` module turns one into a vault. So a backend never sees a secret, and writing one
//! takes no cryptography.

mod copy;
#[cfg(feature = "seal")]
#[cfg_attr(not(feature = "file"), allow(dead_code, reason = "a key's file needs a part of it"))]
pub(crate) mod disk;
#[cfg(feature = "providers")]
mod environment;
mod ext;
mod memory;
mod turns;

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
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tower_service::Service;

use crate::BoxError;
use crate::clock::Timestamp;
use crate::credential::{CredentialId, Generation, Kind, Metadata, PoolKey, Record, Secret};
use crate::plain::{Shown, is_odd, was_odd};
use crate::standing::{Outcome, Standings};

#[cfg(feature = "providers")]
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub use environment::{EnvironmentFuture, EnvironmentLayer, EnvironmentVault};
pub use ext::VaultExt;
pub(crate) use ext::record;
pub use memory::{MemoryFuture, MemoryVault};

/// A service that keeps credentials: every `Service<VaultRequest, Response = VaultResponse>` is one.
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

/// What a vault is asked. `T` is a [`Secret`] for a vault, a sealed one for a backend.
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
    /// key asks its backend for. Durable before it is answered, by [`VaultResponse::Replaced`].
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

/// Why a vault could not do what it was asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum VaultError {
    /// There is no such credential.
    NotFound(CredentialId),
    /// A credential of this id exists already.
    Exists(CredentialId),
    /// Another credential of the pool has this label.
    LabelTaken(Arc<str>),
    /// A name can't be stored.
    InvalidName {
        /// Which: `provider`, `namespace` or `label`.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A credential's kind and its secret's are not the same.
    WrongKind {
        /// Which credential.
        id: CredentialId,
        /// The kind in its metadata.
        expected: Kind,
        /// The kind of the secret.
        given: Kind,
    },
    /// A record can't be read.
    Damaged(Damage),
    /// The key is not the one that sealed the vault, or is no key at all.
    Key(String),
    /// Another request has held a lock for too long.
    Locked {
        /// The file that is locked.
        path: PathBuf,
        /// The id of the process that holds it, where the system tells.
        holder: Option<u32>,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The vault's directory, or a part of it, is no longer there.
    DirectoryGone(PathBuf),
    /// The vault is on a network file system, where locks and renames may not do what it needs.
    NetworkFileSystem {
        /// The vault's directory.
        path: PathBuf,
        /// The file system's name.
        name: &'static str,
    },
    /// A credential is too long to be stored.
    TooLong {
        /// How long its record would be.
        bytes: usize,
        /// How long a record may be.
        most: usize,
    },
    /// A file operation failed.
    Io {
        /// What was being done, as in `write` or `lock`.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A layer around the vault failed: a timeout, say.
    Layer(BoxError),
    /// The vault answered with something else than what was asked for.
    UnexpectedResponse,
}

/// Files may have any names, and a log may be read at a terminal.
impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(Described(self)).fmt(f)
    }
}

struct Described<'a>(&'a VaultError);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use VaultError::*;
        match self.0 {
            NotFound(id) => write!(f, "no credential {id} in the vault"),
            Exists(id) => write!(f, "credential {id} is in the vault already"),
            LabelTaken(label) => {
                write!(f, "the label {label:?} is taken in this pool; choose another")
            }
            InvalidName { field, reason } => write!(f, "the {field} can't be stored: {reason}"),
            WrongKind { id, expected, given } => {
                write!(f, "credential {id} is of kind {expected}, the secret of kind {given}")
            }
            Damaged(damage) => damage.fmt(f),
            Key(reason) => write!(f, "vault key: {reason}"),
            Locked { path, holder, waited } if waited.is_zero() => {
                write!(f, "{} is locked by ", path.display())?;
                match holder {
                    Some(id) => write!(f, "the process {id}")?,
                    None => f.write_str("another process")?,
                }
                f.write_str("; try again when it is done")
            }
            Locked { path, holder, waited } => {
                write!(f, "{} was locked for {} s by ", path.display(), waited.as_secs_f64())?;
                match holder {
                    Some(id) if *id == std::process::id() => f.write_str("this process itself"),
                    Some(id) => write!(f, "the process {id}; see what it is doing, or end it"),
                    None => f.write_str("another process; see which one has the file open, or end it"),
                }
            }
            DirectoryGone(path) => {
                write!(f, "{} is gone; restore it, or open the vault anew to make it", path.display())
            }
            NetworkFileSystem { path, name } => write!(
                f,
                "{} is on a network file system ({name}), where locks may not hold; keep the vault on a \
                 local disk, or allow it by FileVaultBuilder::allow_network_file_system",
                path.display()
            ),
            TooLong { bytes, most } => write!(
                f,
                "the credential's record would have {bytes} bytes, and {most} are the most; shorten its \
                 secret or its attributes"
            ),
            Io { action, path, source } => {
                write!(f, "could not {action} {}", path.display())?;
                f.write_str(way_out(source.kind()))
            }
            Layer(error) => write!(f, "a layer around the vault failed: {error}"),
            UnexpectedResponse => f.write_str("the vault answered something else than was asked"),
        }
    }
}

/// What helps against an I/O error, after what it is.
fn way_out(kind: std::io::ErrorKind) -> &'static str {
    use std::io::ErrorKind;
    match kind {
        ErrorKind::PermissionDenied => "; make it yours to read and write (see its owner and mode)",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room on the disk, then try again",
        ErrorKind::ReadOnlyFilesystem => {
            "; it is mounted read-only: mount it writable, or keep the vault elsewhere"
        }
        ErrorKind::AlreadyExists => "; move away what has its name",
        ErrorKind::NotADirectory => "; move away what is there in place of a directory",
        _ => "",
    }
}

impl std::error::Error for VaultError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Layer(error) => error.source(),
            _ => None,
        }
    }
}

impl From<BoxError> for VaultError {
    fn from(error: BoxError) -> Self {
        match error.downcast::<VaultError>() {
            Ok(error) => *error,
            Err(error) => VaultError::Layer(error),
        }
    }
}

/// The longest name, in bytes, that a provider, a namespace or a label may have.
pub const MAX_NAME_LEN: usize = 200;

/// Refuses names that are empty or blank, too long, or hold control characters or others that are not seen.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<(), VaultError> {
    check_stored_name(field, name)?;
    if name.chars().any(is_odd) {
        let reason = "it has characters that are not seen, or turn a line around";
        return Err(VaultError::InvalidName { field, reason });
    }
    Ok(())
}

/// Refuses what no version has stored: fewer characters counted as unseen before.
fn check_stored_name(field: &'static str, name: &str) -> Result<(), VaultError> {
    let reason = match name {
        "" => "it is empty",
        name if name.len() > MAX_NAME_LEN => "it is longer than 200 bytes",
        name if name.trim().is_empty() => "it is blank",
        name if name.chars().any(char::is_control) => "it has control characters",
        name if name.chars().any(was_odd) => {
            "it has characters that are not seen, or turn a line around"
        }
        _ => return Ok(()),
    };
    Err(VaultError::InvalidName { field, reason })
}

/// Checks every name of a record that is about to be stored.
pub(crate) fn check_names(metadata: &Metadata) -> Result<(), VaultError> {
    check_name("provider", metadata.pool.provider())?;
    check_name("namespace", metadata.pool.namespace())?;
    check_name("label", &metadata.label)
}

/// Checks every name of a record that is stored.
#[cfg(feature = "file")]
pub(crate) fn check_stored_names(metadata: &Metadata) -> Result<(), VaultError> {
    check_stored_name("provider", metadata.pool.provider())?;
    check_stored_name("namespace", metadata.pool.namespace())?;
    check_stored_name("label", &metadata.label)
}

/// Refuses a secret whose kind is not the metadata's. A sealed secret was checked when it was sealed.
pub(crate) fn check_kind<T: 'static>(metadata: &Metadata, secret: &T) -> Result<(), VaultError> {
    match (secret as &dyn Any).downcast_ref::<Secret>().map(Secret::kind) {
        Some(given) if given != metadata.kind => {
            Err(VaultError::WrongKind { id: metadata.id, expected: metadata.kind, given })
        }
        _ => Ok(()),
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

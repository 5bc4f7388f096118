//! The errors of a vault.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::damage::Damage;
use crate::BoxError;
use crate::credential::{CredentialId, Kind};
use crate::printable::Shown;
use crate::quoted::quoted;

/// The error of a vault's request.
#[derive(Debug)]
#[non_exhaustive]
pub enum VaultError {
    /// There is no such credential.
    NotFound(CredentialId),
    /// A credential with this id exists already.
    Exists(CredentialId),
    /// Another credential of the pool has this label.
    LabelTaken(Arc<str>),
    /// A name can't be stored.
    InvalidName {
        /// The name's field: `provider`, `namespace` or `label`.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A credential's kind differs from its secret's kind.
    WrongKind {
        /// The credential.
        id: CredentialId,
        /// The kind in its metadata.
        expected: Kind,
        /// The kind of the secret.
        given: Kind,
    },
    /// A secret can't be stored, because no request could carry it.
    InvalidSecret {
        /// The secret's field: `API key`, `access token` or `token`.
        field: &'static str,
        /// What is wrong with it, and the way out.
        reason: &'static str,
    },
    /// A record can't be read.
    Damaged(Damage),
    /// The key did not seal the vault, or is not a key at all.
    Key(String),
    /// Another request has held a lock for too long.
    Locked {
        /// The file that is locked.
        path: PathBuf,
        /// The id of the process that holds it, if the system knows.
        holder: Option<u32>,
        /// How long the request waited for it.
        waited: Duration,
    },
    /// The vault's directory, or a part of it, is gone.
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
        /// The length that its record would have.
        bytes: usize,
        /// The maximum length of a record.
        most: usize,
    },
    /// A file operation failed.
    Io {
        /// The operation, such as `write` or `lock`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A layer around the vault failed, such as a timeout, or a backend whose error has another type.
    Layer(BoxError),
    /// The vault does not support this request. Its backend may be older than the program.
    Unsupported {
        /// The request's [name](super::VaultRequest::name).
        request: &'static str,
    },
    /// The vault's response does not belong to the request.
    UnexpectedResponse,
    /// What keeps the vault's records, such as a database, can't be reached. Whether a change was made is not known.
    ///
    /// A backend that returns this logs once that they are away, and once that they are back: the pools over it log neither.
    Unreachable(BoxError),
    /// The lease of a credential's refresh ended before the refresh began: its holder was stopped, or cut off from the vault.
    /// No token was presented.
    LeaseLost(CredentialId),
}

impl VaultError {
    /// Returns whether the vault is at fault, and not the request.
    pub(crate) fn is_of_the_vault(&self) -> bool {
        use VaultError::*;
        match self {
            Damaged(_)
            | Key(_)
            | Locked { .. }
            | DirectoryGone(_)
            | NetworkFileSystem { .. }
            | Io { .. }
            | Layer(_)
            | UnexpectedResponse
            | Unreachable(_)
            | LeaseLost(_) => true,
            NotFound(_)
            | Exists(_)
            | LabelTaken(_)
            | InvalidName { .. }
            | WrongKind { .. }
            | InvalidSecret { .. }
            | TooLong { .. }
            | Unsupported { .. } => false,
        }
    }
}

/// Shows file names escaped: they may be any text, and a log may be read at a terminal.
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
            InvalidSecret { field, reason } => write!(f, "the {field} can't be stored: {reason}"),
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
                write!(f, "{} is gone; restore it, or open the vault again to make it", path.display())
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
                f.write_str(&way_out(action, path, source.kind()))
            }
            Layer(error) => write!(f, "the vault, or a layer around it, failed: {error}"),
            Unsupported { request } => {
                write!(f, "this vault does not do {request:?}; update its backend, or do without")
            }
            UnexpectedResponse => f.write_str("the vault's response does not belong to the request"),
            Unreachable(error) => write!(f, "the vault can't be reached: {error}"),
            LeaseLost(id) => write!(
                f,
                "the lease of credential {id} ended before its token was presented; another process may renew it now"
            ),
        }
    }
}

/// Reading a directory, as an action of [`VaultError::Io`].
pub(crate) const READ_DIRECTORY: &str = "read the directory";

/// Returns the way out of a failed file operation, to follow the description of it.
pub(super) fn way_out(action: &str, path: &Path, kind: std::io::ErrorKind) -> String {
    use std::io::ErrorKind;
    let way_out = match kind {
        ErrorKind::PermissionDenied if action == READ_DIRECTORY => {
            return format!("; chmod 700 {}", quoted(path));
        }
        ErrorKind::PermissionDenied => "; make it yours to read and write (see its owner and mode)",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room on the disk, then try again",
        ErrorKind::ReadOnlyFilesystem => {
            "; it is mounted read-only: mount it writable, or keep the vault elsewhere"
        }
        ErrorKind::AlreadyExists => "; move away what has its name",
        ErrorKind::NotADirectory => "; move away what is there in place of a directory",
        _ => "",
    };
    way_out.to_owned()
}

impl std::error::Error for VaultError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Layer(error) | Self::Unreachable(error) => error.source(),
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

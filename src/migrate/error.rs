//! Errors of reading and removing files.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::source::Source;
use crate::vault::VaultError;

/// The reason why a legacy file can't be read, or was not removed. It names the file and the place in it, and quotes none of
/// its contents.
#[derive(Debug)]
#[non_exhaustive]
pub enum MigrateError {
    /// A file operation failed.
    Io {
        /// The operation, such as `read` or `remove`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The path is not a regular file.
    NotAFile(PathBuf),
    /// The file is longer than any of its kind.
    TooLong {
        /// The file.
        path: PathBuf,
        /// The maximum length in bytes.
        most: u64,
    },
    /// The file is not JSON, or only the beginning of it.
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// It is unclear which program's file it is.
    Unclear {
        /// The file.
        path: PathBuf,
        /// The possible sources; empty if it resembles none.
        among: Vec<Source>,
    },
    /// The file was not removed, because something in it was skipped.
    Skipped {
        /// The file.
        path: PathBuf,
        /// The number of skipped entries and parts of entries.
        count: usize,
    },
    /// The file was not removed, because it has changed since it was read.
    Changed(PathBuf),
    /// The file was not removed, because it changed during the removal, and could not be put back.
    SetAside {
        /// The file.
        path: PathBuf,
        /// Its present path.
        kept: PathBuf,
        /// Why it could not be put back. Usually another file has its name.
        source: std::io::Error,
    },
    /// The file was not removed, because the vault does not have one of its entries as it is in the file.
    NotStored {
        /// The file.
        path: PathBuf,
        /// The entry.
        entry: String,
    },
    /// The vault can't be read.
    Vault(VaultError),
}

/// Names the operation and the file of a system's error.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MigrateError {
    let path = path.to_owned();
    move |source| MigrateError::Io { action, path, source }
}

impl fmt::Display for MigrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, source } => {
                write!(f, "could not {action} {}", path.display())?;
                match source.kind() {
                    std::io::ErrorKind::PermissionDenied => {
                        f.write_str("; check its owner and mode, and those of its directory")
                    }
                    _ => Ok(()),
                }
            }
            Self::NotAFile(path) => {
                write!(f, "{} is no plain file; name the file with the accounts", path.display())
            }
            Self::TooLong { path, most } => write!(
                f,
                "{} is longer than {most} bytes, and no file with accounts is; name the right one",
                path.display()
            ),
            Self::Damaged { path, line, column, reason } => write!(
                f,
                "{}, line {line}, column {column}: {reason}; repair the file, or sign in again with its \
                 program",
                path.display()
            ),
            Self::Unclear { path, among } if among.is_empty() => {
                let names = Source::ALL.map(Source::as_str).join(", ");
                write!(
                    f,
                    "{} is like no file that is known; name its source (--from, one of {names})",
                    path.display()
                )
            }
            Self::Unclear { path, among } => {
                let names: Vec<_> = among.iter().map(|source| source.as_str()).collect();
                let names = names.join(" or ");
                write!(f, "{} may be of {names}; say which (--from)", path.display())
            }
            Self::Skipped { path, count } => write!(
                f,
                "{} is not removed: {count} of its parts were skipped and are nowhere else; save them, \
                 then remove it by hand",
                path.display()
            ),
            Self::Changed(path) => write!(
                f,
                "{} is not removed: it has changed since it was read; migrate it again first",
                path.display()
            ),
            Self::SetAside { path, kept, .. } => write!(
                f,
                "{} is not removed: it has changed meanwhile, and could not be put back; it is kept as {}: move \
                 it back, or choose one of the two if there is a new file by now",
                path.display(),
                kept.display()
            ),
            Self::NotStored { path, entry } => write!(
                f,
                "{} is not removed: the vault does not have {entry:?} as it is in the file; migrate it \
                 again, or if that keeps the vault's own, remove the file by hand",
                path.display()
            ),
            Self::Vault(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MigrateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } | Self::SetAside { source, .. } => Some(source),
            Self::Vault(error) => error.source(),
            _ => None,
        }
    }
}

impl From<VaultError> for MigrateError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

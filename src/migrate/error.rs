//! Why a file can't be read, or not be removed.

use std::fmt;
use std::path::PathBuf;

use super::source::Source;
use crate::vault::VaultError;

/// Why a legacy file can't be read, or not be removed. It names the file and the place in it, and quotes
/// nothing of what is there.
#[derive(Debug)]
#[non_exhaustive]
pub enum MigrateError {
    /// A file operation failed.
    Io {
        /// What was being done, as in `read` or `remove`.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no plain file of that name.
    NotAFile(PathBuf),
    /// The file is longer than any of its kind.
    TooLong {
        /// Which file.
        path: PathBuf,
        /// How long one may be, in bytes.
        most: u64,
    },
    /// The file is not what it should be: no JSON, or only the beginning of it.
    Damaged {
        /// Which file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// It can't be told whose file it is.
    Unclear {
        /// Which file.
        path: PathBuf,
        /// Whose it may be; nobody's that is known where this is empty.
        among: Vec<Source>,
    },
    /// The file is not removed, since something in it was skipped.
    Skipped {
        /// Which file.
        path: PathBuf,
        /// How many entries, or parts of them.
        count: usize,
    },
    /// The file is not removed, since it has changed since it was read.
    Changed(PathBuf),
    /// The file is not removed, since it has changed while it was to be, and could not be put back.
    SetAside {
        /// Which file.
        path: PathBuf,
        /// Where it is now.
        kept: PathBuf,
        /// Why it could not be put back: another file has its name, most often.
        source: std::io::Error,
    },
    /// The file is not removed, since an entry of it is not in the vault as it is in the file.
    NotStored {
        /// Which file.
        path: PathBuf,
        /// Which entry.
        entry: String,
    },
    /// The vault can't be read.
    Vault(VaultError),
}

impl fmt::Display for MigrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, source } => {
                write!(f, "could not {action} {}", path.display())?;
                match source.kind() {
                    std::io::ErrorKind::PermissionDenied => {
                        f.write_str("; see the owner and the mode of it and of its directory")
                    }
                    _ => Ok(()),
                }
            }
            Self::NotAFile(path) => {
                write!(f, "{} is no plain file; name the file with the accounts", path.display())
            }
            Self::TooLong { path, most } => write!(
                f,
                "{} is longer than {most} bytes, as no file with accounts is; name the right one",
                path.display()
            ),
            Self::Damaged { path, line, column, reason } => write!(
                f,
                "{}, line {line}, column {column}: {reason}; mend the file, or sign in anew with the \
                 program that it is of",
                path.display()
            ),
            Self::Unclear { path, among } if among.is_empty() => {
                let names = Source::ALL.map(Source::as_str).join(", ");
                write!(
                    f,
                    "{} is like no file that is known; say whose it is (--from, one of {names})",
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
                "{} is not removed: {count} of its parts were skipped and are nowhere else; see to them, \
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
                 it back, or where there is a new file by now, choose one",
                path.display(),
                kept.display()
            ),
            Self::NotStored { path, entry } => write!(
                f,
                "{} is not removed: the vault does not have {entry:?} as it is in the file; migrate it \
                 again, or where that keeps the vault's own, remove the file by hand",
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

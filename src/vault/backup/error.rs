//! Why a backup can't be made or opened.

use std::fmt;

use super::SealedBy;

/// Why a backup can't be made or opened. Nothing of what is in it is shown.
#[derive(Debug)]
#[non_exhaustive]
pub enum BackupError {
    /// The file is no backup, or only a part of one.
    NoBackup(&'static str),
    /// A newer version of this crate has made it.
    Newer(u64),
    /// It was sealed with something else.
    OtherLock(SealedBy),
    /// The passphrase is wrong, or the file was changed.
    NotOpened(SealedBy),
    /// The system has not given what is needed.
    Failed(&'static str),
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBackup(reason) => write!(f, "the file is no backup: {reason}"),
            Self::Newer(version) => {
                write!(
                    f,
                    "the backup has the format {version}, which this version does not know; use a newer one"
                )
            }
            Self::OtherLock(SealedBy::Passphrase) => {
                f.write_str("the backup is sealed with a passphrase; give that")
            }
            Self::OtherLock(SealedBy::Key(id)) => {
                write!(f, "the backup is sealed with the key {id}; give that")
            }
            Self::NotOpened(SealedBy::Passphrase) => f.write_str(
                "the backup does not open: the passphrase is another one, or the file was changed",
            ),
            Self::NotOpened(SealedBy::Key(_)) => {
                f.write_str("the backup does not open: the file was changed")
            }
            Self::Failed(reason) => write!(f, "could not seal or open the backup: {reason}"),
        }
    }
}

impl std::error::Error for BackupError {}

//! The errors of a backup.

use std::fmt;

use super::SealedBy;

/// The error of making or opening a backup. It shows nothing of the content.
#[derive(Debug)]
#[non_exhaustive]
pub enum BackupError {
    /// The file is not a backup, or only a part of one.
    NoBackup(&'static str),
    /// A newer version of this crate has made it.
    Newer(u64),
    /// It was sealed with another key, or with a passphrase instead of a key.
    OtherLock(SealedBy),
    /// The passphrase is wrong, or the file was changed.
    NotOpened(SealedBy),
    /// The system gave no random numbers or no memory.
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

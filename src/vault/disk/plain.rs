//! Plain files, which nothing else may stand for.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

use super::{damaged, failed, ops};
use crate::vault::VaultError;

/// Distinguishes a file from another one that has taken its name, while either is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    #[cfg(unix)]
    device_and_inode: (u64, u64),
    #[cfg(not(unix))]
    created: Option<std::time::SystemTime>,
}

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            Self { device_and_inode: (metadata.dev(), metadata.ino()) }
        }
        #[cfg(not(unix))]
        Self { created: metadata.created().ok() }
    }

    /// Returns the numbers of the device and the inode.
    #[cfg(target_os = "linux")]
    pub(crate) fn device_and_inode(self) -> (u64, u64) {
        self.device_and_inode
    }
}

/// Opens a regular file for reading; `None` if there is none. Anything else, including a symbolic link, is reported as
/// damage.
pub(crate) fn open_plain(path: &Path) -> Result<Option<(File, Metadata)>, VaultError> {
    let file = match ops::open_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            // O_NOFOLLOW: the target of a link must not be read here.
            return Err(not_opened("read", path, error));
        }
    };
    let metadata = ops::file_metadata(&file, path).map_err(failed("read", path))?;
    check_plain(path, &metadata)?;
    Ok(Some((file, metadata)))
}

/// Reports anything but a regular file as damage.
pub(crate) fn check_plain(path: &Path, metadata: &Metadata) -> Result<(), VaultError> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(damaged(
        path,
        match metadata.is_symlink() {
            true => "it is a symbolic link, where a file should be; put the file itself there",
            false => "it is no plain file, and one should be there; move it away",
        },
    ))
}

/// Returns the error for a file that cannot be opened. Systems report in many ways that it is not a regular file.
pub(crate) fn not_opened(action: &'static str, path: &Path, error: io::Error) -> VaultError {
    let plain = ops::metadata(path).map(|metadata| check_plain(path, &metadata));
    plain.unwrap_or(Ok(())).err().unwrap_or_else(|| failed(action, path)(error))
}

//! Files that only their owner may read. Each is written completely or not at all.

mod aside;
#[cfg(test)]
pub(crate) mod fault;
pub(crate) mod lock;
mod modes;
pub(crate) mod ops;
mod owner;
mod plain;
mod temporary;

use std::fs::DirEntry;
use std::io;
use std::io::ErrorKind::{PermissionDenied, Unsupported};
use std::path::Path;

use super::error::READ_DIRECTORY;
use super::{Damage, VaultError};
pub(crate) use aside::{keep_copy, set_aside, set_aside_as};
#[cfg(unix)]
pub(crate) use modes::stranger;
pub(crate) use modes::{is_closed, open_to_others, set_mode};
pub(crate) use ops::parent;
#[cfg(feature = "file")]
pub(crate) use owner::pass_on;
pub(crate) use plain::{FileId, check_plain, not_opened, open_plain};
#[cfg(feature = "file")]
pub(crate) use temporary::replace_all;
pub(crate) use temporary::{Temporary, is_our_temporary, is_temporary};

/// Makes an error of an I/O error, the operation and the file.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VaultError + use<> {
    let path = path.to_owned();
    move |source| VaultError::Io { action, path, source }
}

/// Whether the error says that a file cannot be written at the moment, though it may be readable: there is no room, the
/// file system is mounted read-only, or the directory is not writable for this user.
pub(crate) fn is_unwritable(error: &VaultError) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let VaultError::Io { source, .. } = error else { return false };
    matches!(source.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem | PermissionDenied)
}

/// Makes the directory and the missing ones above it, each with mode 0700, durably. An existing directory is left as it
/// is. Returns whether `path` itself was made.
pub(crate) fn make_dir(path: &Path) -> Result<bool, VaultError> {
    if path.is_dir() {
        return Ok(false);
    }
    make_dir(parent(path))?;
    match ops::make_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(false),
        Err(error) => return Err(failed("make the directory", path)(error)),
    }
    owner::pass_on_dir(path);
    if let Err(error) = set_mode(path, 0o700) {
        if matches!(&error, VaultError::Io { source, .. } if source.kind() == Unsupported) {
            // It is empty, and the next process that finds it must be refused, too.
            let _ = std::fs::remove_dir(path);
        }
        return Err(error);
    }
    sync_names(path)?;
    Ok(true)
}

/// Returns the damage of a file that cannot be read because of `reason`, which also says the way out.
pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> VaultError {
    VaultError::Damaged(Damage::new(path.display().to_string(), reason))
}

/// Returns everything in one of the vault's directories.
pub(crate) fn entries(directory: &Path) -> Result<Vec<DirEntry>, VaultError> {
    ops::entries(directory).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => VaultError::DirectoryGone(directory.to_owned()),
        _ => failed(READ_DIRECTORY, directory)(error),
    })
}

/// Makes changes of names beside `path` outlast a power cut.
pub(crate) fn sync_names(path: &Path) -> Result<(), VaultError> {
    let directory = parent(path);
    ops::sync_dir(directory).map_err(failed("sync", directory))
}

/// Makes the names of all directories on the way to `path` outlast a power cut, for the first process that keeps
/// something there: another process may have made them, and died before it synced them.
pub(crate) fn sync_way(path: &Path) -> Result<(), VaultError> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    for above in path.ancestors().skip(1) {
        let directory = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match ops::sync_dir(directory) {
            // It belongs to somebody else, and so does its content; or it cannot be synced.
            Err(error) if matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported) => {}
            synced => synced.map_err(failed("sync", directory))?,
        }
    }
    Ok(())
}

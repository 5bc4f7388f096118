//! The operating system's file locks.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use crate::vault::{VaultError, disk};

/// Waits for the lock on the file at `path`, made where it is missing; dropping the answer unlocks.
pub(super) fn take(path: &Path) -> Result<File, VaultError> {
    let file = open(path)?;
    loop {
        match file.lock() {
            Ok(()) => return Ok(file),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(disk::failed("lock", path)(error)),
        }
    }
}

/// As [`take`], after a look at whether a lock that is held is refused to others here: some network file
/// systems say yes to everyone.
pub(super) fn take_and_check(path: &Path) -> Result<File, VaultError> {
    let held = take(path)?;
    match open(path)?.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(held),
        Err(TryLockError::Error(error)) => Err(disk::failed("lock", path)(error)),
        Ok(()) => {
            let reason = "the file system gives one lock to two; keep the vault on a local disk";
            Err(disk::failed("lock", path)(io::Error::new(io::ErrorKind::Unsupported, reason)))
        }
    }
}

fn open(path: &Path) -> Result<File, VaultError> {
    disk::private().create(true).truncate(false).open(path).map_err(disk::failed("open", path))
}

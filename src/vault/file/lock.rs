//! The operating system's file locks, taken without waiting for long: whoever finds one held gives the
//! thread back and tries again later.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use super::busy::{Busy, Stopped};
use crate::vault::VaultError;
use crate::vault::disk::lock::{has_name, open, open_to_read};
use crate::vault::disk::{self, FileId, ops};

/// How long a thread sleeps before each further try. Together less than a millisecond, which covers most
/// changes of another process; who must wait longer does so without a thread.
const PAUSES: [u64; 6] = [0, 20, 50, 100, 200, 400];

/// One lock file, kept open. Of one process, one thread at a time holds it.
pub(super) struct LockFile {
    path: PathBuf,
    file: Mutex<Option<Open>>,
}

struct Open {
    file: File,
    id: FileId,
    /// Whether it could be written to: if not, nor can anything be that it guards, most likely.
    is_writable: bool,
}

/// A lock that is held until this is dropped.
pub(super) struct Held<'a>(MutexGuard<'a, Option<Open>>);

impl Held<'_> {
    /// Whether the lock's file could be written to.
    pub(super) fn is_writable(&self) -> bool {
        self.0.as_ref().is_some_and(|open| open.is_writable)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Closing the file unlocks too, should unlocking ever fail.
        if self.0.as_ref().is_some_and(|open| open.file.unlock().is_err()) {
            *self.0 = None;
        }
    }
}

impl LockFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: Mutex::new(None) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock, with less than a millisecond of patience.
    pub(super) fn take(&self) -> Result<Held<'_>, Stopped> {
        self.take_as(true)
    }

    /// Takes the lock for whoever changes nothing. `None` if it is missing and can't be made: nobody can be kept out
    /// then, and who reads sees each file whole all the same.
    pub(super) fn take_to_read(&self) -> Result<Option<Held<'_>>, Stopped> {
        match self.take_as(false) {
            Err(Stopped::Failed(error))
                if disk::is_unwritable(&error)
                    && ops::metadata(&self.path)
                        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound) =>
            {
                Ok(None)
            }
            taken => taken.map(Some),
        }
    }

    fn take_as(&self, writes: bool) -> Result<Held<'_>, Stopped> {
        for pause in PAUSES {
            if pause > 0 {
                std::thread::sleep(Duration::from_micros(pause));
            }
            let mut slot = match self.file.try_lock() {
                Ok(slot) => slot,
                // A file is opened and locked, or it is not: a panic leaves no half of that.
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            if self.lock(&mut slot, writes)? {
                return Ok(Held(slot));
            }
        }
        Err(Busy::new(&self.path).into())
    }

    fn lock(&self, slot: &mut Option<Open>, writes: bool) -> Result<bool, VaultError> {
        if writes && slot.as_ref().is_some_and(|open| !open.is_writable) {
            *slot = None;
        }
        let Open { file, id, .. } = match slot {
            Some(open) => open,
            None => slot.insert(match writes {
                true => open(&self.path).map(|(file, id)| Open { file, id, is_writable: true })?,
                false => open_to_read(&self.path).map(|(file, id, is_writable)| Open {
                    file,
                    id,
                    is_writable,
                })?,
            }),
        };
        if !ops::try_lock(file, &self.path).map_err(disk::failed("lock", &self.path))? {
            return Ok(false);
        }
        let has_name = has_name(*id, &self.path);
        if !matches!(has_name, Ok(true)) {
            // Where somebody has removed the file, whoever comes next would lock another one. Closing it
            // unlocks, which an error needs as well: it is answered without a `Held`.
            *slot = None;
        }
        has_name
    }

    /// Looks whether a lock that is held is refused to others here: some file systems say yes to everyone.
    pub(super) fn check(&self, _held: &Held<'_>) -> Result<(), VaultError> {
        let (file, ..) = open_to_read(&self.path)?;
        if ops::try_lock(&file, &self.path).map_err(disk::failed("lock", &self.path))? {
            let reason = "the file system gives one lock to two; keep the vault on a local disk";
            let error = io::Error::new(io::ErrorKind::Unsupported, reason);
            return Err(disk::failed("lock", &self.path)(error));
        }
        Ok(())
    }
}

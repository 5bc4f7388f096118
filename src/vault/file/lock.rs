//! The operating system's file locks, taken without a long wait: a thread that finds one held returns. Its request tries
//! again, and after a while waits in a [queue](super::queue).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use super::busy::{Busy, Stopped};
use crate::vault::VaultError;
use crate::vault::disk::lock::{Granted, has_name, open, open_to_read};
use crate::vault::disk::{self, FileId, ops};

/// How long a thread sleeps before each further try, in microseconds. Together this is less than a millisecond, which
/// covers most changes by another process. A longer wait does not occupy a thread.
const PAUSES: [u64; 6] = [0, 20, 50, 100, 200, 400];

/// One lock file, kept open. Within one process, one thread at a time holds it.
pub(super) struct LockFile {
    path: PathBuf,
    file: Mutex<Option<Open>>,
}

struct Open {
    file: File,
    id: FileId,
    /// Whether it could be opened for writing. If not, what it guards most likely cannot be written either.
    is_writable: bool,
    /// Whether it is locked for whoever takes it next in this process.
    is_granted: bool,
}

/// A lock that is held until this is dropped.
pub(super) struct Held<'a>(MutexGuard<'a, Option<Open>>);

impl Held<'_> {
    /// Whether the lock's file could be opened for writing.
    pub(super) fn is_writable(&self) -> bool {
        self.0.as_ref().is_some_and(|open| open.is_writable)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Closing the file also unlocks it, if unlocking ever fails.
        if self.0.as_ref().is_some_and(|open| open.file.unlock().is_err()) {
            *self.0 = None;
        }
    }
}

/// A lock that was waited for. Unless somebody takes it before this is dropped, it is unlocked then.
pub(super) struct Accepted<'a>(&'a LockFile);

impl Drop for Accepted<'_> {
    fn drop(&mut self) {
        let mut slot = self.0.slot();
        if slot.as_mut().is_some_and(|open| std::mem::take(&mut open.is_granted)) {
            drop(Held(slot));
        }
    }
}

impl Open {
    fn new(file: File, id: FileId, is_writable: bool) -> Self {
        Self { file, id, is_writable, is_granted: false }
    }
}

impl LockFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: Mutex::new(None) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a lock that was waited for, for whoever takes it next in this process.
    pub(super) fn accept(&self, granted: Granted) -> Accepted<'_> {
        let (id, is_writable) = (granted.id, granted.is_writable);
        if let Some(file) = granted.into_file() {
            *self.slot() = Some(Open { is_granted: true, ..Open::new(file, id, is_writable) });
        }
        Accepted(self)
    }

    fn slot(&self) -> MutexGuard<'_, Option<Open>> {
        // The file is either open and locked, or it is not: a panic cannot leave it in between.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock. Waits for less than a millisecond.
    pub(super) fn take(&self) -> Result<Held<'_>, Stopped> {
        self.take_as(true)
    }

    /// Takes the lock for a caller that changes nothing. Returns `None` if it is missing and cannot be made: then
    /// nobody can be kept out, and a reader sees each file whole all the same.
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
        let Open { file, id, is_granted, .. } = match slot {
            Some(open) => open,
            None => slot.insert(match writes {
                true => open(&self.path).map(|(file, id)| Open::new(file, id, true))?,
                false => open_to_read(&self.path)
                    .map(|(file, id, is_writable)| Open::new(file, id, is_writable))?,
            }),
        };
        let is_locked = std::mem::take(is_granted)
            || ops::try_lock(file, &self.path).map_err(disk::failed("lock", &self.path))?;
        if !is_locked {
            return Ok(false);
        }
        let has_name = has_name(*id, &self.path);
        if !matches!(has_name, Ok(true)) {
            // If the file was removed, the next process would lock another one. Closing the file unlocks it, which an
            // error needs as well, because it is returned without a `Held`.
            *slot = None;
        }
        has_name
    }

    /// Checks that other processes cannot take a lock that is held: some file systems grant it to everyone.
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

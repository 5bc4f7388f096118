//! The operating system's file locks, taken without waiting for long: whoever finds one held gives the
//! thread back and tries again later.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use super::busy::{Busy, Stopped};
use crate::vault::VaultError;
use crate::vault::disk::{self, FileId, ops};

/// How long a thread sleeps before each further try. Together less than a millisecond, which covers most
/// changes of another process; who must wait longer does so without a thread.
const PAUSES: [u64; 6] = [0, 20, 50, 100, 200, 400];

/// One lock file, kept open. Of one process, one thread at a time holds it.
pub(super) struct LockFile {
    path: PathBuf,
    file: Mutex<Option<(File, FileId)>>,
}

/// A lock that is held until this is dropped.
pub(super) struct Held<'a>(MutexGuard<'a, Option<(File, FileId)>>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Closing the file unlocks too, should unlocking ever fail.
        if self.0.as_ref().is_some_and(|(file, _)| file.unlock().is_err()) {
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
            if self.lock(&mut slot)? {
                return Ok(Held(slot));
            }
        }
        Err(Busy::new(&self.path).into())
    }

    fn lock(&self, slot: &mut Option<(File, FileId)>) -> Result<bool, VaultError> {
        let (file, id) = match slot {
            Some(open) => open,
            None => slot.insert(open(&self.path)?),
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
        let (file, _) = open(&self.path)?;
        if ops::try_lock(&file, &self.path).map_err(disk::failed("lock", &self.path))? {
            let reason = "the file system gives one lock to two; keep the vault on a local disk";
            let error = io::Error::new(io::ErrorKind::Unsupported, reason);
            return Err(disk::failed("lock", &self.path)(error));
        }
        Ok(())
    }
}

/// Takes the lock of the file at `path` for whoever keeps the answer, if nobody has it.
pub(super) fn take_new(path: &Path) -> Result<File, Stopped> {
    let (file, id) = open(path)?;
    if ops::try_lock(&file, path).map_err(disk::failed("lock", path))? && has_name(id, path)? {
        return Ok(file);
    }
    Err(Busy::new(path).into())
}

fn open(path: &Path) -> Result<(File, FileId), VaultError> {
    let file = match open_or_make(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(VaultError::DirectoryGone(disk::parent(path).to_owned()));
        }
        Err(error) => return Err(disk::not_opened("open", path, error)),
    };
    let metadata = ops::file_metadata(&file, path).map_err(disk::failed("open", path))?;
    disk::check_plain(path, &metadata)?;
    Ok((file, FileId::of(&metadata)))
}

fn open_or_make(path: &Path) -> io::Result<File> {
    match ops::open_lock(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match ops::create_new(path) {
            Ok(file) => {
                ops::set_mode(path, 0o600)?;
                Ok(file)
            }
            // Somebody else was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_closed(path),
            Err(error) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open_closed(path),
        opened => opened,
    }
}

/// Opens a file whose maker, under a umask that is strict even with the owner, may have been killed before
/// it set the mode, or is about to.
fn open_closed(path: &Path) -> io::Result<File> {
    if disk::is_closed(&ops::metadata(path)?) {
        ops::set_mode(path, 0o600)?;
    }
    ops::open_lock(path)
}

/// Whether the file of this id still has the name.
fn has_name(id: FileId, path: &Path) -> Result<bool, VaultError> {
    match ops::metadata(path) {
        Ok(metadata) => Ok(FileId::of(&metadata) == id),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(disk::failed("look for", path)(error)),
    }
}

/// The process that holds the lock of the file at `path`, where the system tells.
pub(super) fn holder(path: &Path) -> Option<u32> {
    #[cfg(target_os = "linux")]
    {
        let (device, inode) = FileId::of(&ops::metadata(path).ok()?).device_and_inode();
        // proc_locks(5): number, type, mode, access, process, device and inode.
        let file =
            format!("{:02x}:{:02x}:{inode}", rustix::fs::major(device), rustix::fs::minor(device));
        let locks = std::fs::read_to_string("/proc/locks").ok()?;
        locks.lines().find_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            // A line of one who waits has an arrow before the type.
            (fields.next()? == "FLOCK").then_some(())?;
            let process = fields.nth(2)?.parse().ok()?;
            (fields.next()? == file).then_some(process)
        })
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        None
    }
}

//! Lock files: opened, made if they are missing, and never removed.

use std::fs::File;
use std::io;
use std::path::Path;

use super::{
    FileId, check_plain, failed, is_closed, is_unwritable, not_opened, open_plain, ops, owner, parent,
};
use crate::vault::VaultError;

/// A lock that is held until this is dropped.
pub(crate) struct Taken(File);

impl Drop for Taken {
    fn drop(&mut self) {
        // Closing the file alone is not enough: a process that is just being started also has it open until it runs.
        let _ = self.0.unlock();
    }
}

/// Takes the lock of the file at `path`, as [`take`] does, until the returned value is dropped.
pub(crate) fn hold(path: &Path) -> Result<Option<Taken>, VaultError> {
    Ok(take(path)?.map(Taken))
}

/// Takes the lock of the file at `path` for as long as the returned file is open; `None` if somebody else has it.
pub(crate) fn take(path: &Path) -> Result<Option<File>, VaultError> {
    let (file, id) = open(path)?;
    let is_taken = ops::try_lock(&file, path).map_err(failed("lock", path))? && has_name(id, path)?;
    Ok(is_taken.then_some(file))
}

/// A lock that was waited for. It is held until this is dropped.
#[cfg(feature = "file")]
pub(crate) struct Granted {
    file: Option<File>,
    pub(crate) id: FileId,
    /// Whether the file could be opened for writing.
    pub(crate) is_writable: bool,
}

#[cfg(feature = "file")]
impl Granted {
    /// Returns the file, which stays locked.
    pub(crate) fn into_file(mut self) -> Option<File> {
        self.file.take()
    }
}

#[cfg(feature = "file")]
impl Drop for Granted {
    fn drop(&mut self) {
        drop(self.file.take().map(Taken));
    }
}

/// Takes the lock of the file at `path`, and blocks the thread until nobody else holds it.
#[cfg(feature = "file")]
pub(crate) fn wait(path: &Path) -> Result<Granted, VaultError> {
    loop {
        let (file, id, is_writable) = open_to_read(path)?;
        ops::lock(&file, path).map_err(failed("lock", path))?;
        let granted = Granted { file: Some(file), id, is_writable };
        // It may have been removed or replaced meanwhile.
        if has_name(id, path)? {
            return Ok(granted);
        }
    }
}

pub(crate) fn open(path: &Path) -> Result<(File, FileId), VaultError> {
    let file = match open_or_make(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(VaultError::DirectoryGone(parent(path).to_owned()));
        }
        Err(error) => return Err(not_opened("open", path, error)),
    };
    let metadata = ops::file_metadata(&file, path).map_err(failed("open", path))?;
    check_plain(path, &metadata)?;
    Ok((file, FileId::of(&metadata)))
}

/// Like [`open`], for a caller that changes nothing: a lock file that cannot be opened for writing is opened for
/// reading, since others may be able to write to it. Also returns whether it was opened for writing.
pub(crate) fn open_to_read(path: &Path) -> Result<(File, FileId, bool), VaultError> {
    match open(path) {
        Ok((file, id)) => Ok((file, id, true)),
        Err(error) if is_unwritable(&error) => match open_plain(path) {
            Ok(Some((file, metadata))) => Ok((file, FileId::of(&metadata), false)),
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}

fn open_or_make(path: &Path) -> io::Result<File> {
    match ops::open_lock(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match ops::create_new(path) {
            Ok(file) => {
                owner::pass_on(&file, path);
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

/// Opens a file that nobody may open yet: under a umask that is strict even with the owner, its maker may have been
/// killed before it set the mode, or is about to set it.
fn open_closed(path: &Path) -> io::Result<File> {
    if is_closed(&ops::metadata(path)?) {
        ops::set_mode(path, 0o600)?;
    }
    ops::open_lock(path)
}

/// Whether the file with this id still has the name.
pub(crate) fn has_name(id: FileId, path: &Path) -> Result<bool, VaultError> {
    match ops::metadata(path) {
        Ok(metadata) => Ok(FileId::of(&metadata) == id),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("look for", path)(error)),
    }
}

/// Returns the process that holds the lock of the file at `path`, if the system knows.
pub(crate) fn holder(path: &Path) -> Option<u32> {
    #[cfg(target_os = "linux")]
    {
        let (device, inode) = FileId::of(&ops::metadata(path).ok()?).device_and_inode();
        // proc_locks(5): number, type, mode, access, process, device and inode.
        let file =
            format!("{:02x}:{:02x}:{inode}", rustix::fs::major(device), rustix::fs::minor(device));
        let locks = std::fs::read_to_string("/proc/locks").ok()?;
        locks.lines().find_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            // The line of a waiting process has an arrow before the type.
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

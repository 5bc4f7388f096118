//! Files that are written completely before they get their names.

use std::fs::{DirEntry, File};
use std::io;
use std::path::{Path, PathBuf};

use super::modes::{set_mode, try_mode};
use super::{failed, ops, owner, parent, sync_names};
use crate::vault::VaultError;

/// A complete file under a name that nobody looks for. Removed when dropped.
pub(crate) struct Temporary {
    path: PathBuf,
    /// Whether it was renamed to its target.
    is_renamed: bool,
}

/// The ending of every temporary file's name, which begins with a dot.
const TEMPORARY: &str = ".tmp";

/// Whether it is a temporary file of the vault's, which is always a regular file.
pub(crate) fn is_temporary(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.as_encoded_bytes();
    let is_named = name.starts_with(b".") && name.ends_with(TEMPORARY.as_bytes());
    is_named && entry.file_type().is_ok_and(|kind| kind.is_file())
}

/// Like [`is_temporary`], in a directory in which other programs make such files, too: ours have 16 hexadecimal digits.
pub(crate) fn is_our_temporary(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let digits = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(TEMPORARY));
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(is_digit))
        && is_temporary(entry)
}

impl Temporary {
    /// Writes `bytes` beside `target`, so that they outlast a power cut. They are sealed: on a file system without
    /// modes, a renewed token is better readable than lost.
    pub(crate) fn write(target: &Path, bytes: &[u8]) -> Result<Self, VaultError> {
        Self::write_by(target, bytes, try_mode)
    }

    /// Like [`write`](Self::write), for bytes that are not sealed: nothing is written where others could read it.
    pub(crate) fn write_secret(target: &Path, bytes: &[u8]) -> Result<Self, VaultError> {
        Self::write_by(target, bytes, set_mode)
    }

    fn write_by(
        target: &Path,
        bytes: &[u8],
        set_mode: impl Fn(&Path, u32) -> Result<(), VaultError>,
    ) -> Result<Self, VaultError> {
        let (temporary, file) = Self::begin(target, bytes, set_mode)?;
        temporary.sync(&file)?;
        Ok(temporary)
    }

    fn sync(&self, file: &File) -> Result<(), VaultError> {
        ops::sync(file, &self.path).map_err(failed("sync", &self.path))
    }

    /// Checks that this many bytes could be written beside `target`.
    pub(crate) fn probe(target: &Path, length: usize) -> Result<(), VaultError> {
        Self::begin(target, &vec![0; length], |_, _| Ok(())).map(drop)
    }

    /// Writes `bytes` beside `target`. A power cut may still take them.
    fn begin(
        target: &Path,
        bytes: &[u8],
        set_mode: impl Fn(&Path, u32) -> Result<(), VaultError>,
    ) -> Result<(Self, File), VaultError> {
        let mut random = [0; 8];
        let no_random = |_| failed("name a file beside", target)(io::Error::other("no random numbers"));
        getrandom::fill(&mut random).map_err(no_random)?;
        let path = parent(target).join(format!(".{:016x}{TEMPORARY}", u64::from_ne_bytes(random)));
        let file = ops::create_new(&path).map_err(failed("create", &path))?;
        let temporary = Self { path, is_renamed: false };
        let path = &temporary.path;
        owner::pass_on(&file, target);
        set_mode(path, 0o600)?;
        ops::write(&file, path, bytes).map_err(failed("write", path))?;
        Ok((temporary, file))
    }

    /// Renames the file to `target`, in place of any existing one, durably.
    pub(crate) fn replace(self, target: &Path) -> Result<(), VaultError> {
        self.rename(target)?;
        sync_names(target)
    }

    fn rename(mut self, target: &Path) -> Result<(), VaultError> {
        ops::rename(&self.path, target).map_err(failed("replace", target))?;
        self.is_renamed = true;
        Ok(())
    }

    /// Gives the file the name `target` if it is free, durably. Returns whether it was free.
    pub(crate) fn claim(self, target: &Path) -> Result<bool, VaultError> {
        match ops::link(&self.path, target) {
            Ok(()) => sync_names(target).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(failed("create", target)(error)),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_renamed {
            // A file that stays is swept later.
            let _ = ops::remove(&self.path);
        }
    }
}

/// Replaces files of one directory, each as [`Temporary::write`] and [`Temporary::replace`] do, so that whatever
/// happens, each is the old file or the new one. All are written before the first is synced, and the directory is
/// synced once. So the process waits for the disk a few times, and not twice for each file.
#[cfg(feature = "file")]
pub(crate) fn replace_all(files: &[(PathBuf, Vec<u8>)]) -> Result<(), VaultError> {
    let Some((first, _)) = files.first() else { return Ok(()) };
    let write = |(target, bytes): &(PathBuf, Vec<u8>)| Temporary::begin(target, bytes, try_mode);
    let written = files.iter().map(write).collect::<Result<Vec<_>, _>>()?;
    written.iter().try_for_each(|(temporary, file)| temporary.sync(file))?;
    for ((temporary, _), (target, _)) in written.into_iter().zip(files) {
        temporary.rename(target)?;
    }
    sync_names(first)
}

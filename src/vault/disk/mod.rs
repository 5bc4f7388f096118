//! Files that only their owner may read. Each is written completely or not at all.

#[cfg(test)]
pub(crate) mod fault;
pub(crate) mod lock;
pub(crate) mod ops;
mod owner;

use std::fs::{DirEntry, File, Metadata};
use std::io;
use std::io::ErrorKind::{PermissionDenied, Unsupported};
use std::path::{Path, PathBuf};

use super::error::READ_DIRECTORY;
use super::{Damage, VaultError};
use crate::printable::Shown;
pub(crate) use ops::parent;
#[cfg(feature = "file")]
pub(crate) use owner::pass_on;

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

/// Returns the mode bits by which the group or others may touch the file: 0 if there are none, and on systems without
/// modes.
pub(crate) fn open_to_others(metadata: &Metadata) -> u32 {
    #[cfg(test)]
    if fault::ignores_modes() {
        return 0o077;
    }
    #[cfg(unix)]
    return std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077;
    #[cfg(not(unix))]
    return {
        let _ = metadata;
        0
    };
}

/// Sets the mode of something that must be private, and checks that it was set: some file systems accept a mode and do
/// nothing (a Windows drive in WSL, a FAT).
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<(), VaultError> {
    ops::set_mode(path, mode).map_err(failed("set the mode of", path))?;
    let metadata = ops::metadata(path).map_err(failed("look at", path))?;
    if open_to_others(&metadata) == 0 {
        return Ok(());
    }
    let reason = "the file system keeps no modes, so that others may read what is there; keep the vault and its key on \
                  one that does (in WSL: in the home directory, not below /mnt)";
    Err(failed("set the mode of", path)(io::Error::new(Unsupported, reason)))
}

/// Returns the owner of a file, and then the owner of its directory, if the file belongs neither to the user, nor to
/// root, nor to the directory's owner: root may read files that anybody has put somewhere.
#[cfg(unix)]
pub(crate) fn stranger(path: &Path, metadata: &Metadata) -> io::Result<Option<(u32, u32)>> {
    use std::os::unix::fs::MetadataExt;
    let owner = metadata.uid();
    if owner == 0 || owner == rustix::process::geteuid().as_raw() {
        return Ok(None);
    }
    let directory = std::fs::metadata(parent(path))?.uid();
    Ok((directory != owner).then_some((owner, directory)))
}

/// Whether not even the owner may read or write the file, because a umask has left a new one so.
pub(crate) fn is_closed(metadata: &Metadata) -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o600 == 0;
    #[cfg(not(unix))]
    return {
        let _ = metadata;
        false
    };
}

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

/// Renames a file that cannot be used, and so keeps it.
pub(crate) fn set_aside(path: &Path) -> Result<(), VaultError> {
    let kept = set_aside_as(path, numbered(path))?;
    say_kept(path, &kept);
    Ok(())
}

/// Gives a file that cannot be used the first of these names that is free, and returns that.
pub(crate) fn set_aside_as(path: &Path, name: impl Fn(u32) -> PathBuf) -> Result<PathBuf, VaultError> {
    let kept = free_path(path, name)?;
    ops::rename(path, &kept).map_err(failed("rename", path))?;
    Ok(kept)
}

/// Keeps a damaged file under a second name when another file replaces it. A directory can have only one name, and so
/// can a file on some file systems: it is set aside.
pub(crate) fn keep_copy(path: &Path) -> Result<(), VaultError> {
    let kept = free_path(path, numbered(path))?;
    match ops::link(path, &kept) {
        Ok(()) => say_kept(path, &kept),
        Err(error) if matches!(error.kind(), PermissionDenied | Unsupported) => set_aside(path)?,
        Err(error) => return Err(failed("keep", path)(error)),
    }
    Ok(())
}

fn numbered(path: &Path) -> impl Fn(u32) -> PathBuf {
    move |number| path.with_extension(format!("damaged-{number}"))
}

fn free_path(path: &Path, name: impl Fn(u32) -> PathBuf) -> Result<PathBuf, VaultError> {
    for path in (1..10_000).map(name) {
        match ops::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(failed("look for", &path)(error)),
            Ok(_) => {}
        }
    }
    Err(damaged(path, "damaged, and so were 9,999 before it, which are kept beside it; move those away"))
}

fn say_kept(path: &Path, kept: &Path) {
    tracing::warn!(path = %Shown(path.display()), kept = %Shown(kept.display()), "a damaged file is kept under another name");
}

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

/// Sets the mode of a sealed file.
fn try_mode(path: &Path, mode: u32) -> Result<(), VaultError> {
    ops::set_mode(path, mode).map_err(failed("set the mode of", path))
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

//! Every file operation that a vault uses, as a function each, so that a test can let any of them fail, stop there as a
//! killed process does, or record it.

use std::fs::{self, DirBuilder, DirEntry, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

#[cfg(test)]
use super::fault::{self, Operation};

/// Tells a test's plan what is about to be done, and obeys it.
macro_rules! step {
    ($operation:expr) => {
        #[cfg(test)]
        fault::step($operation)?;
    };
}

/// Makes a new directory with mode 0700, without the bits that the umask forbids.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    step!(Operation::MakeDir(path.to_owned()));
    #[allow(unused_mut, reason = "a mode is set on Unix only")]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes a new file with mode 0600, for reading and appending.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    step!(Operation::Create(path.to_owned()));
    ours().read(true).append(true).create_new(true).open(path)
}

/// Opens a file for reading and appending.
pub(crate) fn open_append(path: &Path) -> io::Result<File> {
    step!(Operation::OpenAppend(path.to_owned()));
    ours().read(true).append(true).open(path)
}

/// Opens a file for reading. Anything but a regular file is an error: a pipe would make the reader wait, and a symbolic
/// link might lead anywhere.
pub(crate) fn open_read(path: &Path) -> io::Result<File> {
    step!(Operation::Open(path.to_owned()));
    ours().read(true).open(path)
}

/// Opens a file for locking.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    step!(Operation::OpenLock(path.to_owned()));
    ours().write(true).open(path)
}

/// Returns the options for one of the vault's files: a new one has mode 0600, a symbolic link is not followed, and
/// opening a pipe does not wait.
fn ours() -> OpenOptions {
    #[allow(unused_mut, reason = "flags are set on Unix only")]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.mode(0o600).custom_flags(flags.bits() as i32);
    }
    options
}

/// Opens a directory that was just made. A symbolic link that has taken its place is an error.
pub(crate) fn open_dir(path: &Path) -> io::Result<File> {
    #[allow(unused_mut, reason = "flags are set on Unix only")]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::DIRECTORY;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits() as i32);
    }
    options.read(true).open(path)
}

/// Gives an open file or directory to the owner of the directory that `path` is in, unless that is root.
pub(crate) fn give_to_owner(file: &File, path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let (owner, ours) = (fs::metadata(parent(path))?, file.metadata()?);
        if owner.uid() != 0 && owner.uid() != ours.uid() {
            step!(Operation::Give(path.to_owned()));
            std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    let _ = (file, path);
    Ok(())
}

/// Returns the metadata of an open file.
pub(crate) fn file_metadata(file: &File, path: &Path) -> io::Result<Metadata> {
    step!(Operation::Look(path.to_owned()));
    let _ = path;
    file.metadata()
}

/// Returns the metadata of a path. A symbolic link is not followed.
pub(crate) fn metadata(path: &Path) -> io::Result<Metadata> {
    step!(Operation::Look(path.to_owned()));
    fs::symlink_metadata(path)
}

/// Reads from the file's current position to its end, but no more than `limit` bytes.
pub(crate) fn read(file: &File, path: &Path, limit: u64, into: &mut Vec<u8>) -> io::Result<usize> {
    step!(Operation::Read(path.to_owned()));
    let _ = path;
    file.take(limit).read_to_end(into)
}

/// Writes all bytes at the file's end. After an error, any part of them may be there.
pub(crate) fn write(mut file: &File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    if let Some((part, error)) = fault::step_write(path, bytes)? {
        file.write_all(&bytes[..part])?;
        return Err(error);
    }
    let _ = path;
    file.write_all(bytes)
}

/// Cuts a file to this length.
pub(crate) fn truncate(file: &File, path: &Path, length: u64) -> io::Result<()> {
    step!(Operation::Truncate(path.to_owned(), length));
    let _ = path;
    file.set_len(length)
}

/// Makes a file's content outlast a power cut.
pub(crate) fn sync(file: &File, path: &Path) -> io::Result<()> {
    step!(Operation::Sync(path.to_owned()));
    let _ = path;
    file.sync_all()
}

/// Makes the names in a directory outlast a power cut.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    step!(Operation::SyncDir(path.to_owned()));
    // Windows can't open a directory as a file, and its file systems log renames by themselves.
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Renames a file, in place of any file that has the new name.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step!(Operation::Rename(from.to_owned(), to.to_owned()));
    fs::rename(from, to)
}

/// Gives a file a second name. Refused if the name is taken.
pub(crate) fn link(from: &Path, to: &Path) -> io::Result<()> {
    step!(Operation::Link(from.to_owned(), to.to_owned()));
    fs::hard_link(from, to)
}

/// Removes a file.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    step!(Operation::Remove(path.to_owned()));
    fs::remove_file(path)
}

/// Sets the mode, whatever the umask. Does nothing on systems without modes.
pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    step!(Operation::SetMode(path.to_owned()));
    #[cfg(test)]
    if fault::ignores_modes() {
        return Ok(());
    }
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    let _ = (path, mode);
    Ok(())
}

/// Checks whether this user may make files in a directory, as far as its mode and its file system say.
pub(crate) fn look_writable(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::fs::{Access, access};
        Ok(access(path, Access::WRITE_OK | Access::EXEC_OK)?)
    }
    #[cfg(not(unix))]
    std::fs::metadata(path).map(drop)
}

/// Returns everything in a directory.
pub(crate) fn entries(path: &Path) -> io::Result<Vec<DirEntry>> {
    step!(Operation::List(path.to_owned()));
    fs::read_dir(path)?.collect()
}

/// Locks the file if nobody else holds it. Returns whether it did.
pub(crate) fn try_lock(file: &File, path: &Path) -> io::Result<bool> {
    step!(Operation::Lock(path.to_owned()));
    let _ = path;
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Locks the file, and waits until nobody else holds it.
#[cfg(feature = "file")]
pub(crate) fn lock(file: &File, path: &Path) -> io::Result<()> {
    step!(Operation::Lock(path.to_owned()));
    let _ = path;
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            locked => return locked,
        }
    }
}

/// Returns the directory that a file is in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns the name of the network file system that a directory is on; `None` for any other.
pub(crate) fn network_file_system(path: &Path) -> io::Result<Option<&'static str>> {
    #[cfg(test)]
    if let Some(planned) = fault::network_file_system() {
        return Ok(Some(planned));
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return Ok(network_name(rustix::fs::statfs(path)?.f_type as u64));
    #[cfg(target_vendor = "apple")]
    return {
        // MNT_LOCAL of sys/mount.h: the file system is stored locally.
        let is_local = rustix::fs::statfs(path)?.f_flags & 0x1000 != 0;
        Ok((!is_local).then_some("a network file system"))
    };
    #[allow(
        unreachable_code,
        reason = "elsewhere nobody tells; whether locks work is tried in any case"
    )]
    {
        let _ = path;
        Ok(None)
    }
}

/// The file systems that statfs(2) identifies by this number as being on another machine.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn network_name(magic: u64) -> Option<&'static str> {
    // The kernel's numbers have 32 bits; some C types of them have a sign.
    Some(match magic & 0xffff_ffff {
        0x6969 => "NFS",
        0x517b | 0xfe53_4d42 | 0xff53_4d42 => "SMB",
        0x0102_1997 => "9P",
        0x00c3_6400 => "Ceph",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x7375_7245 => "Coda",
        0x0bd0_0bd0 => "Lustre",
        0x0116_1970 => "GFS2",
        0x7461_636f => "OCFS2",
        _ => return None,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// A test has no network file system at hand; statfs(2) documents the numbers.
    #[test]
    fn network_file_systems_are_known_by_their_numbers_whatever_their_sign() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(i64::from(0xff53_4d42_u32 as i32) as u64), Some("SMB"));
        for local in [0xef53, 0x9123_683e, 0x5846_5342, 0x0102_1994, 0x794c_7630, 0x2fc1_2fc1] {
            assert_eq!(network_name(local), None);
        }
        assert_eq!(network_file_system(&std::env::temp_dir()).unwrap(), None);
    }
}

//! Files that only their owner may read, written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::VaultError;

/// Says of an I/O error what was being done, and to which file.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VaultError + use<> {
    let path = path.to_owned();
    move |source| VaultError::Io { action, path, source }
}

/// Makes the directory and those above it that are missing, each with mode 0700. One that exists is
/// left as it is. Answers whether `path` itself was made.
pub(crate) fn make_dir(path: &Path) -> Result<bool, VaultError> {
    if path.is_dir() {
        return Ok(false);
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_dir(parent)?;
    }
    #[allow(unused_mut, reason = "a mode is set on Unix only")]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(false),
        Err(error) => return Err(failed("make the directory", path)(error)),
    }
    set_mode(path, 0o700)?;
    Ok(true)
}

/// The mode bits by which the group or others may touch the file: 0 where there are none, and on
/// systems without modes.
pub(crate) fn open_to_others(metadata: &fs::Metadata) -> u32 {
    #[cfg(unix)]
    return std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077;
    #[cfg(not(unix))]
    return {
        let _ = metadata;
        0
    };
}

/// Sets the mode whatever the umask; does nothing on systems without modes.
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<(), VaultError> {
    #[cfg(unix)]
    {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(path, permissions).map_err(failed("set the mode of", path))?;
    }
    let _ = (path, mode);
    Ok(())
}

/// Options that make a new file with mode 0600.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A finished file under a name that no one looks for; removed when dropped.
pub(crate) struct Temporary {
    path: PathBuf,
}

/// The end of every temporary file's name, which begins with a dot.
pub(crate) const TEMPORARY: &str = ".tmp";

impl Temporary {
    /// Writes `bytes` beside `target`. Synced, they will outlast a power cut; `modified` is the time of
    /// the change, now where it is `None`.
    pub(crate) fn write(
        target: &Path,
        bytes: &[u8],
        synced: bool,
        modified: Option<SystemTime>,
    ) -> Result<Self, VaultError> {
        let mut random = [0; 8];
        let no_random = |_| failed("name a file beside", target)(io::Error::other("no random numbers"));
        getrandom::fill(&mut random).map_err(no_random)?;
        let path = parent(target).join(format!(".{:016x}{TEMPORARY}", u64::from_ne_bytes(random)));
        let mut file = private().create_new(true).open(&path).map_err(failed("create", &path))?;
        let temporary = Self { path };
        let path = &temporary.path;
        set_mode(path, 0o600)?;
        file.write_all(bytes).map_err(failed("write", path))?;
        if let Some(modified) = modified {
            file.set_modified(modified).map_err(failed("set the time of", path))?;
        }
        if synced {
            file.sync_all().map_err(failed("sync", path))?;
        }
        Ok(temporary)
    }

    /// Gives the file its name, in place of one that has it already.
    #[cfg(feature = "file")]
    pub(crate) fn replace(self, target: &Path) -> Result<(), VaultError> {
        fs::rename(&self.path, target).map_err(failed("replace", target))
    }

    /// Gives the file its name if it is free, and answers whether it was.
    pub(crate) fn claim(self, target: &Path) -> Result<bool, VaultError> {
        match fs::hard_link(&self.path, target) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(failed("create", target)(error)),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Gone already after a rename, and what stays for another reason is swept later.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes what happened to the names beside `path` outlast a power cut.
pub(crate) fn sync_names(path: &Path) -> Result<(), VaultError> {
    // Windows can't open a directory as a file, and its file systems log renames by themselves.
    if cfg!(unix) {
        let directory = parent(path);
        let sync = File::open(directory).and_then(|directory| directory.sync_all());
        sync.map_err(failed("sync", directory))?;
    }
    Ok(())
}

/// The directory a file lies in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

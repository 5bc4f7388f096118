//! Who may read a file: modes and owners.

use std::fs::Metadata;
use std::io;
use std::io::ErrorKind::Unsupported;
use std::path::Path;

#[cfg(test)]
use super::fault;
#[cfg(unix)]
use super::parent;
use super::{failed, ops};
use crate::vault::VaultError;

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

/// Sets the mode of a sealed file.
pub(super) fn try_mode(path: &Path, mode: u32) -> Result<(), VaultError> {
    ops::set_mode(path, mode).map_err(failed("set the mode of", path))
}

//! Making the vault's directories, and putting them in order: modes, and what a killed process has left.

use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::path::Path;

use crate::plain::Shown;
use crate::vault::VaultError;
use crate::vault::disk::{self, ops};

pub(super) const RECORDS: &str = "records";
pub(super) const POOLS: &str = "pools";
pub(super) const LEASES: &str = "leases";
pub(super) const LOCK: &str = "lock";
pub(super) const KEYS: &str = "key.json";

pub(super) const DIRECTORIES: [&str; 3] = [RECORDS, POOLS, LEASES];

/// Whether there is a vault in the directory, or what is left of one.
pub(super) fn is_vault(root: &Path) -> bool {
    let is_there = |name: &&str| match root.join(name).try_exists() {
        Ok(is_there) => is_there,
        // What can't be looked at may be one.
        Err(error) => error.kind() != io::ErrorKind::NotADirectory,
    };
    [RECORDS, KEYS].iter().any(is_there)
}

/// Makes the directories that are missing and narrows the modes of the others; that of a root that was there
/// before only if nothing else than a vault is in it.
pub(super) fn make(root: &Path, on_network: bool) -> Result<(), VaultError> {
    let is_new = disk::make_dir(root)?;
    if !on_network {
        refuse_network(root)?;
    }
    if !is_new && disk::entries(root)?.iter().all(is_ours) {
        narrow_dir(root)?;
    }
    for directory in DIRECTORIES {
        let path = root.join(directory);
        disk::make_dir(&path)?;
        narrow_dir(&path)?;
    }
    Ok(())
}

fn refuse_network(root: &Path) -> Result<(), VaultError> {
    let failed = disk::failed("look at the file system of", root);
    match ops::network_file_system(root).map_err(failed)? {
        Some(name) => Err(VaultError::NetworkFileSystem { path: root.to_owned(), name }),
        None => Ok(()),
    }
}

/// Removes the temporary files that killed processes have left, and narrows the modes of ours. Wants the
/// vault's lock held.
pub(super) fn sweep(root: &Path) -> Result<(), VaultError> {
    for directory in [""].into_iter().chain(DIRECTORIES) {
        for entry in disk::entries(&root.join(directory))? {
            if disk::is_temporary(&entry) {
                let path = entry.path();
                // Temporary files are made under the lock: whoever began this one is gone. But for a key
                // file's, which removes it by itself, or makes another.
                match ops::remove(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(disk::failed("remove", &path)(error));
                    }
                    _ => {}
                }
            } else if let Ok(metadata) = entry.metadata()
                && disk::open_to_others(&metadata) != 0
                && metadata.is_file()
                && (!directory.is_empty() || is_ours(&entry))
            {
                narrow(&entry.path(), &metadata, 0o600)?;
            }
        }
    }
    Ok(())
}

/// Whether an entry of the root is a part of the vault.
pub(super) fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    DIRECTORIES.iter().chain(&[LOCK, KEYS]).any(|ours| *ours == name)
        || name.as_encoded_bytes().starts_with(b"key.damaged-")
        || disk::is_temporary(entry)
}

fn narrow_dir(path: &Path) -> Result<(), VaultError> {
    let metadata = fs::metadata(path).map_err(disk::failed("look at", path))?;
    narrow(path, &metadata, 0o700)
}

/// Narrows the mode of a part of ours if others may touch it.
fn narrow(path: &Path, metadata: &Metadata, mode: u32) -> Result<(), VaultError> {
    if disk::open_to_others(metadata) != 0 {
        match disk::set_mode(path, mode) {
            Ok(()) => {
                tracing::warn!(path = %Shown(path.display()), "others could touch a part of the vault; its mode is now {mode:o}");
            }
            // The vault was made elsewhere, or before this was looked at. What is in it is sealed.
            Err(VaultError::Io { source, .. }) if source.kind() == io::ErrorKind::Unsupported => {
                tracing::warn!(path = %Shown(path.display()), "others can touch a part of the vault: {source}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

//! Makes the vault's directories and puts them in order: modes, and files that a killed process has left.

use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::shares;
use crate::history;
use crate::printable::Shown;
use crate::vault::VaultError;
use crate::vault::disk::{self, ops};

pub(super) const RECORDS: &str = "records";
pub(super) const POOLS: &str = "pools";
pub(super) const LEASES: &str = "leases";
pub(super) const LOCK: &str = "lock";
pub(super) const KEYS: &str = "key.json";

pub(super) const DIRECTORIES: [&str; 3] = [RECORDS, POOLS, LEASES];

/// Whether there is a vault in the directory, or the remains of one.
pub(super) fn is_vault(root: &Path) -> bool {
    let is_there = |name: &&str| match root.join(name).try_exists() {
        Ok(is_there) => is_there,
        // If it cannot be looked at, it may be one.
        Err(error) => error.kind() != io::ErrorKind::NotADirectory,
    };
    [RECORDS, KEYS].iter().any(is_there)
}

/// Checks that the directories of the vault may be written to. A full disk is not noticed.
pub(super) fn look_writable(root: &Path) -> Result<(), VaultError> {
    let directories = DIRECTORIES.iter().map(|name| root.join(name));
    for path in std::iter::once(root.to_owned()).chain(directories) {
        match ops::look_writable(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(disk::failed("write to", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Makes the missing directories and narrows the modes of the others. The mode of a root that already existed is
/// narrowed only if it holds nothing but a vault. Returns whether there was a vault.
///
/// The records are all that must exist for a vault to be read.
pub(super) fn make(root: &Path, on_network: bool) -> Result<bool, VaultError> {
    let is_there = is_vault(root);
    let mut wide = Wide::default();
    let is_new = disk::make_dir(root)?;
    if !on_network {
        refuse_network(root)?;
    }
    if !is_new && disk::entries(root)?.iter().all(is_ours) {
        wide.narrow_dir(root)?;
    }
    for directory in DIRECTORIES {
        let path = root.join(directory);
        match disk::make_dir(&path) {
            Err(error) if is_there && directory != RECORDS && disk::is_unwritable(&error) => continue,
            made => made?,
        };
        wide.narrow_dir(&path)?;
    }
    wide.tell();
    Ok(is_there)
}

fn refuse_network(root: &Path) -> Result<(), VaultError> {
    let failed = disk::failed("look at the file system of", root);
    match ops::network_file_system(root).map_err(failed)? {
        Some(name) => Err(VaultError::NetworkFileSystem { path: root.to_owned(), name }),
        None => Ok(()),
    }
}

/// Removes temporary files that killed processes have left, and narrows the modes of the vault's files. The caller must
/// hold the vault's lock.
pub(super) fn sweep(root: &Path) -> Result<(), VaultError> {
    let mut wide = Wide::default();
    for directory in [""].into_iter().chain(DIRECTORIES).chain([history::DIRECTORY]) {
        let entries = match disk::entries(&root.join(directory)) {
            // It could not be made, or nothing has been written there.
            Err(VaultError::DirectoryGone(_)) => continue,
            entries => entries?,
        };
        for (entry, metadata) in looked_at(&entries) {
            if disk::is_temporary(entry) {
                let path = entry.path();
                // Temporary files are made under the lock, so whoever began this one is gone. Only a key file's is not;
                // its maker removes it, or makes another.
                match ops::remove(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        let error = disk::failed("remove", &path)(error);
                        // It does no harm, and the next process that can removes it.
                        if !disk::is_unwritable(&error) {
                            return Err(error);
                        }
                    }
                    _ => {}
                }
            } else if let Some(metadata) = metadata
                && disk::open_to_others(&metadata) != 0
                && metadata.is_file()
                && (!directory.is_empty() || is_ours(entry))
            {
                wide.narrow(&entry.path(), &metadata, 0o600)?;
            }
        }
    }
    wide.tell();
    Ok(())
}

/// Returns each entry's metadata; `None` for an entry that is gone meanwhile.
pub(super) fn looked_at(entries: &[DirEntry]) -> impl Iterator<Item = (&DirEntry, Option<Metadata>)> {
    let look = |entry: &DirEntry| entry.metadata().ok();
    let metadata = shares::work(entries, |entries| entries.iter().map(look).collect::<Vec<_>>());
    entries.iter().zip(metadata.into_iter().flatten())
}

/// Whether an entry of the root is part of the vault.
pub(super) fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    DIRECTORIES.iter().chain(&[LOCK, KEYS, history::DIRECTORY]).any(|ours| *ours == name)
        || name.as_encoded_bytes().starts_with(b"key.damaged-")
        || disk::is_temporary(entry)
}

/// Parts of the vault that others can touch although they should not.
#[derive(Default)]
struct Wide {
    /// The first of them, and why its mode cannot be narrowed.
    first: Option<(PathBuf, String)>,
    others: usize,
}

impl Wide {
    fn narrow_dir(&mut self, path: &Path) -> Result<(), VaultError> {
        let metadata = fs::metadata(path).map_err(disk::failed("look at", path))?;
        self.narrow(path, &metadata, 0o700)
    }

    /// Narrows the mode of a part of the vault if others may touch it.
    fn narrow(&mut self, path: &Path, metadata: &Metadata, mode: u32) -> Result<(), VaultError> {
        if disk::open_to_others(metadata) == 0 {
            return Ok(());
        }
        match disk::set_mode(path, mode) {
            Ok(()) => {
                tracing::warn!(path = %Shown(path.display()), "others could touch a part of the vault; its mode is now {mode:o}");
            }
            // The vault was made elsewhere, or before modes were checked, or another user must change it. Its content
            // is sealed.
            Err(error) if is_unsettable(&error) => {
                let VaultError::Io { source, .. } = error else { return Ok(()) };
                match self.first {
                    Some(_) => self.others += 1,
                    None => self.first = Some((path.to_owned(), source.to_string())),
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Warns once about the parts that stay so.
    fn tell(self) {
        let Some((path, why)) = self.first else { return };
        let more = match self.others {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        tracing::warn!(path = %Shown(path.display()), "others can touch a part of the vault{more}: {why}");
    }
}

fn is_unsettable(error: &VaultError) -> bool {
    let is_unsupported =
        matches!(error, VaultError::Io { source, .. } if source.kind() == io::ErrorKind::Unsupported);
    is_unsupported || disk::is_unwritable(error)
}

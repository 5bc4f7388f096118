//! Making the vault's directories, and putting them in order: modes, and what a killed process has left.

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
/// before only if nothing else than a vault is in it. Answers whether there was a vault.
///
/// Of that, nothing but the records must be there for it to be read.
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

/// Removes the temporary files that killed processes have left, and narrows the modes of ours. Wants the
/// vault's lock held.
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
                // Temporary files are made under the lock: whoever began this one is gone. But for a key
                // file's, which removes it by itself, or makes another.
                match ops::remove(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        let error = disk::failed("remove", &path)(error);
                        // It is of no account, and is removed by whoever can.
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

/// What is known of each entry, but for one that is gone meanwhile.
pub(super) fn looked_at(entries: &[DirEntry]) -> impl Iterator<Item = (&DirEntry, Option<Metadata>)> {
    let look = |entry: &DirEntry| entry.metadata().ok();
    let metadata = shares::work(entries, |entries| entries.iter().map(look).collect::<Vec<_>>());
    entries.iter().zip(metadata.into_iter().flatten())
}

/// Whether an entry of the root is a part of the vault.
pub(super) fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    DIRECTORIES.iter().chain(&[LOCK, KEYS, history::DIRECTORY]).any(|ours| *ours == name)
        || name.as_encoded_bytes().starts_with(b"key.damaged-")
        || disk::is_temporary(entry)
}

/// Parts of the vault that others can touch although nobody should.
#[derive(Default)]
struct Wide {
    /// The first of them, and why its mode is not narrowed.
    first: Option<(PathBuf, String)>,
    others: usize,
}

impl Wide {
    fn narrow_dir(&mut self, path: &Path) -> Result<(), VaultError> {
        let metadata = fs::metadata(path).map_err(disk::failed("look at", path))?;
        self.narrow(path, &metadata, 0o700)
    }

    /// Narrows the mode of a part of ours if others may touch it.
    fn narrow(&mut self, path: &Path, metadata: &Metadata, mode: u32) -> Result<(), VaultError> {
        if disk::open_to_others(metadata) == 0 {
            return Ok(());
        }
        match disk::set_mode(path, mode) {
            Ok(()) => {
                tracing::warn!(path = %Shown(path.display()), "others could touch a part of the vault; its mode is now {mode:o}");
            }
            // The vault was made elsewhere, or before this was looked at, or is another's to change. What is in it is
            // sealed.
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

    /// Names those that are left so, once.
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

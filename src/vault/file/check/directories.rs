//! Directories and files: which there are, who owns them, and who may touch them.

use std::fs::{DirEntry, Metadata};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::mend::Mend;
use super::{Checker, Finding, FindingKind, Severity};
use crate::credential::CredentialId;
use crate::history;
use crate::quoted::quoted;
use crate::vault::disk;
use crate::vault::file::opening::{self, DIRECTORIES, KEYS, LEASES, LOCK, POOLS, RECORDS};
use crate::vault::{VaultError, way_out};

/// How long a temporary file that is made without a lock may still be in use.
const AT_WORK: Duration = Duration::from_secs(60);

impl Checker<'_> {
    /// Looks at everything in the vault's directory, except the contents of files.
    pub(super) fn directories(&mut self) -> Result<(), VaultError> {
        let root = self.root;
        let entries = disk::entries(root)?;
        if !opening::is_vault(root) {
            let what = "there is no vault here";
            self.found(Finding::new(FindingKind::NoVault, Severity::Error, root, what));
            return Ok(());
        }
        self.root(&entries);
        if let Err(VaultError::Io { action, path, source }) = opening::look_writable(root) {
            let way_out = way_out(action, &path, source.kind());
            let what = format!(
                "can't be written to ({source}): its accounts can be used, but nothing that is learnt about them is saved"
            );
            let finding = Finding::new(FindingKind::Unwritable, Severity::Note, &path, what);
            self.found(finding.way_out(way_out.trim_start_matches("; ")));
        }
        for entry in &entries {
            let name = entry.file_name();
            let is_directory = DIRECTORIES.iter().chain(&[history::DIRECTORY]).any(|ours| *ours == name);
            if self.is_key_in_root && (self.is_of_key(&name) || disk::is_temporary(entry)) {
                // It is checked along with the key.
            } else if disk::is_temporary(entry) {
                self.leftover(entry);
            } else if name.as_encoded_bytes().starts_with(b"key.damaged-") {
                self.set_aside(entry);
            } else if name == LOCK || name == KEYS {
                self.file(entry);
            } else if !is_directory {
                let what = "no file of the vault";
                let path = entry.path();
                self.found(Finding::new(FindingKind::UnknownFile, Severity::Note, &path, what));
            }
        }
        for name in DIRECTORIES {
            self.directory(name);
        }
        if entries.iter().any(|entry| entry.file_name() == history::DIRECTORY) {
            self.directory(history::DIRECTORY);
        }
        Ok(())
    }

    /// Looks at the directory of the vault itself.
    fn root(&mut self, entries: &[DirEntry]) {
        let root = self.root;
        let Ok(metadata) = std::fs::metadata(root) else { return };
        if disk::open_to_others(&metadata) != 0 {
            let finding = open_to_others(root, &metadata, 0o700);
            match entries.iter().all(opening::is_ours) {
                true => self.found_with(finding, Mend::Narrow(root.to_owned(), 0o700)),
                // If somebody keeps other things there, the mode may be intended.
                false => self.found(finding),
            }
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let us = rustix::process::geteuid().as_raw();
            if metadata.uid() != us {
                let what = format!("belongs to the user {}, and this is the user {us}", metadata.uid());
                let finding = Finding::new(FindingKind::ForeignOwner, Severity::Warning, root, what);
                self.found(finding.way_out("use the vault as its owner, or change that by chown"));
            }
        }
    }

    /// Looks at one of the directories in it.
    fn directory(&mut self, name: &'static str) {
        let path = self.root.join(name);
        match std::fs::metadata(&path) {
            Ok(_) if name == history::DIRECTORY && path.is_symlink() => {
                let what = "a symbolic link, where a directory should be: no history is written";
                let finding = Finding::new(FindingKind::UnknownFile, Severity::Warning, &path, what);
                self.found(finding.way_out("move it away"));
                return;
            }
            Ok(metadata) if metadata.is_dir() => self.touchable(&path, &metadata, 0o700),
            Ok(_) => {
                let what = "no directory, where one should be";
                let finding = Finding::new(FindingKind::MissingDirectory, Severity::Error, &path, what);
                self.found(finding.way_out("move it away"));
                return;
            }
            Err(_) if name == RECORDS => {
                let what = "missing, and all records with it";
                let finding = Finding::new(FindingKind::MissingDirectory, Severity::Error, &path, what);
                self.found(finding.way_out("restore it from a backup"));
                return;
            }
            Err(_) => {
                let finding =
                    Finding::new(FindingKind::MissingDirectory, Severity::Warning, &path, "missing");
                let finding = finding.way_out("it is made again when the vault is opened");
                self.found_with(finding, Mend::MakeDirectory(path));
                return;
            }
        }
        let entries = match disk::entries(&path) {
            Ok(entries) => entries,
            Err(error) => return self.damaged(FindingKind::MissingDirectory, &path, error),
        };
        for (entry, metadata) in opening::looked_at(&entries) {
            if disk::is_temporary(entry) {
                self.leftover(entry);
            } else if is_known(name, entry) {
                self.looked_at(entry, metadata);
            } else if name == POOLS && is_set_aside(entry) {
                self.set_aside(entry);
            } else {
                let what = "no file of the vault";
                let finding =
                    Finding::new(FindingKind::UnknownFile, Severity::Warning, &entry.path(), what);
                self.found(finding.way_out("move it away"));
            }
        }
    }

    /// Looks at a file that belongs where it is.
    fn file(&mut self, entry: &DirEntry) {
        self.looked_at(entry, entry.metadata().ok());
    }

    fn looked_at(&mut self, entry: &DirEntry, metadata: Option<Metadata>) {
        // A file that is gone meanwhile is skipped.
        let Some(metadata) = metadata else { return };
        if metadata.is_file() && disk::open_to_others(&metadata) == 0 && self.is_owners(&metadata) {
            return;
        }
        let path = entry.path();
        if metadata.is_file() {
            self.touchable(&path, &metadata, 0o600);
        } else if path.extension().is_none_or(|ending| ending != "json" && ending != "log") {
            // Files whose contents are read are reported with whatever else cannot be read.
            if let Err(error) = disk::check_plain(&path, &metadata) {
                self.damaged(FindingKind::UnknownFile, &path, error);
            }
        }
    }

    /// Whether it belongs to the owner of the vault's directory.
    fn is_owners(&self, metadata: &Metadata) -> bool {
        #[cfg(unix)]
        return self.owner.is_none_or(|owner| owner == std::os::unix::fs::MetadataExt::uid(metadata));
        #[cfg(not(unix))]
        return {
            let _ = metadata;
            true
        };
    }

    /// Looks who may touch it, and who owns it.
    pub(super) fn touchable(&mut self, path: &Path, metadata: &Metadata, mode: u32) {
        if disk::open_to_others(metadata) != 0 {
            let finding = open_to_others(path, metadata, mode);
            self.found_with(finding, Mend::Narrow(path.to_owned(), mode));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            if !self.is_owners(metadata) {
                let what = format!("belongs to the user {}, unlike the vault", metadata.uid());
                let finding = Finding::new(FindingKind::ForeignOwner, Severity::Warning, path, what);
                self.found(finding.way_out("give it to the vault's owner by chown"));
            }
        }
    }

    fn leftover(&mut self, entry: &DirEntry) {
        // They are made under the lock, so whoever began this one is gone.
        if self.is_still {
            self.found_leftover(&entry.path());
        }
    }

    /// Looks at a temporary file that is made without a lock.
    pub(super) fn unlocked_leftover(&mut self, entry: &DirEntry) {
        let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) else { return };
        if SystemTime::now().duration_since(modified).is_ok_and(|age| age > AT_WORK) {
            self.found_leftover(&entry.path());
        }
    }

    fn found_leftover(&mut self, path: &Path) {
        let what = "a temporary file that a killed process has left";
        let finding = Finding::new(FindingKind::Leftover, Severity::Warning, path, what);
        self.found_with(finding.way_out("remove it"), Mend::Remove(path.to_owned()));
    }

    fn set_aside(&mut self, entry: &DirEntry) {
        let what = "a damaged file that was set aside";
        let finding = Finding::new(FindingKind::SetAside, Severity::Note, &entry.path(), what);
        self.found(finding.way_out("remove it when nothing of it is wanted"));
        self.file(entry);
    }
}

fn open_to_others(path: &Path, metadata: &Metadata, mode: u32) -> Finding {
    let others = disk::open_to_others(metadata);
    let what = format!("others may touch it (mode {:03o})", mode | others);
    let finding = Finding::new(FindingKind::OpenToOthers, Severity::Warning, path, what);
    finding.way_out(format!("chmod {mode:o} {}", quoted(path)))
}

/// Whether a file in this directory of the vault has the name of one of the vault's files.
fn is_known(directory: &str, entry: &DirEntry) -> bool {
    let name = entry.file_name();
    if directory == history::DIRECTORY {
        return name.to_str().is_some_and(history::is_file);
    }
    let Some((stem, ending)) = name.to_str().and_then(|name| name.rsplit_once('.')) else {
        return false;
    };
    let is_id = || stem.parse::<CredentialId>().is_ok();
    match (directory, ending) {
        (RECORDS, "json") => is_id(),
        (POOLS, "log" | "lock" | "json") => true,
        (LEASES, "lock") => is_id() || stem.starts_with("client-"),
        (LEASES, "begun") => is_id(),
        _ => false,
    }
}

fn is_set_aside(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let ending = name.to_str().and_then(|name| name.rsplit_once(".damaged-"));
    ending.is_some_and(|(_, number)| number.parse::<u32>().is_ok())
}

//! The key file, and the files beside it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::{Checker, Finding, FindingKind, Severity};
use crate::vault::VaultError;
use crate::vault::disk::{self, ops};
use crate::vault::key;

impl Checker<'_> {
    pub(super) fn key_file(&mut self) {
        let Some(path) = self.key_file else { return };
        let entries = disk::entries(disk::parent(path)).unwrap_or_default();
        match ops::metadata(path) {
            Ok(metadata) => {
                // A key file that others may touch is refused when the key is loaded, so this is worse than for other
                // files.
                let before = self.report.findings.len();
                if metadata.is_file() {
                    self.touchable(path, &metadata, 0o600);
                }
                for finding in &mut self.report.findings[before..] {
                    finding.severity = Severity::Error;
                }
                if self.report.findings.len() == before
                    && let Err(error) = key::load(path)
                {
                    self.damaged(FindingKind::KeyFile, path, as_damage(path, error));
                }
            }
            Err(_) => {
                let finding = Finding::new(FindingKind::KeyFile, Severity::Error, path, "missing");
                self.found(finding.way_out("restore it from a backup; nothing else opens the vault"));
            }
        }
        for entry in &entries {
            if disk::is_our_temporary(entry) {
                self.unlocked_leftover(entry);
            } else if Some(&*entry.file_name()) != path.file_name() && self.is_of_key(&entry.file_name())
            {
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_file() {
                    self.touchable(&entry.path(), &metadata, 0o600);
                }
            }
        }
    }

    /// Whether a file beside the key file is that file, or is named after it.
    pub(super) fn is_of_key(&self, name: &OsStr) -> bool {
        let Some(key) = self.key_file.and_then(Path::file_name) else { return false };
        let rest = name.as_encoded_bytes().strip_prefix(key.as_encoded_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
    }

    /// Whether somebody is changing the key at the moment.
    pub(super) fn is_key_changing(&self) -> bool {
        let Some(key) = self.key_file else { return false };
        let mut path = OsString::from(key);
        path.push(".lock");
        let path = PathBuf::from(path);
        let Ok(file) = ops::open_lock(&path) else { return false };
        !ops::try_lock(&file, &path).unwrap_or(true)
    }
}

/// Returns the reason without the file's name, which a finding already has.
fn as_damage(path: &Path, error: VaultError) -> VaultError {
    match error {
        VaultError::Key(reason) => {
            let name = path.display().to_string();
            let reason = reason.strip_prefix(&name).unwrap_or(&reason).trim_start_matches([' ', ':']);
            disk::damaged(path, reason)
        }
        error => error,
    }
}

//! Refreshes that have begun and are not in progress.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use super::{Checker, Finding, FindingKind, Severity};
use crate::clock::Timestamp;
use crate::credential::{CredentialId, Metadata, Record};
use crate::vault::VaultError;
use crate::vault::disk::{self, ops};
use crate::vault::file::begun;
use crate::vault::file::opening::LEASES;
use crate::vault::file::records::Records;

impl Checker<'_> {
    pub(super) fn leases(&mut self, records: &Records) {
        if !self.is_still {
            return;
        }
        for Unfinished { path, metadata, begun_at } in unfinished(self.root, records) {
            let kind = FindingKind::UnfinishedRefresh;
            self.found(match begun_at {
                Ok(begun_at) => {
                    let begun_at = std::time::UNIX_EPOCH
                        .checked_add(std::time::Duration::from_millis(begun_at.as_millis()))
                        .map(httpdate::fmt_http_date)
                        .unwrap_or_default();
                    let what = format!(
                        "a refresh of {} of the pool {} began on {begun_at}, and nothing was stored",
                        metadata.label, metadata.pool
                    );
                    Finding::new(kind, Severity::Note, &path, what).way_out(
                        "the next refresh presents the token once more; if the vendor refuses it, sign in again",
                    )
                }
                Err(error) => {
                    let mut finding = Finding::damage(kind, &path, error);
                    finding.severity = Severity::Note;
                    finding
                }
            });
        }
    }
}

/// A refresh that has begun and is not in progress.
pub(super) struct Unfinished {
    /// The path of its note.
    path: PathBuf,
    pub(super) metadata: Metadata,
    /// When it began, or why the note does not say.
    begun_at: Result<Timestamp, VaultError>,
}

/// Returns the refreshes that have begun and are not in progress, if nobody changes the vault meanwhile.
pub(super) fn unfinished(root: &Path, records: &Records) -> Vec<Unfinished> {
    let leases = root.join(LEASES);
    let look = |entry: DirEntry| {
        let path = entry.path();
        let id = entry.file_name().to_str()?.strip_suffix(".begun")?.parse().ok()?;
        let Record { metadata, .. } = records.get(id).ok()?;
        if is_leased(&leases, id) {
            return None;
        }
        let begun_at = match begun::read(&path) {
            Ok(Some((generation, begun_at))) if generation == metadata.generation => Ok(begun_at),
            Ok(_) => return None,
            Err(error) => Err(error),
        };
        Some(Unfinished { path, metadata, begun_at })
    };
    disk::entries(&leases).into_iter().flatten().filter_map(look).collect()
}

/// Whether somebody is refreshing the credential at the moment. Makes no file.
fn is_leased(leases: &Path, id: CredentialId) -> bool {
    let path = leases.join(format!("{id}.lock"));
    let Ok(file) = ops::open_lock(&path) else { return false };
    !ops::try_lock(&file, &path).unwrap_or(true)
}

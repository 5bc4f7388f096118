//! Refreshes that have begun and are not in progress.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use super::{Checker, Finding, FindingKind, Severity};
use crate::credential::{CredentialId, Metadata, Record};
use crate::vault::disk::{self, ops};
use crate::vault::file::begun;
use crate::vault::file::opening::LEASES;
use crate::vault::file::records::Records;
use crate::vault::unfinished::{CUT_OFF_WAY_OUT, FAILED_WAY_OUT};
use crate::vault::{UnfinishedRefresh, VaultError};

impl Checker<'_> {
    pub(super) fn leases(&mut self, records: &Records) {
        if !self.is_still {
            return;
        }
        for (path, refresh) in unfinished(self.root, records) {
            let (metadata, kind) = (refresh.metadata, FindingKind::UnfinishedRefresh);
            let of = format!("{} of the pool {}", metadata.label, metadata.pool);
            self.found(match refresh.end {
                Ok(begun::Begun { at, failure: None, .. }) => {
                    let what = format!("a refresh of {of} began at {at}, and nothing was stored");
                    Finding::new(kind, Severity::Note, &path, what).way_out(CUT_OFF_WAY_OUT)
                }
                Ok(begun::Begun { at, failure: Some(why), .. }) => {
                    let what = format!("the last refresh of {of}, of {at}, failed: {why}");
                    Finding::new(FindingKind::FailedRefresh, Severity::Note, &path, what)
                        .way_out(FAILED_WAY_OUT)
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

/// A refresh that has stored nothing, with its credential and its note.
pub(super) struct Noted {
    metadata: Metadata,
    /// Or why the note can't be read.
    end: Result<begun::Begun, VaultError>,
}

impl From<Noted> for UnfinishedRefresh {
    fn from(Noted { metadata, end }: Noted) -> Self {
        Self { id: metadata.id, failure: end.ok().and_then(|begun| begun.failure) }
    }
}

/// Returns the refreshes that have begun, have stored nothing and are not going on, each with the path of its note, if
/// nobody changes the vault meanwhile.
pub(super) fn unfinished(root: &Path, records: &Records) -> Vec<(PathBuf, Noted)> {
    let leases = root.join(LEASES);
    let look = |entry: DirEntry| {
        let path = entry.path();
        let id = entry.file_name().to_str()?.strip_suffix(".begun")?.parse().ok()?;
        let Record { metadata, .. } = records.get(id).ok()?;
        if is_leased(&leases, id) {
            return None;
        }
        let end = match begun::read(&path) {
            Ok(Some(begun)) if begun.generation == metadata.generation => Ok(begun),
            Ok(_) => return None,
            Err(error) => Err(error),
        };
        Some((path, Noted { metadata, end }))
    };
    disk::entries(&leases).into_iter().flatten().filter_map(look).collect()
}

/// Whether somebody is refreshing the credential at the moment. Makes no file.
fn is_leased(leases: &Path, id: CredentialId) -> bool {
    let path = leases.join(format!("{id}.lock"));
    let Ok(file) = ops::open_lock(&path) else { return false };
    !ops::try_lock(&file, &path).unwrap_or(true)
}

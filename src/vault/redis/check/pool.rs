//! One pool.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Inner;
use super::super::keys::Keys;
use super::super::stored::Stored;
use super::parts::Parts;
use super::{Finding, FindingKind, Report, Severity, log, refreshes};
use crate::credential::{CredentialId, PoolKey};
use crate::vault::VaultError;

const LEASE: &str = "lease:";

impl Inner {
    /// Looks at a pool. `key` is its name in the list of pools, `found` the parts of its keys, if the engine has told them.
    pub(super) async fn look_at_pool(
        &self,
        keys: &Keys,
        key: Option<&PoolKey>,
        found: Option<&BTreeSet<String>>,
        fix: bool,
        report: &mut Report,
    ) -> Result<(), VaultError> {
        let Some(parts) = self.parts(keys, report).await? else { return Ok(()) };
        let (labels, pool) = records(keys, key, &parts, report);
        report.records += labels.len();
        report.pools += usize::from(!parts.records.is_empty());
        self.look_at_labels(keys, &parts, &labels, fix, report).await?;
        refreshes::look(keys, &parts, report);
        self.look_at_unfinished(keys, &parts, &labels, report).await?;
        if parts.has_log {
            log::look(keys, &parts, report);
        }
        self.look_at_leases(keys, &parts, found, report).await?;
        match key {
            Some(_) if parts.records.is_empty() => report.found(Finding::new(
                FindingKind::EmptyPool,
                Severity::Note,
                keys.slot(),
                "this pool has no account",
            )),
            None if !parts.records.is_empty() => {
                let is_fixed = match pool.filter(|_| fix) {
                    Some(pool) => self.list_pool(&pool).await.is_ok(),
                    None => false,
                };
                let what = format!("it has accounts, and is not in {}", self.pools_key);
                report.found(
                    Finding::new(FindingKind::UnlistedPool, Severity::Warning, keys.slot(), what)
                        .way_out("check with fix, which adds it")
                        .fixed(is_fixed),
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// Looks at the leases, and at keys that are no part of a pool.
    async fn look_at_leases(
        &self,
        keys: &Keys,
        parts: &Parts,
        found: Option<&BTreeSet<String>>,
        report: &mut Report,
    ) -> Result<(), VaultError> {
        // If the engine does not tell its keys, those of the accounts' leases are known.
        let of_records = || parts.records.keys().map(|id| format!("{LEASE}{id}")).collect();
        let found = found.cloned().unwrap_or_else(of_records);
        for part in found.iter().filter(|part| !Keys::has_part(part)) {
            let key = keys.part(part);
            let Some(id) = part.strip_prefix(LEASE) else {
                let finding = Finding::new(
                    FindingKind::UnknownKey,
                    Severity::Note,
                    key,
                    "it is no key of the vault",
                );
                report.found(finding.way_out("another program or a newer version may have written it"));
                continue;
            };
            if id != "snapshot" && !parts.records.contains_key(id) {
                let what = "it is the lease of an account that is not there";
                report.found(Finding::new(FindingKind::Leftover, Severity::Note, &key, what));
            }
            self.look_at_lease(keys.slot(), &key, report).await?;
        }
        Ok(())
    }
}

/// Looks at the records. Returns the labels of those that can be read, and the pool's name, as they say.
fn records(
    keys: &Keys,
    key: Option<&PoolKey>,
    parts: &Parts,
    report: &mut Report,
) -> (BTreeMap<String, String>, Option<PoolKey>) {
    let (mut labels, mut pool) = (BTreeMap::new(), key.cloned());
    for (name, text) in &parts.records {
        let wrong = |what: String| {
            Finding::new(FindingKind::Record, Severity::Error, keys.part("records"), what)
                .way_out(format!("restore it from a backup, or HDEL {name} and sign in again"))
        };
        let Ok(id) = name.parse::<CredentialId>() else {
            report.found(wrong(format!("{name:?} is no account's id")));
            continue;
        };
        match Stored::must_be(id, text.clone()) {
            Ok((_, record)) => {
                let is_here = Keys::new(prefix_of(keys), &record.metadata.pool).slot() == keys.slot();
                if !is_here {
                    let what = format!("{id} is of another pool, {}", record.metadata.pool);
                    report.found(wrong(what).of(id));
                } else if pool.is_none() {
                    pool = Some(record.metadata.pool.clone());
                }
                labels.insert(name.clone(), record.metadata.label.to_string());
            }
            Err(_) => {
                let what =
                    format!("the record of {id} can't be read; a newer version may have written it");
                report.found(wrong(what).of(id));
            }
        }
    }
    (labels, pool)
}

/// Returns what comes before a pool's name.
fn prefix_of(keys: &Keys) -> &str {
    keys.slot().split(":{").next().unwrap_or_default()
}

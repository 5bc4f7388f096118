//! The pools' logs, and whether they agree with the records.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::mend::Mend;
use super::records::Members;
use super::{Checker, Finding, FindingKind, Severity};
use crate::credential::{CredentialId, Metadata, PoolKey};
use crate::vault::VaultError;
use crate::vault::disk::{self, ops};
use crate::vault::file::lock::LockFile;
use crate::vault::file::log;
use crate::vault::file::name::pool_file;
use crate::vault::file::opening::POOLS;
use crate::vault::file::pool::Pool;
use crate::vault::file::records::Records;

/// How often to try a pool's lock, with a millisecond between the tries.
const ATTEMPTS: usize = 200;

impl Checker<'_> {
    /// Looks at every pool that has a record or a log.
    pub(super) fn pools(&mut self, records: &Records, members: Members) {
        let directory = self.root.join(POOLS);
        let mut pools: BTreeMap<PoolKey, HashMap<CredentialId, Metadata>> = members;
        let known: HashMap<String, PoolKey> =
            pools.keys().map(|pool| (pool_file(pool), pool.clone())).collect();
        for entry in disk::entries(&directory).into_iter().flatten() {
            let name = entry.file_name();
            let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".log")) else { continue };
            self.report.pools += 1;
            if known.contains_key(stem) {
                continue;
            }
            // A pool whose credentials were all removed.
            match log::pool_of(&entry.path()) {
                Ok(Some(pool)) if pool_file(&pool) == stem => {
                    pools.entry(pool).or_default();
                }
                Ok(None) => {}
                Ok(Some(pool)) => {
                    let reason = format!("it is the log of the pool {pool}; move it away");
                    let error = disk::damaged(&entry.path(), reason);
                    self.damaged(FindingKind::Log, &entry.path(), error);
                }
                Err(error) => self.damaged(FindingKind::Log, &entry.path(), error),
            }
        }
        for (pool, members) in pools {
            self.pool(&directory, &pool, &members, records);
        }
    }

    fn pool(
        &mut self,
        directory: &Path,
        key: &PoolKey,
        members: &HashMap<CredentialId, Metadata>,
        records: &Records,
    ) {
        // An escaped name has no dot.
        let path = directory.join(pool_file(key)).with_extension("log");
        let pool = match read(key, &path) {
            Ok(pool) => pool,
            Err(error) => return self.damaged(FindingKind::Log, &path, error),
        };
        if let Some(damage) = pool.damage() {
            let finding = Finding {
                severity: Severity::Warning,
                ..Finding::damage(FindingKind::Log, &path, VaultError::Damaged(damage))
            };
            match () {
                () if pool.has_bad_lines() => self.found_with(finding, Mend::Compact(key.clone())),
                () if pool.is_foreign() => self.found_with(finding, Mend::Log(key.clone())),
                () => self.found(finding),
            }
        }
        if !self.is_still {
            return;
        }
        if !members.is_empty() && is_empty(&path) {
            let what = format!(
                "it is empty: nothing tells the order, tiers, pauses and cooldowns of the accounts of {key}"
            );
            let finding = Finding::new(FindingKind::Log, Severity::Warning, &path, what);
            let finding = finding
                .way_out("they begin again when the pool is loaded: pause again what must not be used");
            return self.found_with(finding, Mend::Log(key.clone()));
        }
        let mut unnamed = 0;
        for metadata in members.values() {
            if pool.label(metadata.id) != Some(&metadata.label) {
                unnamed += 1;
            }
        }
        if unnamed > 0 && !pool.is_newer() {
            let what =
                format!("{unnamed} records of the pool {key} are not named in it by their labels");
            let finding = Finding::new(FindingKind::Unnamed, Severity::Warning, &path, what);
            let finding = finding.way_out("they are when the pool is loaded");
            self.found_with(finding, Mend::Log(key.clone()));
        }
        for id in &pool.standings().order {
            if members.contains_key(id) {
                continue;
            }
            match records.exists(*id) {
                Ok(false) => {
                    let what = format!("it names the record {id}, which is missing");
                    let kind = FindingKind::MissingRecord;
                    let finding = Finding::new(kind, Severity::Warning, &path, what);
                    let finding = finding.way_out("its name goes when the pool is loaded");
                    self.found_with(finding, Mend::Log(key.clone()));
                }
                // It cannot be read, which was reported; or it says that it belongs to another pool.
                _ => self.of_other_pool(*id, key, records),
            }
        }
    }

    fn of_other_pool(&mut self, id: CredentialId, key: &PoolKey, records: &Records) {
        let Ok(record) = records.get(id) else { return };
        if record.metadata.pool == *key {
            return;
        }
        let what = format!("it says that it is of the pool {}, and {key} has it", record.metadata.pool);
        let finding = Finding::new(FindingKind::Record, Severity::Error, &records.path(id), what);
        let way_out =
            "it was changed: restore it from a backup, or remove the credential and sign in again";
        self.found(finding.way_out(way_out).of(id).removable());
    }
}

/// Returns whether there is a log with nothing in it: what it said is gone, or its writer has died at once.
fn is_empty(path: &Path) -> bool {
    ops::metadata(path).is_ok_and(|log| log.is_file() && log.len() == 0)
}

/// Reads a pool's log. If something in it is damaged, reads it once more while nobody appends to it: the damage may be
/// a line that was just being written.
fn read(key: &PoolKey, path: &Path) -> Result<Pool, VaultError> {
    let read = || {
        let mut pool = Pool::new(key.clone(), path.to_owned());
        pool.refresh().map(|()| pool)
    };
    let pool = read()?;
    let lock_path = path.with_extension("lock");
    let is_well = pool.damage().is_none() && !is_empty(path);
    if is_well || !ops::metadata(&lock_path).is_ok_and(|lock| lock.is_file()) {
        return Ok(pool);
    }
    let lock = LockFile::new(lock_path);
    for _ in 0..ATTEMPTS {
        if let Ok(_held) = lock.take_to_read() {
            return read();
        }
    }
    read()
}

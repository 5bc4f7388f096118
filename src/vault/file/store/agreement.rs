//! Keeps a pool's log in agreement with its records, which have the last word: a killed process or a power cut may
//! have left the two apart.

use std::collections::HashSet;

use super::{Store, name_kinds, warn_of};
use crate::credential::{CredentialId, PoolKey, Record};
use crate::printable::Shown;
use crate::vault::file::busy::Stopped;
use crate::vault::file::log::Entry;
use crate::vault::file::pool::Pool;
use crate::vault::file::record;
use crate::vault::seal::Sealed;
use crate::vault::{Damage, VaultError};

impl Store {
    /// Makes the log name every credential of the pool by its label, and no removed one: a killed process may have left
    /// it otherwise.
    pub(super) fn mend(
        &self,
        pool: &mut Pool,
        credentials: &[Record<Sealed>],
    ) -> Result<(), VaultError> {
        let entries = self.missing_in(pool, credentials)?;
        for entry in &entries {
            // Whoever removes an account tells the log.
            if let Entry::Removed(id) = entry {
                let record = self.records.path(*id).display().to_string();
                let label = pool.label(*id).map(|label| format!(" of {label:?}")).unwrap_or_default();
                tracing::warn!(
                    path = %Shown(&record),
                    "the record{label} is gone, and so the account is left out from now on; if you have a backup, restore it"
                );
            }
        }
        if !entries.is_empty() {
            let appended = pool.append(entries);
            pool.is_reconciled = appended.is_ok();
            warn_of(appended, "which credentials there are");
        } else {
            pool.is_reconciled = true;
        }
        Ok(())
    }

    /// Makes the pool's log agree with the records. The caller must hold the vault's lock.
    pub(in crate::vault::file) fn mend_log(&self, key: &PoolKey) -> Result<(), Stopped> {
        let records = self.records_of(key)?;
        let files = self.pool(key);
        let (mut pool, _held) = files.locked()?;
        let entries = self.missing_in(&pool, &records)?;
        if !entries.is_empty() {
            pool.append(entries)?;
        }
        Ok(())
    }

    /// Makes the log name every credential of the pool by its label, once, before labels are compared. The records
    /// decide, since a killed process or a power cut may have left another label in the log.
    pub(super) fn reconcile(&self, pool: &mut Pool, key: &PoolKey) -> Result<(), VaultError> {
        if pool.is_reconciled {
            return Ok(());
        }
        let entries = renamed(pool, &self.records_of(key)?);
        if !entries.is_empty() {
            pool.append(entries)?;
        }
        pool.is_reconciled = true;
        Ok(())
    }

    /// Returns the entries after which the log names every credential of the pool by its label, and no removed one.
    fn missing_in(&self, pool: &Pool, credentials: &[Record<Sealed>]) -> Result<Vec<Entry>, VaultError> {
        let present: HashSet<_> = credentials.iter().map(|record| record.metadata.id).collect();
        let mut entries = Vec::new();
        for id in &pool.standings().order {
            // A damaged record may come back, so its place is kept.
            if !present.contains(id) && !self.records.exists(*id)? {
                entries.push(Entry::Removed(*id));
            }
        }
        entries.extend(renamed(pool, credentials));
        Ok(entries)
    }

    /// Reads a record of this pool. If the pool's log names the credential and the record says that it is of another
    /// pool, the record is damaged: its seal binds the pool.
    pub(super) fn get_of(&self, key: &PoolKey, id: CredentialId) -> Result<Record<Sealed>, VaultError> {
        let record = self.records.get(id)?;
        let other = &record.metadata.pool;
        if other == key {
            return Ok(record);
        }
        let files = self.pool(key);
        let mut pool = files.pool();
        pool.refresh()?;
        if !pool.is_member(id) {
            return Err(VaultError::NotFound(id));
        }
        let reason = format!(
            "it does not open as a record of the pool {key}, which has it, since it says that it is of {other}: it was \
             changed; restore the record from a backup, or remove the credential and sign in again"
        );
        let damage = Damage::new(self.records.path(id).display().to_string(), reason);
        Err(VaultError::Damaged(damage.removable()))
    }

    /// Checks that there is a record, and that it is not another pool's. A damaged one may be this pool's. A record that
    /// was read before is only looked for.
    pub(super) fn look_for(&self, key: &PoolKey, id: CredentialId) -> Result<(), VaultError> {
        if self.records.owner(id).is_some_and(|owner| owner == *key) {
            return if self.records.exists(id)? { Ok(()) } else { Err(self.records.not_found(id)) };
        }
        match self.get_of(key, id) {
            Ok(_) => self.records.remember(id, key),
            Err(VaultError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Returns the pool's records, without damaged ones.
    fn records_of(&self, key: &PoolKey) -> Result<Vec<Record<Sealed>>, VaultError> {
        let ids = self.records.candidates(self.records.ids()?.0, key);
        let mut records = self.records.read(&ids, &mut Vec::new());
        records.retain(|record| record.metadata.pool == *key);
        Ok(records)
    }

    /// Names the members whose records say that they belong to another pool: an edited record must not just disappear
    /// from here.
    pub(super) fn name_missing(
        &self,
        pool: &Pool,
        key: &PoolKey,
        credentials: &[Record<Sealed>],
        damaged: &mut Vec<Damage>,
    ) {
        // A record that cannot be read may belong to another pool.
        for damage in damaged.iter_mut() {
            damage.id = damage.id.filter(|id| pool.is_member(*id));
        }
        let present: HashSet<_> = credentials.iter().map(|record| record.metadata.id).collect();
        for id in pool.standings().order.iter().filter(|id| !present.contains(*id)) {
            let path = self.records.path(*id);
            let record = path.display().to_string();
            if damaged.iter().any(|damage| damage.record == record) {
                continue;
            }
            match record::read(&path, *id) {
                Ok(Some(Record { metadata, .. })) if metadata.pool != *key => {
                    let reason = format!(
                        "the pool {key} has it, but it says that it is of {}: it was changed; restore it \
                         from a backup, or remove the credential and sign in again",
                        metadata.pool
                    );
                    let damage = Damage::new(record, reason).removable();
                    damaged.push(damage.of(*id, Some(metadata.kind)));
                }
                Ok(_) => {}
                Err(error) => damaged.push(record::damage(&path, *id, error)),
            }
        }
        name_kinds(pool, damaged);
    }

    /// Returns whether a credential that the log does not name belongs to the pool all the same: a power cut may have
    /// taken the line that named it.
    pub(super) fn admit(&self, id: CredentialId, key: &PoolKey, entries: &mut Vec<Entry>) -> bool {
        let record = record::read(&self.records.path(id), id).ok().flatten();
        let Some(record) = record.filter(|record| record.metadata.pool == *key) else { return false };
        entries.push(Entry::member(&record.metadata));
        true
    }
}

/// Returns the entries after which the log names these credentials of its pool by their labels and kinds, the oldest
/// first.
fn renamed(pool: &Pool, records: &[Record<Sealed>]) -> Vec<Entry> {
    let members = records.iter().map(|record| &record.metadata);
    let mut unknown: Vec<_> = members.filter(|metadata| !pool.names(metadata)).collect();
    unknown.sort_by_key(|metadata| (metadata.created_at, metadata.id));
    unknown.into_iter().map(Entry::member).collect()
}

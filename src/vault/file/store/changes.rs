//! Changes of credentials and of their pools.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Store, lock, warn_of};
use crate::credential::{CredentialId, Generation, Metadata, PoolKey, Record};
use crate::standing::Outcome;
use crate::vault::disk::{self, ops};
use crate::vault::file::busy::Stopped;
use crate::vault::file::log::Entry;
use crate::vault::file::pool::Pool;
use crate::vault::file::{begun, record};
use crate::vault::seal::{OTHER_FORMAT, Sealed};
use crate::vault::{BatchId, Replaced, Revision, VaultError, check_name, check_names, free_label, now};

/// A new secret, and what changes with it.
pub(super) struct New<'a> {
    pub(super) secret: &'a Sealed,
    pub(super) attributes: Option<&'a BTreeMap<String, String>>,
    pub(super) generation: Generation,
}

impl Store {
    pub(super) fn put(&self, record: &Record<Sealed>) -> Result<Metadata, Stopped> {
        check_names(&record.metadata)?;
        let Metadata { id, pool: key, label, kind, .. } = &record.metadata;
        let _vault = self.lock.take()?;
        if self.records.exists(*id)? {
            return Err(VaultError::Exists(*id).into());
        }
        self.keys_to_seal()?.count(record.secret.key_id())?;
        let files = self.pool(key);
        let label = {
            let (mut pool, _held) = files.locked()?;
            self.reconcile(&mut pool, key)?;
            let label = free_label(label, |label| self.is_taken(&pool, label, *id));
            // The log comes first. A credential that the log names but that does not exist is forgotten; one that
            // exists but is not in the log would have lost its place.
            pool.append([Entry::Member { id: *id, label: label.clone(), kind: Some(*kind) }])?;
            label
        };
        let record = Record {
            metadata: Metadata { label, ..record.metadata.clone() },
            secret: record.secret.clone(),
        };
        let path = self.records.path(*id);
        if let Err(error) = record::write(&path, &record) {
            let _ = ops::remove(&path);
            if let Ok((mut pool, _held)) = files.locked() {
                warn_of(pool.append([Entry::Removed(*id)]), "that it was not");
            }
            return Err(error.into());
        }
        self.records.remember(*id, key);
        Ok(record.metadata)
    }

    /// Whether another credential of the pool has this label.
    fn is_taken(&self, pool: &Pool, label: &str, except: CredentialId) -> bool {
        // A credential that a killed process has named but not stored has no label.
        pool.with_label(label, except).any(|id| self.records.exists(id).unwrap_or(true))
    }

    pub(super) fn relabel(
        &self,
        key: &PoolKey,
        id: CredentialId,
        label: &Arc<str>,
    ) -> Result<Metadata, Stopped> {
        check_name("label", label)?;
        let _vault = self.lock.take()?;
        let mut record = self.get_of(key, id)?;
        if !record.secret.is_known() {
            // Writing it again would lose the fields that this version does not know.
            return Err(disk::damaged(&self.records.path(id), OTHER_FORMAT).into());
        }
        let files = self.pool(key);
        {
            let (mut pool, _held) = files.locked()?;
            self.reconcile(&mut pool, key)?;
            if self.is_taken(&pool, label, id) {
                return Err(VaultError::LabelTaken(label.clone()).into());
            }
            pool.append([Entry::Member { id, label: label.clone(), kind: Some(record.metadata.kind) }])?;
        }
        record.metadata.label = label.clone();
        if let Err(error) = record::write(&self.records.path(id), &record) {
            // The record may have the label all the same: read the records before labels are compared again.
            files.pool().is_reconciled = false;
            return Err(error.into());
        }
        Ok(record.metadata)
    }

    pub(super) fn move_to(&self, key: &PoolKey, id: CredentialId, place: usize) -> Result<(), Stopped> {
        let _vault = self.lock.take()?;
        self.get_of(key, id)?;
        let files = self.pool(key);
        let (mut pool, _held) = files.locked()?;
        self.reconcile(&mut pool, key)?;
        pool.append([Entry::Moved { id, place }])?;
        Ok(())
    }

    pub(super) fn remove(&self, key: &PoolKey, id: CredentialId) -> Result<(), Stopped> {
        let _vault = self.lock.take()?;
        let path = self.records.path(id);
        let owner = match self.get_of(key, id) {
            Ok(record) => Some(record.metadata.pool),
            // Removing it is the way out, whatever pool it is of; the pool forgets it at the next load.
            Err(VaultError::Damaged(_)) => self.records.owner(id),
            Err(error) => return Err(error.into()),
        };
        let touched = match &owner {
            Some(owner) => self.touch(owner, id)?,
            None => Ok(()),
        };
        ops::remove(&path).map_err(disk::failed("remove", &path))?;
        warn_of(touched, "a new revision");
        disk::sync_names(&path)?;
        // Without the record nothing reads the note.
        let _ = ops::remove(&self.begun_path(id));
        self.records.forget(id);
        if let Some(owner) = owner {
            // If this fails, the pool forgets the credential at the next load.
            if let Ok((mut pool, _held)) = self.pool(&owner).locked() {
                warn_of(pool.append([Entry::Removed(id)]), "that it is gone");
            }
        }
        Ok(())
    }

    /// Makes a new revision of the pool before one of its records changes. If it were made after the change, a process
    /// that dies in between would leave a change that nobody sees. If this fails, the record is changed all the same,
    /// and a warning says so.
    fn touch(&self, key: &PoolKey, id: CredentialId) -> Result<Result<(), VaultError>, Stopped> {
        let files = self.pool(key);
        match files.locked() {
            Ok((mut pool, _held)) => Ok(pool.append([Entry::Touched(id)])),
            Err(Stopped::Failed(error)) => Ok(Err(error)),
            Err(busy) => Err(busy),
        }
    }

    /// Stores a new secret if the stored one has the `expected` generation. If the new one has that generation too, it is the
    /// same secret, resealed.
    pub(super) fn swap(
        &self,
        key: &PoolKey,
        id: CredentialId,
        expected: Generation,
        new: New<'_>,
    ) -> Result<Replaced<Sealed>, Stopped> {
        let _vault = self.lock.take()?;
        let mut record = self.get_of(key, id)?;
        if record.metadata.generation != expected {
            return Ok(Replaced::Conflict(record));
        }
        self.keys_to_seal()?.count(new.secret.key_id())?;
        let mut touched = Ok(());
        if new.generation != expected {
            touched = self.touch(key, id)?;
            record.metadata.generation = new.generation;
            record.metadata.updated_at = now();
        }
        if let Some(attributes) = new.attributes {
            record.metadata.attributes = attributes.clone();
        }
        record.secret = new.secret.clone();
        record::write(&self.records.path(id), &record)?;
        warn_of(touched, "a new revision");
        Ok(Replaced::Swapped(new.generation))
    }

    pub(super) fn record(
        &self,
        key: &PoolKey,
        outcomes: &[Outcome],
        batch: BatchId,
    ) -> Result<Revision, Stopped> {
        let files = self.pool(key);
        let (mut pool, _held) = files.locked()?;
        if lock(&files.batches).contain(batch) {
            return Ok(pool.revision());
        }
        let mut known: HashMap<CredentialId, bool> = HashMap::new();
        let mut entries = Vec::new();
        let mut kept = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            let id = outcome.id;
            let is_here = match known.get(&id) {
                Some(is_here) => *is_here,
                None => {
                    let is_here = match pool.is_member(id) {
                        true => self.records.exists(id)?,
                        false => self.admit(id, key, &mut entries),
                    };
                    known.insert(id, is_here);
                    is_here
                }
            };
            if is_here {
                kept.push(outcome.clone());
            }
        }
        if !kept.is_empty() {
            let refused =
                kept.iter().filter_map(|outcome| Some((outcome.id, outcome.change.refuses()?)));
            let refused: Vec<_> = refused.collect();
            entries.push(Entry::Outcomes(kept));
            pool.append(entries)?;
            for (id, generation) in refused {
                begun::refused(&self.begun_path(id), generation);
            }
        }
        lock(&files.batches).insert(batch);
        Ok(pool.revision())
    }
}

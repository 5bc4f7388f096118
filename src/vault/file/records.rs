//! The records' files: which there are, which pool each belongs to, and how to read them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{record, shares};
use crate::credential::{CredentialId, PoolKey, Record};
use crate::vault::disk::{self, ops};
use crate::vault::key::KeyId;
use crate::vault::seal::{Sealed, VaultId};
use crate::vault::{Damage, VaultError};

/// The directory of the records, and what this process knows of them.
pub(super) struct Records {
    directory: PathBuf,
    /// The pool of each record that was read. It never changes.
    owners: Mutex<HashMap<CredentialId, PoolKey>>,
}

impl Records {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, owners: Mutex::default() }
    }

    pub(super) fn path(&self, id: CredentialId) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<CredentialId, PoolKey>> {
        // A map is whole between any two statements.
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the pool of a record that was read before.
    pub(super) fn owner(&self, id: CredentialId) -> Option<PoolKey> {
        self.owners().get(&id).cloned()
    }

    pub(super) fn remember(&self, id: CredentialId, owner: &PoolKey) {
        self.owners().insert(id, owner.clone());
    }

    pub(super) fn forget(&self, id: CredentialId) {
        self.owners().remove(&id);
    }

    pub(super) fn get(&self, id: CredentialId) -> Result<Record<Sealed>, VaultError> {
        record::read(&self.path(id), id)?.ok_or_else(|| self.not_found(id))
    }

    /// Returns the error for a missing record: the whole vault may be gone, or only this record.
    pub(super) fn not_found(&self, id: CredentialId) -> VaultError {
        let directory = &self.directory;
        match directory.metadata() {
            Ok(found) if found.is_dir() => VaultError::NotFound(id),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                disk::failed("look for", directory)(error)
            }
            _ => VaultError::DirectoryGone(directory.clone()),
        }
    }

    pub(super) fn exists(&self, id: CredentialId) -> Result<bool, VaultError> {
        let path = self.path(id);
        match ops::metadata(&path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(disk::failed("look for", &path)(error)),
        }
    }

    /// Checks that a record of this credential could be written, even if it is somewhat longer than the current one.
    pub(super) fn probe(&self, id: CredentialId) -> Result<(), VaultError> {
        const MORE: usize = 4096;
        let path = self.path(id);
        let present = ops::metadata(&path).map_or(0, |metadata| metadata.len() as usize);
        disk::Temporary::probe(&path, present + MORE)
    }

    /// Returns the ids of all records, and the files among them that are not records.
    pub(super) fn ids(&self) -> Result<(Vec<CredentialId>, Vec<Damage>), VaultError> {
        let (mut ids, mut strays) = (Vec::new(), Vec::new());
        for entry in disk::entries(&self.directory)? {
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            match name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok()) {
                Some(id) => ids.push(id),
                None => strays.push(Damage::new(
                    entry.path().display().to_string(),
                    "no file of this vault; move it away",
                )),
            }
        }
        Ok((ids, strays))
    }

    /// Reads these records, on several threads if there are many, and remembers their pools. A record that is gone
    /// meanwhile is left out.
    pub(super) fn read(&self, ids: &[CredentialId], damaged: &mut Vec<Damage>) -> Vec<Record<Sealed>> {
        let mut records = Vec::with_capacity(ids.len());
        for (some, damages) in shares::work(ids, |ids| self.read_some(ids)) {
            records.extend(some);
            damaged.extend(damages);
        }
        let mut owners = self.owners();
        for Record { metadata, .. } in &records {
            owners.entry(metadata.id).or_insert_with(|| metadata.pool.clone());
        }
        records
    }

    fn read_some(&self, ids: &[CredentialId]) -> (Vec<Record<Sealed>>, Vec<Damage>) {
        let (mut records, mut damaged) = (Vec::with_capacity(ids.len()), Vec::new());
        let mut pools: HashSet<PoolKey> = HashSet::new();
        for id in ids {
            let path = self.path(*id);
            match record::read(&path, *id) {
                Ok(record) => {
                    records.extend(record.map(|Record { mut metadata, secret }| {
                        // All records of a pool have one copy of its names.
                        match pools.get(&metadata.pool) {
                            Some(known) => metadata.pool = known.clone(),
                            None => _ = pools.insert(metadata.pool.clone()),
                        }
                        Record { metadata, secret }
                    }));
                }
                Err(error) => damaged.push(record::damage(&path, *id, error)),
            }
        }
        (records, damaged)
    }

    /// Returns those of these credentials that may belong to the pool.
    pub(super) fn candidates(&self, ids: Vec<CredentialId>, key: &PoolKey) -> Vec<CredentialId> {
        let owners = self.owners();
        ids.into_iter().filter(|id| owners.get(id).is_none_or(|owner| owner == key)).collect()
    }

    /// Returns how the records are sealed, except for damaged ones.
    pub(super) fn seals(&self) -> Result<Vec<Seal>, VaultError> {
        let mut seals = Vec::new();
        for id in self.ids()?.0 {
            match record::read(&self.path(id), id) {
                Ok(record) => seals.extend(record.map(|record| Seal::of(&record.secret))),
                Err(VaultError::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(seals)
    }
}

/// How a record is sealed, according to itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seal {
    pub(super) key: KeyId,
    pub(super) vault: Option<VaultId>,
}

impl Seal {
    fn of(sealed: &Sealed) -> Self {
        Self { key: sealed.key_id(), vault: sealed.vault_id() }
    }
}

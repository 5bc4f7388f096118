//! What the requests do to the files, each under the vault's lock. Every method here blocks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, DirEntry, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::Held;
use super::{lock, name, pool, record};
use crate::credential::{CredentialId, Generation, Metadata, PoolKey, Record};
use crate::standing::{Outcome, Standings};
use crate::vault::key::KeyId;
use crate::vault::seal::{Sealed, wrong_key};
use crate::vault::turns::Turn;
use crate::vault::{
    Damage, Listing, RefreshLease, Replaced, Revision, StoredPool, VaultError, VaultRequest,
    VaultResponse, check_name, check_names, disk, free_label, now,
};

const RECORDS: &str = "records";
const POOLS: &str = "pools";
const LEASES: &str = "leases";
const LOCK: &str = "lock";

pub(super) struct Store {
    root: PathBuf,
}

/// Every record that can be read, and the others.
struct Records {
    readable: Vec<Record<Sealed>>,
    damaged: Vec<Damage>,
}

impl Store {
    /// Opens or makes the vault in `root`, for the key of this id.
    pub(super) fn open(root: PathBuf, key: KeyId) -> Result<Self, VaultError> {
        let store = Self { root };
        if !disk::make_dir(&store.root)? {
            store.narrow_root()?;
        }
        for directory in [RECORDS, POOLS, LEASES] {
            let path = store.root.join(directory);
            disk::make_dir(&path)?;
            narrow(&path, 0o700)?;
        }
        let path = store.root.join(LOCK);
        let _lock = lock::take_and_check(&path)?;
        narrow(&path, 0o600)?;
        for directory in [RECORDS, POOLS, LEASES] {
            for entry in entries(&store.root.join(directory))? {
                let path = entry.path();
                if is_temporary(&entry) {
                    // No one else writes now: whoever began it is gone.
                    fs::remove_file(&path).map_err(disk::failed("remove", &path))?;
                } else if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                    narrow(&path, 0o600)?;
                }
            }
        }
        store.check_key(key)?;
        Ok(store)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn record_path(&self, id: CredentialId) -> PathBuf {
        self.root.join(RECORDS).join(format!("{id}.json"))
    }

    fn pool_path(&self, pool: &PoolKey) -> PathBuf {
        self.root.join(POOLS).join(name::pool_file(pool))
    }

    pub(super) fn revision(&self, pool: &PoolKey) -> Result<Revision, VaultError> {
        pool::revision(&self.pool_path(pool))
    }

    /// Waits until no other process holds the credential's lease. `turn` is this process's part of it.
    pub(super) fn lease(&self, id: CredentialId, turn: Turn<Held>) -> Result<RefreshLease, VaultError> {
        if !self.exists(id)? {
            return Err(VaultError::NotFound(id));
        }
        let lock = lock::take(&self.root.join(LEASES).join(format!("{id}.lock")))?;
        // In this order: the file is unlocked before the next one here takes its turn.
        Ok(RefreshLease::new((lock, turn)))
    }

    pub(super) fn answer(
        &self,
        request: VaultRequest<Sealed>,
    ) -> Result<VaultResponse<Sealed>, VaultError> {
        let _lock: File = lock::take(&self.root.join(LOCK))?;
        Ok(match request {
            VaultRequest::Load(pool) => VaultResponse::Pool(self.load(&pool)?),
            VaultRequest::List => VaultResponse::List(self.list()?),
            VaultRequest::Put(record) => VaultResponse::Stored(self.put(record)?),
            VaultRequest::Relabel { id, label } => VaultResponse::Stored(self.relabel(id, label)?),
            VaultRequest::Move { id, place } => {
                self.move_to(id, place)?;
                VaultResponse::Done
            }
            VaultRequest::Remove { id } => {
                self.remove(id)?;
                VaultResponse::Done
            }
            VaultRequest::Get { id } => VaultResponse::Credential(self.get(id)?),
            VaultRequest::ReplaceSecret { id, expected, secret } => {
                VaultResponse::Replaced(self.replace(id, expected, secret)?)
            }
            VaultRequest::Record { pool, outcomes } => {
                VaultResponse::Revision(self.record(&pool, &outcomes)?)
            }
            VaultRequest::Revision(pool) => VaultResponse::Revision(self.revision(&pool)?),
            VaultRequest::LeaseRefresh { .. } => return Err(VaultError::UnexpectedResponse),
        })
    }

    fn get(&self, id: CredentialId) -> Result<Record<Sealed>, VaultError> {
        record::read(&self.record_path(id), id)?.ok_or(VaultError::NotFound(id))
    }

    fn exists(&self, id: CredentialId) -> Result<bool, VaultError> {
        let path = self.record_path(id);
        path.try_exists().map_err(disk::failed("look for", &path))
    }

    fn records(&self) -> Result<Records, VaultError> {
        let mut records = Records { readable: Vec::new(), damaged: Vec::new() };
        for entry in entries(&self.root.join(RECORDS))? {
            let (path, name) = (entry.path(), entry.file_name());
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let id = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok());
            let read = match id {
                Some(id) => record::read(&path, id),
                None => Err(record::damaged(&path, "no file of this vault; move it away")),
            };
            match read {
                Ok(record) => records.readable.extend(record),
                Err(VaultError::Damaged(damage)) => records.damaged.push(damage),
                Err(error) => records.damaged.push(unreadable(&path, &error)),
            }
        }
        Ok(records)
    }

    fn load(&self, key: &PoolKey) -> Result<StoredPool<Sealed>, VaultError> {
        let Records { mut readable, damaged } = self.records()?;
        readable.retain(|record| record.metadata.pool == *key);
        let path = self.pool_path(key);
        let mut standings = pool::read(&path, key)?;
        let revision =
            if self.complete(&mut standings, readable.iter().map(|record| &record.metadata))? {
                pool::write(&path, key, &standings)?
            } else {
                pool::revision(&path)?
            };
        sort(&mut readable, &standings, |record| &record.metadata);
        Ok(StoredPool { credentials: readable, standings, revision, damaged })
    }

    /// Makes the order name every credential of the pool, and no credential that is gone; answers whether
    /// that changed anything. A killed process may have left it otherwise.
    fn complete<'a>(
        &self,
        standings: &mut Standings,
        members: impl Iterator<Item = &'a Metadata>,
    ) -> Result<bool, VaultError> {
        let known: HashSet<_> = standings.order.iter().copied().collect();
        let mut members: Vec<_> = members.collect();
        let present: HashSet<_> = members.iter().map(|metadata| metadata.id).collect();
        let mut changed = false;
        let named: Vec<_> = known.iter().chain(standings.credentials.keys()).copied().collect();
        for id in named {
            // A damaged record may come back, so its place is kept.
            if !present.contains(&id) && !self.exists(id)? {
                standings.remove(id);
                changed = true;
            }
        }
        members.retain(|metadata| !known.contains(&metadata.id));
        members.sort_by_key(|metadata| (metadata.created_at, metadata.id));
        changed |= !members.is_empty();
        standings.order.extend(members.into_iter().map(|metadata| metadata.id));
        Ok(changed)
    }

    fn list(&self) -> Result<Listing, VaultError> {
        let Records { readable, mut damaged } = self.records()?;
        let mut pools: BTreeMap<PoolKey, Vec<Metadata>> = BTreeMap::new();
        for Record { metadata, .. } in readable {
            pools.entry(metadata.pool.clone()).or_default().push(metadata);
        }
        let mut credentials = Vec::new();
        for (key, mut members) in pools {
            let path = self.pool_path(&key);
            let standings = pool::read(&path, &key).unwrap_or_else(|error| {
                damaged.push(match error {
                    VaultError::Damaged(damage) => damage,
                    error => unreadable(&path, &error),
                });
                Standings::default()
            });
            sort(&mut members, &standings, |metadata| metadata);
            credentials.append(&mut members);
        }
        Ok(Listing { credentials, damaged })
    }

    /// The labels in the pool, but for this credential's own.
    fn labels(&self, pool: &PoolKey, but: CredentialId) -> Result<HashSet<Arc<str>>, VaultError> {
        let others = self.records()?.readable.into_iter().map(|record| record.metadata);
        let others = others.filter(|other| other.pool == *pool && other.id != but);
        Ok(others.map(|other| other.label).collect())
    }

    fn put(&self, mut record: Record<Sealed>) -> Result<Metadata, VaultError> {
        check_names(&record.metadata)?;
        let Metadata { id, pool: key, label, .. } = &record.metadata;
        if self.exists(*id)? {
            return Err(VaultError::Exists(*id));
        }
        let path = self.pool_path(key);
        let mut standings = pool::read(&path, key)?;
        let labels = self.labels(key, *id)?;
        record.metadata.label = free_label(label, |label| labels.contains(label));
        record::write(&self.record_path(record.metadata.id), &record)?;
        let metadata = record.metadata;
        standings.move_to(metadata.id, usize::MAX);
        // The credential is stored, and one that the order does not name comes last anyway.
        warn_of(pool::write(&path, &metadata.pool, &standings), "the order");
        Ok(metadata)
    }

    fn relabel(&self, id: CredentialId, label: Arc<str>) -> Result<Metadata, VaultError> {
        check_name("label", &label)?;
        let mut record = self.get(id)?;
        if self.labels(&record.metadata.pool, id)?.contains(&label) {
            return Err(VaultError::LabelTaken(label));
        }
        record.metadata.label = label;
        record::write(&self.record_path(id), &record)?;
        let metadata = record.metadata;
        warn_of(pool::touch(&self.pool_path(&metadata.pool), &metadata.pool), "a new revision");
        Ok(metadata)
    }

    fn move_to(&self, id: CredentialId, place: usize) -> Result<(), VaultError> {
        let key = self.get(id)?.metadata.pool;
        let path = self.pool_path(&key);
        let mut standings = pool::read(&path, &key)?;
        let records = self.records()?.readable;
        let members = records.iter().map(|record| &record.metadata).filter(|other| other.pool == key);
        self.complete(&mut standings, members)?;
        standings.move_to(id, place);
        pool::write(&path, &key, &standings)?;
        Ok(())
    }

    fn remove(&self, id: CredentialId) -> Result<(), VaultError> {
        let path = self.record_path(id);
        let key = match record::read(&path, id) {
            Ok(record) => Some(record.ok_or(VaultError::NotFound(id))?.metadata.pool),
            // To remove it is the way out; its pool forgets it when it is loaded next.
            Err(VaultError::Damaged(_)) => None,
            Err(error) => return Err(error),
        };
        let pool = match key {
            Some(key) => {
                let path = self.pool_path(&key);
                let standings = pool::read(&path, &key)?;
                Some((path, key, standings))
            }
            None => None,
        };
        fs::remove_file(&path).map_err(disk::failed("remove", &path))?;
        disk::sync_names(&path)?;
        if let Some((path, key, mut standings)) = pool {
            standings.remove(id);
            // The credential is gone, and a pool forgets such ones when it is loaded.
            warn_of(pool::write(&path, &key, &standings), "the order");
        }
        Ok(())
    }

    fn replace(
        &self,
        id: CredentialId,
        expected: Generation,
        secret: Sealed,
    ) -> Result<Replaced<Sealed>, VaultError> {
        let mut record = self.get(id)?;
        if record.metadata.generation != expected {
            return Ok(Replaced::Conflict(record));
        }
        record.metadata.generation = expected.next();
        record.metadata.updated_at = now();
        record.secret = secret;
        record::write(&self.record_path(id), &record)?;
        // The secret is saved: nothing that fails from here on may say otherwise.
        let key = &record.metadata.pool;
        warn_of(pool::touch(&self.pool_path(key), key), "a new revision");
        Ok(Replaced::Swapped(expected.next()))
    }

    fn record(&self, key: &PoolKey, outcomes: &[Outcome]) -> Result<Revision, VaultError> {
        let path = self.pool_path(key);
        let mut standings = pool::read(&path, key)?;
        let mut known: HashMap<CredentialId, bool> =
            standings.order.iter().map(|id| (*id, true)).collect();
        let mut changed = false;
        for outcome in outcomes {
            let is_here = match known.get(&outcome.id) {
                Some(named) => *named && self.exists(outcome.id)?,
                None => {
                    // Not in the order: a process died after it had added the record.
                    let record = record::read(&self.record_path(outcome.id), outcome.id).ok().flatten();
                    let is_here = record.is_some_and(|record| record.metadata.pool == *key);
                    known.insert(outcome.id, is_here);
                    is_here
                }
            };
            if is_here {
                standings.merge(outcome);
                changed = true;
            }
        }
        if changed { pool::write(&path, key, &standings) } else { pool::revision(&path) }
    }

    /// An error if there are records and none was sealed with this key.
    fn check_key(&self, key: KeyId) -> Result<(), VaultError> {
        let mut other = None;
        for record in self.records()?.readable {
            match record.secret.key_id() {
                id if id == key => return Ok(()),
                id => other = Some(id),
            }
        }
        other.map_or(Ok(()), |other| Err(wrong_key(other, key)))
    }

    /// Narrows the mode of a root that was there before, if nothing else than a vault is in it.
    fn narrow_root(&self) -> Result<(), VaultError> {
        let ours = |entry: &DirEntry| {
            [RECORDS, POOLS, LEASES, LOCK].iter().any(|name| *name == entry.file_name())
        };
        if entries(&self.root)?.iter().all(ours) {
            return narrow(&self.root, 0o700);
        }
        Ok(())
    }
}

/// Sorts as the order says; who is not named in it comes last, by age.
fn sort<T>(members: &mut [T], standings: &Standings, metadata: impl Fn(&T) -> &Metadata) {
    let places: HashMap<_, _> =
        standings.order.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    members.sort_by_cached_key(|member| {
        let metadata = metadata(member);
        let place = places.get(&metadata.id).copied().unwrap_or(usize::MAX);
        (place, metadata.created_at, metadata.id)
    });
}

fn entries(directory: &Path) -> Result<Vec<DirEntry>, VaultError> {
    let entries = fs::read_dir(directory).and_then(Iterator::collect);
    entries.map_err(disk::failed("read the directory", directory))
}

fn is_temporary(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.as_encoded_bytes();
    name.starts_with(b".") && name.ends_with(disk::TEMPORARY.as_bytes())
}

/// Narrows the mode of a file of ours if others may touch it.
fn narrow(path: &Path, mode: u32) -> Result<(), VaultError> {
    let metadata = fs::metadata(path).map_err(disk::failed("read the mode of", path))?;
    if disk::open_to_others(&metadata) != 0 {
        disk::set_mode(path, mode)?;
        tracing::warn!(path = %path.display(), "others could touch a part of the vault; its mode is now {mode:o}");
    }
    Ok(())
}

fn unreadable(path: &Path, error: &VaultError) -> Damage {
    let source = std::error::Error::source(error).map(|source| format!(" ({source})"));
    Damage::new(path.display().to_string(), format!("{error}{}", source.unwrap_or_default()))
}

fn warn_of<T>(result: Result<T, VaultError>, what: &str) {
    if let Err(error) = result {
        let source = std::error::Error::source(&error);
        tracing::warn!(source, "the vault saved the credential, but not {what}: {error}");
    }
}

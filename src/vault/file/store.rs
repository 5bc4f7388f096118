//! What the requests do to the files. Every method here blocks, but waits for no lock longer than a
//! millisecond: one that finds a lock held has changed nothing and says so.

mod agreement;
mod loading;
mod removed;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::busy::{Busy, Stopped};
use super::claim::Claim;
use super::identity::BOUND;
use super::keys::Keys;
use super::lock::{Held, LockFile};
use super::log::Entry;
use super::pool::Pool;
use super::records::Records;
use super::resealing::SealedAnew;
use super::{begun, name, opening, record};
use crate::credential::{CredentialId, Generation, Metadata, PoolKey, Record};
use crate::standing::Outcome;
use crate::vault::disk::{self, ops};
use crate::vault::fair_lock::FairLockGuard;
use crate::vault::key::{KeyId, Signer};
use crate::vault::seal::{OTHER_FORMAT, Rules, Sealed};
use crate::vault::{
    Begun, Damage, FailedRefresh, RefreshLease, Replaced, Revision, VaultError, VaultRequest,
    VaultResponse, check_name, check_names, free_label, now,
};

/// The vault's directory, and what this process knows of it.
///
/// Two kinds of lock are held around changes: the vault's, by whoever changes a record or makes a temporary
/// file, and a pool's, by whoever appends to its log. Who takes both takes the vault's first, and syncs no
/// file under a pool's but in a compaction, so that a cooldown rarely waits for a disk.
pub(super) struct Store {
    root: PathBuf,
    lock: LockFile,
    records: Records,
    keys: Mutex<Keys>,
    pools: Mutex<HashMap<PoolKey, Arc<PoolFiles>>>,
}

struct PoolFiles {
    lock: LockFile,
    pool: Mutex<Pool>,
}

impl PoolFiles {
    /// The pool as it was last read, to be looked at.
    fn pool(&self) -> MutexGuard<'_, Pool> {
        lock(&self.pool)
    }

    /// The pool as it is now, to be changed. Whoever holds this must not sync a file.
    fn locked(&self) -> Result<(MutexGuard<'_, Pool>, Held<'_>), Stopped> {
        let mut pool = self.pool();
        let held = self.lock.take()?;
        pool.refresh()?;
        Ok((pool, held))
    }
}

/// What replaces a secret.
struct New<'a> {
    secret: &'a Sealed,
    attributes: Option<&'a BTreeMap<String, String>>,
    generation: Generation,
}

/// Locks the file of a lease, made where it is missing.
fn lease(
    path: &Path,
    turn: FairLockGuard<Claim>,
) -> Result<RefreshLease, (Stopped, FairLockGuard<Claim>)> {
    match disk::lock::take(path) {
        // In this order: the file is unlocked before the next one here takes its turn.
        Ok(Some(file)) => Ok(RefreshLease::new((file, turn))),
        Ok(None) => Err((Busy::new(path).into(), turn)),
        Err(error) => Err((error.into(), turn)),
    }
}

/// What is behind these mutexes is whole between any two statements, so a panic has not broken it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            lock: LockFile::new(root.join(opening::LOCK)),
            records: Records::new(root.join(opening::RECORDS)),
            keys: Mutex::new(Keys::new(root.join(opening::KEYS))),
            pools: Mutex::default(),
            root,
        }
    }

    /// Opens or makes the vault, for whoever seals with the first of these keys and opens with all.
    ///
    /// One that is there can be read although nothing can be changed, on a full disk or where it is mounted read-only.
    pub(super) fn open(&self, keys: &[Signer], on_network: bool) -> Result<(), Stopped> {
        let is_there = opening::make(&self.root, on_network)?;
        let held = match is_there {
            true => self.lock.take_to_read()?,
            false => Some(self.lock.take()?),
        };
        if let Some(held) = &held {
            self.lock.check(held)?;
            opening::sweep(&self.root)?;
        }
        let damage = lock(&self.keys).open(keys, is_there, || self.records.seals())?;
        if let Some(damage) = damage {
            tracing::warn!("{damage}");
        }
        Ok(())
    }

    /// Whether something could be stored now.
    pub(super) fn check_writable(&self) -> Result<(), Stopped> {
        let _vault = self.lock.take()?;
        drop(self.keys_to_seal()?);
        self.records.probe(CredentialId::random())?;
        Ok(())
    }

    /// What counts the seals and says which vault this is, for who is about to seal.
    fn keys_to_seal(&self) -> Result<MutexGuard<'_, Keys>, VaultError> {
        let mut keys = lock(&self.keys);
        keys.settle(|| self.records.seals())?;
        Ok(keys)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The key that seals from now on and which seals are let in, by what the vault says; `None` where it says
    /// nothing.
    pub(super) fn facts(&self) -> Result<Option<(KeyId, Rules)>, VaultError> {
        // Replaced whole, so it is read without the vault's lock.
        lock(&self.keys).facts()
    }

    /// This process has this key, too.
    pub(super) fn add_key(&self, signer: &Signer) {
        lock(&self.keys).add(std::slice::from_ref(signer));
    }

    /// Gives the vault an id, if it has none, for who is about to seal. If that can't be, it stays without.
    pub(super) fn identify(&self) -> Result<(), Stopped> {
        let _vault = self.lock.take()?;
        // What could not be written when the vault was opened comes first: it may say that no seal without an id is let in.
        let mut keys = self.keys_to_seal()?;
        if let Err(error) = keys.identify(|| self.records.seals()) {
            tracing::warn!("the vault gets no id: {error}");
        }
        Ok(())
    }

    /// Trusts a key no more.
    pub(super) fn revoke(&self, key: KeyId) -> Result<(), Stopped> {
        let _vault = self.lock.take()?;
        Ok(self.keys_to_seal()?.revoke(key)?)
    }

    /// A record, as it is now.
    pub(super) fn get(&self, id: CredentialId) -> Result<Record<Sealed>, VaultError> {
        self.records.get(id)
    }

    pub(super) fn record_path(&self, id: CredentialId) -> PathBuf {
        self.records.path(id)
    }

    /// The lock file that a request waits for.
    pub(super) fn lock_path(&self, claim: &Claim) -> PathBuf {
        match claim {
            Claim::Vault => self.lock.path().to_owned(),
            Claim::Pool(pool) => self.pool_path(pool, "lock"),
            Claim::Lease(id) => self.lease_path(*id),
            Claim::Client(client) => self.client_path(client),
        }
    }

    fn lease_path(&self, id: CredentialId) -> PathBuf {
        self.root.join(opening::LEASES).join(format!("{id}.lock"))
    }

    fn client_path(&self, client: &str) -> PathBuf {
        self.root.join(opening::LEASES).join(format!("client-{}.lock", name::client_file(client)))
    }

    fn pool_path(&self, key: &PoolKey, ending: &str) -> PathBuf {
        self.root.join(opening::POOLS).join(format!("{}.{ending}", name::pool_file(key)))
    }

    fn pool(&self, key: &PoolKey) -> Arc<PoolFiles> {
        let mut pools = lock(&self.pools);
        if let Some(files) = pools.get(key) {
            return files.clone();
        }
        let files = Arc::new(PoolFiles {
            lock: LockFile::new(self.pool_path(key, "lock")),
            pool: Mutex::new(Pool::new(key.clone(), self.pool_path(key, "log"))),
        });
        pools.insert(key.clone(), files.clone());
        files
    }

    /// Which revision the pool is at: one look at its log where nothing has changed.
    pub(super) fn revision(&self, key: &PoolKey) -> Result<Revision, VaultError> {
        let files = self.pool(key);
        let mut pool = files.pool();
        pool.refresh()?;
        Ok(pool.revision())
    }

    /// Takes the credential's lease if no other process holds it. `turn` is this process's part of it.
    pub(super) fn lease(
        &self,
        id: CredentialId,
        turn: FairLockGuard<Claim>,
    ) -> Result<RefreshLease, (Stopped, FairLockGuard<Claim>)> {
        match self.records.exists(id).map_err(Stopped::from) {
            Ok(true) => {}
            Ok(false) => return Err((self.records.not_found(id).into(), turn)),
            Err(error) => return Err((error, turn)),
        }
        lease(&self.lease_path(id), turn)
    }

    /// Takes the client's lease if no other process holds it.
    pub(super) fn lease_client(
        &self,
        client: &str,
        turn: FairLockGuard<Claim>,
    ) -> Result<RefreshLease, (Stopped, FairLockGuard<Claim>)> {
        lease(&self.client_path(client), turn)
    }

    /// Notes that a refresh has begun. The refresh's lease keeps others from doing so.
    fn begin_refresh(&self, id: CredentialId, expected: Generation) -> Result<Begun<Sealed>, Stopped> {
        let _vault = self.lock.take()?;
        let record = self.records.get(id)?;
        if record.metadata.generation != expected {
            return Ok(Begun { record, unfinished: None, failed: None });
        }
        // What could not be stored is not to be asked for.
        self.keys_to_seal()?.may_seal(record.secret.key_id())?;
        self.records.probe(id)?;
        let (unfinished, failed) = begun::note(&self.begun_path(id), expected)?;
        Ok(Begun { record, unfinished, failed })
    }

    /// Notes that a refresh has failed. Its lease keeps others from doing so.
    fn refresh_failed(
        &self,
        id: CredentialId,
        expected: Generation,
        failed: &FailedRefresh,
    ) -> Result<(), Stopped> {
        let _vault = self.lock.take()?;
        if self.records.get(id)?.metadata.generation == expected {
            begun::failed(&self.begun_path(id), expected, failed)?;
        }
        Ok(())
    }

    fn begun_path(&self, id: CredentialId) -> PathBuf {
        self.root.join(opening::LEASES).join(format!("{id}.begun"))
    }

    pub(super) fn answer(
        &self,
        request: &VaultRequest<Sealed>,
    ) -> Result<VaultResponse<Sealed>, Stopped> {
        Ok(match request {
            VaultRequest::Load(pool) => VaultResponse::Pool(self.load(pool)?),
            VaultRequest::List => VaultResponse::List(self.list()?),
            VaultRequest::Put(record) => VaultResponse::Stored(self.put(record)?),
            VaultRequest::Relabel { id, label } => VaultResponse::Stored(self.relabel(*id, label)?),
            VaultRequest::Move { id, place } => {
                self.move_to(*id, *place)?;
                VaultResponse::Done
            }
            VaultRequest::Remove { id } => {
                self.remove(*id)?;
                VaultResponse::Done
            }
            VaultRequest::Get { id } => VaultResponse::Credential(self.get(*id)?),
            VaultRequest::ReplaceSecret { id, expected, secret, attributes } => {
                let new = New { secret, attributes: attributes.as_ref(), generation: expected.next() };
                VaultResponse::Replaced(self.swap(*id, *expected, new)?)
            }
            VaultRequest::Reseal { id, expected, secret } => {
                let new = New { secret, attributes: None, generation: *expected };
                VaultResponse::Replaced(self.swap(*id, *expected, new)?)
            }
            VaultRequest::Record { pool, outcomes } => {
                VaultResponse::Revision(self.record(pool, outcomes)?)
            }
            VaultRequest::Revision(pool) => VaultResponse::Revision(self.revision(pool)?),
            VaultRequest::BeginRefresh { id, expected } => {
                VaultResponse::Begun(self.begin_refresh(*id, *expected)?)
            }
            VaultRequest::RefreshFailed { id, expected, failed } => {
                self.refresh_failed(*id, *expected, failed)?;
                VaultResponse::Done
            }
            VaultRequest::LeaseRefresh { .. } | VaultRequest::LeaseClient { .. } => {
                return Err(VaultError::UnexpectedResponse.into());
            }
        })
    }

    fn put(&self, record: &Record<Sealed>) -> Result<Metadata, Stopped> {
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
            // First: a credential that is named and not there is forgotten, the reverse has lost its place.
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
    fn is_taken(&self, pool: &Pool, label: &str, but: CredentialId) -> bool {
        // One that a killed process has named but not stored has none.
        pool.with_label(label, but).any(|id| self.records.exists(id).unwrap_or(true))
    }

    fn relabel(&self, id: CredentialId, label: &Arc<str>) -> Result<Metadata, Stopped> {
        check_name("label", label)?;
        let _vault = self.lock.take()?;
        let mut record = self.records.get(id)?;
        if !record.secret.is_known() {
            // Written again, it would lose what is not known of it.
            return Err(disk::damaged(&self.records.path(id), OTHER_FORMAT).into());
        }
        let files = self.pool(&record.metadata.pool);
        {
            let (mut pool, _held) = files.locked()?;
            self.reconcile(&mut pool, &record.metadata.pool)?;
            if self.is_taken(&pool, label, id) {
                return Err(VaultError::LabelTaken(label.clone()).into());
            }
            pool.append([Entry::Member { id, label: label.clone(), kind: Some(record.metadata.kind) }])?;
        }
        record.metadata.label = label.clone();
        if let Err(error) = record::write(&self.records.path(id), &record) {
            // It may be there all the same: before labels are compared, the records are to be asked.
            files.pool().is_reconciled = false;
            return Err(error.into());
        }
        Ok(record.metadata)
    }

    fn move_to(&self, id: CredentialId, place: usize) -> Result<(), Stopped> {
        let _vault = self.lock.take()?;
        let key = self.records.get(id)?.metadata.pool;
        let files = self.pool(&key);
        let (mut pool, _held) = files.locked()?;
        self.reconcile(&mut pool, &key)?;
        pool.append([Entry::Moved { id, place }])?;
        Ok(())
    }

    fn remove(&self, id: CredentialId) -> Result<(), Stopped> {
        let _vault = self.lock.take()?;
        let path = self.records.path(id);
        let key = match record::read(&path, id) {
            Ok(Some(record)) => Some(record.metadata.pool),
            Ok(None) => return Err(self.records.not_found(id).into()),
            // To remove it is the way out; its pool forgets it when it is loaded next.
            Err(VaultError::Damaged(_)) => self.records.owner(id),
            Err(error) => return Err(error.into()),
        };
        let touched = match &key {
            Some(key) => self.touch(key, id)?,
            None => Ok(()),
        };
        ops::remove(&path).map_err(disk::failed("remove", &path))?;
        warn_of(touched, "a new revision");
        disk::sync_names(&path)?;
        // Nothing looks at it without the record.
        let _ = ops::remove(&self.begun_path(id));
        self.records.forget(id);
        if let Some(key) = key {
            // The credential is gone, and a pool forgets such ones when it is loaded.
            if let Ok((mut pool, _held)) = self.pool(&key).locked() {
                warn_of(pool.append([Entry::Removed(id)]), "that it is gone");
            }
        }
        Ok(())
    }

    /// Makes a new revision of the pool, before one of its records changes: were it made after, a process
    /// that dies in between would leave a change that nobody sees. Where that fails the record is changed all the
    /// same, if it can be, and then it is told.
    fn touch(&self, key: &PoolKey, id: CredentialId) -> Result<Result<(), VaultError>, Stopped> {
        let files = self.pool(key);
        match files.locked() {
            Ok((mut pool, _held)) => Ok(pool.append([Entry::Touched(id)])),
            Err(Stopped::Failed(error)) => Ok(Err(error)),
            Err(busy) => Err(busy),
        }
    }

    /// Stores a new secret if the stored one is of the `expected` generation; it is the same one sealed anew
    /// where its own is that, too.
    fn swap(
        &self,
        id: CredentialId,
        expected: Generation,
        new: New<'_>,
    ) -> Result<Replaced<Sealed>, Stopped> {
        let _vault = self.lock.take()?;
        let mut record = self.records.get(id)?;
        if record.metadata.generation != expected {
            return Ok(Replaced::Conflict(record));
        }
        self.keys_to_seal()?.count(new.secret.key_id())?;
        let mut touched = Ok(());
        if new.generation != expected {
            touched = self.touch(&record.metadata.pool, id)?;
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

    /// Stores secrets that were sealed anew, at once: the disk is waited for once for all of them. Answers which; not those
    /// that were replaced meanwhile.
    pub(super) fn reseal(&self, sealed: &[SealedAnew]) -> Result<Vec<CredentialId>, Stopped> {
        let _vault = self.lock.take()?;
        let (mut ids, mut files) = (Vec::new(), Vec::new());
        for SealedAnew { id, expected, secret } in sealed {
            // What can't be read any more is named by whoever asks for it next.
            let Ok(mut record) = self.records.get(*id) else { continue };
            if record.metadata.generation != *expected {
                continue;
            }
            self.keys_to_seal()?.count(secret.key_id())?;
            record.secret = secret.clone();
            let path = self.records.path(*id);
            let bytes = record::bytes(&path, &record)?;
            files.push((path, bytes));
            ids.push(*id);
        }
        disk::replace_all(&files)?;
        Ok(ids)
    }

    /// Ends the change of keys if no record needs another than this one; answers how many do.
    pub(super) fn forget_previous_keys(&self, key: KeyId) -> Result<usize, Stopped> {
        let _vault = self.lock.take()?;
        let (ids, strays) = self.records.ids()?;
        let mut damaged = strays;
        let others = damaged.len();
        let records = self.records.read(&ids, &mut damaged);
        let left = records.iter().filter(|record| record.secret.key_id() != key).count();
        let left = left + damaged.len() - others;
        if left == 0 {
            let versions = records.iter().map(|record| record.secret.version());
            self.keys_to_seal()?.forget_previous(key, versions.min().unwrap_or(BOUND))?;
        }
        Ok(left)
    }

    /// Writes the pool's log anew where lines of it are damaged; the old one is kept. Wants the vault's lock
    /// held.
    pub(super) fn compact_damaged(&self, key: &PoolKey) -> Result<(), Stopped> {
        let files = self.pool(key);
        let (mut pool, _held) = files.locked()?;
        if pool.has_bad_lines() {
            pool.compact()?;
        }
        Ok(())
    }

    /// Every record's id, in no order.
    pub(super) fn record_ids(&self) -> Result<Vec<CredentialId>, VaultError> {
        Ok(self.records.ids()?.0)
    }

    fn record(&self, key: &PoolKey, outcomes: &[Outcome]) -> Result<Revision, Stopped> {
        let files = self.pool(key);
        let (mut pool, _held) = files.locked()?;
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
        Ok(pool.revision())
    }

    /// Whether the pool's log is worth being written anew.
    pub(super) fn is_long(&self, key: &PoolKey) -> bool {
        self.pool(key).pool().is_long()
    }

    /// Writes the pool's log anew if it is long, and nobody else is at it.
    pub(super) fn compact(&self, key: &PoolKey) -> Result<(), Stopped> {
        let _vault = self.lock.take()?;
        let files = self.pool(key);
        let (mut pool, _held) = files.locked()?;
        if pool.is_long() {
            pool.compact()?;
        }
        Ok(())
    }
}

/// Gives these of the pool's records their kinds, if the log knows them and the records don't show them.
fn name_kinds(pool: &Pool, damaged: &mut [Damage]) {
    for damage in damaged {
        damage.kind = damage.kind.or_else(|| pool.kind(damage.id?));
    }
}

fn warn_of<T>(result: Result<T, VaultError>, what: &str) {
    if let Err(error) = result {
        let source = std::error::Error::source(&error);
        tracing::warn!(source, "the vault saved the credential, but not {what}: {error}");
    }
}

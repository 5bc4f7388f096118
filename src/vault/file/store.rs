//! The requests' work on the files. Every method here blocks, but waits for a lock less than a millisecond: a method that
//! finds a lock held returns [`Busy`](super::busy::Busy) and has changed nothing.

mod agreement;
mod changes;
mod granted;
mod loading;
mod refreshing;
mod removed;
pub(super) mod resealing;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::changes::New;
use super::busy::Stopped;
use super::claim::Claim;
use super::keys::Keys;
use super::lock::{Held, LockFile};
use super::pool::Pool;
use super::records::Records;
use super::{name, opening};
use crate::credential::{CredentialId, PoolKey, Record};
use crate::vault::batch::MergedBatches;
use crate::vault::key::{KeyId, Signer};
use crate::vault::seal::{Rules, Sealed};
use crate::vault::{Damage, Revision, VaultError, VaultRequest, VaultResponse};

/// The vault's directory, and what this process knows of it.
///
/// There are two kinds of lock around changes. The vault's lock is held while a record is changed or a temporary file is
/// made; a pool's lock is held while its log is appended to. If both are needed, the vault's lock is taken first. No file
/// is synced under a pool's lock except in a compaction, so that a cooldown rarely waits for a disk.
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
    /// Those of this process. A batch that was not confirmed is sent again by its own process only.
    batches: Mutex<MergedBatches>,
}

impl PoolFiles {
    /// Returns the pool as it was last read.
    fn pool(&self) -> MutexGuard<'_, Pool> {
        lock(&self.pool)
    }

    /// Locks the pool for a change and reads what is new. The caller must not sync a file while it holds the lock.
    fn locked(&self) -> Result<(MutexGuard<'_, Pool>, Held<'_>), Stopped> {
        let mut pool = self.pool();
        let held = self.lock.take()?;
        pool.refresh()?;
        Ok((pool, held))
    }
}

/// Locks a mutex. The state behind it is whole between any two statements, so a panic has not broken it.
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

    /// Opens the vault, or makes it. The first of these keys seals; all of them open.
    ///
    /// An existing vault opens even if nothing can be changed, on a full disk or a read-only mount.
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

    /// Checks that a secret could be stored now.
    pub(super) fn check_writable(&self) -> Result<(), Stopped> {
        let _vault = self.lock.take()?;
        drop(self.keys_to_seal()?);
        self.records.probe(CredentialId::random())?;
        Ok(())
    }

    /// Returns the keys for a caller that is about to seal, with pending changes of `key.json` written.
    fn keys_to_seal(&self) -> Result<MutexGuard<'_, Keys>, VaultError> {
        let mut keys = lock(&self.keys);
        keys.settle(|| self.records.seals())?;
        Ok(keys)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the key that seals from now on and the rules of admission, as stored in the vault; `None` if nothing is
    /// stored.
    pub(super) fn facts(&self) -> Result<Option<(KeyId, Rules)>, VaultError> {
        // The file is replaced whole, so no lock is needed to read it.
        lock(&self.keys).facts()
    }

    /// Adds a key that this process has, too.
    pub(super) fn add_key(&self, signer: &Signer) {
        lock(&self.keys).add(std::slice::from_ref(signer));
    }

    /// Gives the vault an id before something is sealed, if it has none. If that fails, the vault stays without.
    pub(super) fn identify(&self) -> Result<(), Stopped> {
        let _vault = self.lock.take()?;
        // Changes that could not be written when the vault was opened come first: they may bar seals without an id.
        let mut keys = self.keys_to_seal()?;
        if let Err(error) = keys.identify(|| self.records.seals()) {
            tracing::warn!("the vault gets no id: {error}");
        }
        Ok(())
    }

    /// Revokes a key.
    pub(super) fn revoke(&self, key: KeyId) -> Result<(), Stopped> {
        let _vault = self.lock.take()?;
        Ok(self.keys_to_seal()?.revoke(key)?)
    }

    /// Reads a record of whatever pool.
    pub(super) fn get(&self, id: CredentialId) -> Result<Record<Sealed>, VaultError> {
        self.records.get(id)
    }

    pub(super) fn record_path(&self, id: CredentialId) -> PathBuf {
        self.records.path(id)
    }

    /// Returns the lock file that a request with this claim waits for.
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
            batches: Mutex::default(),
        });
        pools.insert(key.clone(), files.clone());
        files
    }

    /// Returns the pool's revision. If nothing has changed this only looks at the log's metadata.
    pub(super) fn revision(&self, key: &PoolKey) -> Result<Revision, VaultError> {
        let files = self.pool(key);
        let mut pool = files.pool();
        pool.refresh()?;
        Ok(pool.revision())
    }

    /// Handles every request but those for a lease, which need a guard.
    pub(super) fn call(&self, request: &VaultRequest<Sealed>) -> Result<VaultResponse<Sealed>, Stopped> {
        Ok(match request {
            VaultRequest::Load(pool) => VaultResponse::Pool(self.load(pool)?),
            VaultRequest::List => VaultResponse::List(self.list()?),
            VaultRequest::Put(record) => VaultResponse::Stored(self.put(record)?),
            VaultRequest::Relabel { pool, id, label } => {
                VaultResponse::Stored(self.relabel(pool, *id, label)?)
            }
            VaultRequest::Move { pool, id, place } => {
                self.move_to(pool, *id, *place)?;
                VaultResponse::Done
            }
            VaultRequest::Remove { pool, id } => {
                self.remove(pool, *id)?;
                VaultResponse::Done
            }
            VaultRequest::Get { pool, id } => VaultResponse::Credential(self.get_of(pool, *id)?),
            VaultRequest::ReplaceSecret { pool, id, expected, secret, attributes } => {
                let new = New { secret, attributes: attributes.as_ref(), generation: expected.next() };
                VaultResponse::Replaced(self.swap(pool, *id, *expected, new)?)
            }
            VaultRequest::Reseal { pool, id, expected, secret } => {
                let new = New { secret, attributes: None, generation: *expected };
                VaultResponse::Replaced(self.swap(pool, *id, *expected, new)?)
            }
            VaultRequest::Record { pool, outcomes, batch } => {
                VaultResponse::Revision(self.record(pool, outcomes, *batch)?)
            }
            VaultRequest::Revision(pool) => VaultResponse::Revision(self.revision(pool)?),
            VaultRequest::Changes { pool, since, .. } => {
                VaultResponse::Changes(self.changes(pool, *since)?)
            }
            // A file tells nobody.
            VaultRequest::Watch(_) => VaultResponse::Watch(None),
            VaultRequest::BeginRefresh { pool, id, expected } => {
                VaultResponse::Begun(self.begin_refresh(pool, *id, *expected)?)
            }
            VaultRequest::RefreshFailed { pool, id, expected, failed } => {
                self.refresh_failed(pool, *id, *expected, failed)?;
                VaultResponse::Done
            }
            VaultRequest::LeaseRefresh { .. } | VaultRequest::LeaseClient { .. } => {
                return Err(VaultError::UnexpectedResponse.into());
            }
        })
    }

    /// Returns the id of every record, in no particular order.
    pub(super) fn record_ids(&self) -> Result<Vec<CredentialId>, VaultError> {
        Ok(self.records.ids()?.0)
    }

    /// Whether the pool's log is long enough for a compaction.
    pub(super) fn is_long(&self, key: &PoolKey) -> bool {
        self.pool(key).pool().is_long()
    }

    /// Compacts the pool's log if it is still long.
    pub(super) fn compact(&self, key: &PoolKey) -> Result<(), Stopped> {
        let _vault = self.lock.take()?;
        let files = self.pool(key);
        let (mut pool, _held) = files.locked()?;
        if pool.is_long() {
            pool.compact()?;
        }
        Ok(())
    }

    /// Compacts the pool's log if lines of it are damaged; the old log is kept. The caller must hold the vault's lock.
    pub(super) fn compact_damaged(&self, key: &PoolKey) -> Result<(), Stopped> {
        let files = self.pool(key);
        let (mut pool, _held) = files.locked()?;
        if pool.has_bad_lines() {
            pool.compact()?;
        }
        Ok(())
    }
}

fn warn_of<T>(result: Result<T, VaultError>, what: &str) {
    if let Err(error) = result {
        let source = std::error::Error::source(&error);
        tracing::warn!(source, "the vault saved the credential, but not {what}: {error}");
    }
}

/// Adds the kinds of damaged records of the pool that the log knows and the records don't show.
fn name_kinds(pool: &Pool, damaged: &mut [Damage]) {
    for damage in damaged {
        damage.kind = damage.kind.or_else(|| pool.kind(damage.id?));
    }
}

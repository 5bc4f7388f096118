//! A vault in memory.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::watch;
use tokio::time::Instant;
use tower_service::Service;

use super::batch::MergedBatches;
use super::fair_lock::{FairLock, FairLockFuture};
use super::recent::{RecentChanges, Step};
use super::{
    BatchId, Begun, Changes, FailedRefresh, Listing, RefreshLease, Replaced, Revision, StoredPool,
    VaultError, VaultRequest, VaultResponse, Watch, check_kind, check_name, check_names, free_label,
    now,
};
use crate::clock::Timestamp;
use crate::credential::{CredentialId, Generation, Metadata, PoolKey, Record, Secret};
use crate::standing::{Outcome, Standings};

/// A vault in memory; its contents end with the process. For tests, for programs that keep their secrets elsewhere, and,
/// as `MemoryVault<Sealed>`, a backend under a `SealLayer`.
///
/// A clone is the same vault.
pub struct MemoryVault<T = Secret> {
    state: Arc<Mutex<State<T>>>,
    leases: FairLock<Leased>,
}

/// The subject of a lease.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Leased {
    Credential(CredentialId),
    Client(Arc<str>),
}

impl<T> MemoryVault<T> {
    /// Returns an empty vault.
    pub fn new() -> Self {
        let state = State {
            records: HashMap::new(),
            begun: HashMap::new(),
            failed: HashMap::new(),
            pools: HashMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), leases: FairLock::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A panic cannot leave half a change: each change first checks, then moves values.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for MemoryVault<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for MemoryVault<T> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), leases: self.leases.clone() }
    }
}

impl<T> fmt::Debug for MemoryVault<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryVault").finish_non_exhaustive()
    }
}

impl<T: Clone + Send + Sync + 'static> Service<VaultRequest<T>> for MemoryVault<T> {
    type Response = VaultResponse<T>;
    type Error = VaultError;
    type Future = MemoryFuture<T>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: VaultRequest<T>) -> MemoryFuture<T> {
        let mut state = self.lock();
        let response = match request {
            VaultRequest::Load(pool) => Ok(VaultResponse::Pool(state.load(&pool))),
            VaultRequest::List => Ok(VaultResponse::List(state.list())),
            VaultRequest::Put(record) => state.put(record).map(VaultResponse::Stored),
            VaultRequest::Relabel { pool, id, label } => {
                state.relabel(&pool, id, label).map(VaultResponse::Stored)
            }
            VaultRequest::Move { pool, id, place } => {
                state.move_to(&pool, id, place).map(|()| VaultResponse::Done)
            }
            VaultRequest::Remove { pool, id } => state.remove(&pool, id).map(|()| VaultResponse::Done),
            VaultRequest::Get { pool, id } => {
                state.get(&pool, id).cloned().map(VaultResponse::Credential)
            }
            VaultRequest::ReplaceSecret { pool, id, expected, secret, attributes } => {
                let new = New { secret, attributes, generation: expected.next() };
                state.swap(&pool, id, expected, new).map(VaultResponse::Replaced)
            }
            VaultRequest::Reseal { pool, id, expected, secret } => {
                let new = New { secret, attributes: None, generation: expected };
                state.swap(&pool, id, expected, new).map(VaultResponse::Replaced)
            }
            VaultRequest::Record { pool, outcomes, batch } => {
                Ok(VaultResponse::Revision(state.record(&pool, &outcomes, batch)))
            }
            VaultRequest::Revision(pool) => Ok(VaultResponse::Revision(state.revision(&pool))),
            VaultRequest::Changes { pool, since, .. } => {
                Ok(VaultResponse::Changes(state.changes(&pool, since)))
            }
            VaultRequest::Watch(pool) => Ok(VaultResponse::Watch(Some(state.watch(&pool)))),
            VaultRequest::LeaseRefresh { pool, id } => match state.get(&pool, id) {
                Ok(_) => {
                    return MemoryFuture(Inner::Waiting(self.leases.lock(Leased::Credential(id))));
                }
                Err(error) => Err(error),
            },
            VaultRequest::LeaseClient { client } => {
                return MemoryFuture(Inner::Waiting(self.leases.lock(Leased::Client(client))));
            }
            VaultRequest::BeginRefresh { pool, id, expected } => {
                state.begin_refresh(&pool, id, expected).map(VaultResponse::Begun)
            }
            VaultRequest::RefreshFailed { pool, id, expected, failed } => {
                state.refresh_failed(&pool, id, expected, failed).map(|()| VaultResponse::Done)
            }
        };
        MemoryFuture(Inner::Ready(ready(response)))
    }
}

/// The future of a [`MemoryVault`]'s response: ready at once, except for a lease that someone else holds.
pub struct MemoryFuture<T = Secret>(Inner<T>);

enum Inner<T> {
    Ready(Ready<Result<VaultResponse<T>, VaultError>>),
    Waiting(FairLockFuture<Leased>),
}

impl<T> Future for MemoryFuture<T> {
    type Output = Result<VaultResponse<T>, VaultError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Inner::Ready(response) => Pin::new(response).poll(cx),
            Inner::Waiting(lock) => {
                Pin::new(lock).poll(cx).map(|guard| Ok(VaultResponse::Lease(RefreshLease::new(guard))))
            }
        }
    }
}

impl<T> fmt::Debug for MemoryFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFuture").finish_non_exhaustive()
    }
}

/// A new secret, and what changes with it.
struct New<T> {
    secret: T,
    attributes: Option<BTreeMap<String, String>>,
    generation: Generation,
}

struct State<T> {
    records: HashMap<CredentialId, Record<T>>,
    /// The refreshes that have begun, with the generation that they exchange.
    begun: HashMap<CredentialId, (Generation, Timestamp)>,
    /// The refreshes that have failed, and until when the token endpoint is left alone.
    failed: HashMap<CredentialId, (Generation, Instant, FailedRefresh)>,
    /// A pool that has become empty stays here, so that its revision goes on counting.
    pools: HashMap<PoolKey, Pool>,
}

#[derive(Default)]
struct Pool {
    standings: Standings,
    labels: HashMap<Arc<str>, CredentialId>,
    /// The number of changes, which those that watch are told.
    changes: watch::Sender<u64>,
    recent: RecentChanges,
    batches: MergedBatches,
}

impl Pool {
    fn revision(&self) -> Revision {
        Revision::new(*self.changes.borrow())
    }

    /// Makes a new revision, for a change.
    fn changed(&mut self, step: Step) {
        self.recent.push(self.revision(), step);
        self.changes.send_modify(|changes| *changes += 1);
    }
}

impl<T: Clone + 'static> State<T> {
    fn get(&self, pool: &PoolKey, id: CredentialId) -> Result<&Record<T>, VaultError> {
        let record = self.records.get(&id).filter(|record| record.metadata.pool == *pool);
        record.ok_or(VaultError::NotFound(id))
    }

    fn get_mut(&mut self, pool: &PoolKey, id: CredentialId) -> Result<&mut Record<T>, VaultError> {
        let record = self.records.get_mut(&id).filter(|record| record.metadata.pool == *pool);
        record.ok_or(VaultError::NotFound(id))
    }

    fn pool(&mut self, key: &PoolKey) -> &mut Pool {
        self.pools.entry(key.clone()).or_default()
    }

    fn is_label_taken(&self, pool: &PoolKey, label: &str, except: CredentialId) -> bool {
        let owner = self.pools.get(pool).and_then(|pool| pool.labels.get(label));
        owner.is_some_and(|id| *id != except)
    }

    fn revision(&self, key: &PoolKey) -> Revision {
        self.pools.get(key).map(Pool::revision).unwrap_or_default()
    }

    fn changes(&self, key: &PoolKey, since: Revision) -> Option<Changes<T>> {
        let now = self.revision(key);
        let Some(pool) = self.pools.get(key) else {
            return (since == now).then(|| Changes::none(now));
        };
        let news = pool.recent.since(since, now)?;
        let mut changes = news.changes(&pool.standings, now);
        let records = news.records.iter().filter_map(|id| self.records.get(id));
        changes.credentials = records.cloned().collect();
        Some(changes)
    }

    fn watch(&mut self, key: &PoolKey) -> Watch {
        Watch::of(self.pool(key).changes.subscribe())
    }

    fn load(&self, key: &PoolKey) -> StoredPool<T> {
        let standings = self.pools.get(key).map(|pool| pool.standings.clone()).unwrap_or_default();
        let records = standings.order.iter().filter_map(|id| self.records.get(id));
        StoredPool::new(records.cloned().collect(), standings, self.revision(key), Vec::new())
    }

    fn list(&self) -> Listing {
        let mut pools: Vec<_> = self.pools.iter().collect();
        pools.sort_by_key(|(key, _)| *key);
        let ids = pools.into_iter().flat_map(|(_, pool)| &pool.standings.order);
        let records = ids.filter_map(|id| self.records.get(id));
        Listing {
            credentials: records.map(|record| record.metadata.clone()).collect(),
            damaged: Vec::new(),
        }
    }

    fn put(&mut self, mut record: Record<T>) -> Result<Metadata, VaultError> {
        check_names(&record.metadata)?;
        check_kind(&record.metadata, &record.secret)?;
        let Metadata { id, pool, label, .. } = &record.metadata;
        if self.records.contains_key(id) {
            return Err(VaultError::Exists(*id));
        }
        record.metadata.label = free_label(label, |label| self.is_label_taken(pool, label, *id));
        let metadata = record.metadata.clone();
        let pool = self.pool(&metadata.pool);
        pool.standings.push(metadata.id);
        pool.labels.insert(metadata.label.clone(), metadata.id);
        pool.changed(Step::Added(metadata.id));
        self.records.insert(metadata.id, record);
        Ok(metadata)
    }

    fn relabel(
        &mut self,
        pool: &PoolKey,
        id: CredentialId,
        label: Arc<str>,
    ) -> Result<Metadata, VaultError> {
        check_name("label", &label)?;
        self.get(pool, id)?;
        if self.is_label_taken(pool, &label, id) {
            return Err(VaultError::LabelTaken(label));
        }
        let record = self.get_mut(pool, id)?;
        let before = std::mem::replace(&mut record.metadata.label, label);
        let metadata = record.metadata.clone();
        let pool = self.pool(pool);
        pool.labels.remove(&before);
        pool.labels.insert(metadata.label.clone(), id);
        pool.changed(Step::Record(id));
        Ok(metadata)
    }

    fn move_to(&mut self, pool: &PoolKey, id: CredentialId, place: usize) -> Result<(), VaultError> {
        self.get(pool, id)?;
        let pool = self.pool(pool);
        pool.standings.move_to(id, place);
        pool.changed(Step::Reordered);
        Ok(())
    }

    fn remove(&mut self, pool: &PoolKey, id: CredentialId) -> Result<(), VaultError> {
        let label = self.get(pool, id)?.metadata.label.clone();
        self.records.remove(&id);
        self.begun.remove(&id);
        self.failed.remove(&id);
        let pool = self.pool(pool);
        pool.standings.remove(id);
        pool.labels.remove(&label);
        pool.changed(Step::Removed(id));
        Ok(())
    }

    /// Stores a new secret if the stored one has the `expected` generation. If the new one has that generation too, it is the
    /// same secret, resealed.
    fn swap(
        &mut self,
        pool: &PoolKey,
        id: CredentialId,
        expected: Generation,
        new: New<T>,
    ) -> Result<Replaced<T>, VaultError> {
        let record = self.get_mut(pool, id)?;
        check_kind(&record.metadata, &new.secret)?;
        if record.metadata.generation != expected {
            return Ok(Replaced::Conflict(record.clone()));
        }
        record.secret = new.secret;
        if let Some(attributes) = new.attributes {
            record.metadata.attributes = attributes;
        }
        if new.generation != expected {
            record.metadata.generation = new.generation;
            record.metadata.updated_at = now();
            self.pool(pool).changed(Step::Record(id));
        }
        Ok(Replaced::Swapped(new.generation))
    }

    fn begin_refresh(
        &mut self,
        pool: &PoolKey,
        id: CredentialId,
        expected: Generation,
    ) -> Result<Begun<T>, VaultError> {
        let record = self.get(pool, id)?.clone();
        if record.metadata.generation != expected {
            return Ok(Begun::new(record));
        }
        let failed = self.failed.get(&id).filter(|(generation, ..)| *generation == expected);
        let failed = failed.map(|(_, until, failed)| FailedRefresh {
            wait: until.duration_since(Instant::now()),
            ..failed.clone()
        });
        if failed.as_ref().is_some_and(|failed| !failed.wait.is_zero()) {
            return Ok(Begun { failed, ..Begun::new(record) });
        }
        let before = self.begun.insert(id, (expected, now()));
        let unfinished = before.filter(|(generation, _)| *generation == expected).map(|(_, at)| at);
        Ok(Begun { unfinished, failed, ..Begun::new(record) })
    }

    fn refresh_failed(
        &mut self,
        pool: &PoolKey,
        id: CredentialId,
        expected: Generation,
        failed: FailedRefresh,
    ) -> Result<(), VaultError> {
        if self.get(pool, id)?.metadata.generation == expected {
            let until = Instant::now() + failed.wait;
            self.begun.remove(&id);
            self.failed.insert(id, (expected, until, failed));
        }
        Ok(())
    }

    fn record(&mut self, key: &PoolKey, outcomes: &[Outcome], batch: BatchId) -> Revision {
        if self.pools.get(key).is_some_and(|pool| pool.batches.contain(batch)) {
            return self.revision(key);
        }
        for outcome in outcomes {
            let record = self.records.get(&outcome.id);
            if record.is_none_or(|record| record.metadata.pool != *key) {
                continue;
            }
            // An exchange that the vendor has refused is over.
            if let Some(refused) = outcome.change.refuses()
                && self.begun.get(&outcome.id).is_some_and(|(begun, _)| *begun == refused)
            {
                self.begun.remove(&outcome.id);
            }
            let pool = self.pool(key);
            let touched = pool.standings.merge(outcome);
            pool.changed(Step::Merged(touched));
        }
        let pool = self.pool(key);
        pool.batches.insert(batch);
        pool.revision()
    }
}

//! A vault in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::watch;
use tokio::time::Instant;
use tower_service::Service;

use super::fair_lock::{FairLock, FairLockFuture};
use super::{
    Applied, Listing, PoolDocument, RefreshLease, VaultError, VaultRequest, VaultResponse, Watch, now,
};
use crate::clock::Timestamp;
use crate::credential::{CredentialId, PoolKey, Secret};

/// A vault in memory; its contents end with the process. For tests, for programs that keep their secrets elsewhere, and,
/// as `MemoryVault<Sealed>`, a backend under a `SealLayer`.
///
/// A clone is the same vault.
pub struct MemoryVault<T = Secret> {
    state: Arc<Mutex<State<T>>>,
    leases: FairLock<Leased>,
    clock: TokioClock,
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
        let state = State { pools: HashMap::new(), ids: HashSet::new() };
        Self { state: Arc::new(Mutex::new(state)), leases: FairLock::new(), clock: TokioClock::new() }
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
        Self { state: self.state.clone(), leases: self.leases.clone(), clock: self.clock }
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
        let response = match request {
            VaultRequest::List => Ok(VaultResponse::List(self.lock().list())),
            VaultRequest::Watch(pool) => Ok(VaultResponse::Watch(Some(self.lock().watch(pool)))),
            VaultRequest::LeaseRefresh { pool, id } => match self.lock().check(&pool, id) {
                Ok(()) => {
                    return MemoryFuture(Inner::Waiting(self.leases.lock(Leased::Credential(id))));
                }
                Err(error) => Err(error),
            },
            VaultRequest::LeaseClient { client } => {
                return MemoryFuture(Inner::Waiting(self.leases.lock(Leased::Client(client))));
            }
            // A wait is as long as tokio's clock says, whatever becomes of the system's.
            VaultRequest::BeginRefresh { .. } | VaultRequest::RefreshFailed { .. } => {
                self.lock().apply(request, self.clock.now())
            }
            request => self.lock().apply(request, now()),
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

struct State<T> {
    /// A pool that has become empty stays here, so that its revision goes on counting.
    pools: HashMap<PoolKey, Pool<T>>,
    /// The ids of all pools.
    ids: HashSet<CredentialId>,
}

struct Pool<T> {
    document: PoolDocument<T>,
    /// Told of each new revision.
    changes: watch::Sender<()>,
}

impl<T> Pool<T> {
    fn new(pool: PoolKey) -> Self {
        Self { document: PoolDocument::new(pool), changes: watch::Sender::default() }
    }
}

impl<T: Clone + 'static> State<T> {
    fn check(&self, pool: &PoolKey, id: CredentialId) -> Result<(), VaultError> {
        let pool = self.pools.get(pool).ok_or(VaultError::NotFound(id))?;
        pool.document.get(id).map(drop)
    }

    fn list(&self) -> Listing {
        let pools: BTreeMap<_, _> = self.pools.iter().collect();
        let credentials = pools.into_values().flat_map(|pool| pool.document.listing().credentials);
        Listing { credentials: credentials.collect(), damaged: Vec::new() }
    }

    fn watch(&mut self, pool: PoolKey) -> Watch {
        let pool = self.pools.entry(pool).or_insert_with_key(|key| Pool::new(key.clone()));
        Watch::of(pool.changes.subscribe())
    }

    fn apply(
        &mut self,
        request: VaultRequest<T>,
        now: Timestamp,
    ) -> Result<VaultResponse<T>, VaultError> {
        let Some(key) = request.pool().cloned() else {
            return Err(VaultError::Unsupported { request: request.name() });
        };
        let (mut put, mut removed) = (None, None);
        match &request {
            VaultRequest::Put(record) => put = Some(record.metadata.id),
            VaultRequest::Remove { id, .. } => removed = Some(*id),
            _ => {}
        }
        // A document knows the ids of its own pool.
        if let Some(id) = put
            && self.ids.contains(&id)
            && self.check(&key, id).is_err()
        {
            return Err(VaultError::Exists(id));
        }
        let Applied { response, .. } = match self.pools.get_mut(&key) {
            Some(pool) => pool.apply(request, now)?,
            None => {
                let mut pool = Pool::new(key.clone());
                let applied = pool.apply(request, now)?;
                // Reading a pool that is not there does not make it.
                if applied.is_changed {
                    self.pools.insert(key, pool);
                }
                applied
            }
        };
        self.ids.extend(put);
        if let Some(id) = removed {
            self.ids.remove(&id);
        }
        Ok(response)
    }
}

impl<T: Clone + 'static> Pool<T> {
    fn apply(&mut self, request: VaultRequest<T>, now: Timestamp) -> Result<Applied<T>, VaultError> {
        let before = self.document.revision();
        let applied = self.document.apply(request, now)?;
        if self.document.revision() != before {
            self.changes.send_replace(());
        }
        Ok(applied)
    }
}

/// A clock that goes as tokio's does, which a test may pause.
#[derive(Clone, Copy)]
struct TokioClock {
    began: Instant,
    began_at: Timestamp,
}

impl TokioClock {
    fn new() -> Self {
        Self { began: Instant::now(), began_at: now() }
    }

    fn now(self) -> Timestamp {
        let now = Instant::now();
        match now.checked_duration_since(self.began) {
            Some(later) => self.began_at.after(later),
            // A runtime's clock that is paused may have stopped before this one began.
            None => self.began_at.before(self.began.duration_since(now)),
        }
    }
}

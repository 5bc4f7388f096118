//! The backend's service: requests queue for a lock of this process, then run on threads for blocking work. A request that
//! finds a file's lock held waits without a thread.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tower_service::Service;

use super::busy::{Busy, Stopped};
use super::claim::Claim;
use super::store::Store;
use crate::credential::{CredentialId, PoolKey};
use crate::vault::fair_lock::{FairLock, FairLockFuture, FairLockGuard};
use crate::vault::key::KeyId;
use crate::vault::seal::{Rules, Sealed};
use crate::vault::{RefreshLease, VaultError, VaultRequest, VaultResponse, disk};

/// How long to wait before a lock is tried again: at first, and at most. The maximum bounds how long a lock stays unused
/// after its holder has died.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(5));

/// How long requests wait for locks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For locks that are held around a change.
    pub(super) lock: Duration,
    /// For leases, which are held while a credential is refreshed.
    pub(super) lease: Duration,
}

/// Keeps sealed secrets in a directory.
///
/// Requests of this process queue for a [`FairLock`] before they try a file's lock. So only one of them tries at a time,
/// however many wait.
#[derive(Clone)]
pub(super) struct Directory {
    store: Arc<Store>,
    locks: FairLock<Claim>,
    patience: Patience,
}

impl Directory {
    /// Opens the backend in `store`, with `open`.
    pub(super) async fn open(
        store: Store,
        patience: Patience,
        open: impl Fn(&Store) -> Result<(), Stopped> + Clone + Send + 'static,
    ) -> Result<Self, VaultError> {
        let this = Self { store: Arc::new(store), locks: FairLock::new(), patience };
        this.work(open).await?;
        Ok(this)
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Returns how long a request waits for a lock.
    pub(super) fn patience(&self) -> Duration {
        self.patience.lock
    }

    /// Returns the key that seals from now on and the rules of admission, as stored in the vault.
    pub(super) async fn facts(&self) -> Result<Option<(KeyId, Rules)>, VaultError> {
        let store = self.store.clone();
        finished(spawn_blocking(move || store.facts()).await, self.store.root())?
    }

    /// Takes the credential's lease if nobody has it. Blocks only for as long as it takes to lock a file.
    pub(super) fn free_lease(&self, pool: &PoolKey, id: CredentialId) -> Option<RefreshLease> {
        let guard = self.locks.try_lock(Claim::Lease(id))?;
        self.store.lease(pool, id, guard).ok()
    }

    /// Does work that claims the vault, and tries again until no file's lock is in its way.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl Fn(&Store) -> Result<T, Stopped> + Clone + Send + 'static,
    ) -> Result<T, VaultError> {
        let deadline = Instant::now() + self.patience.lock;
        let _guard = self.locks.lock(Claim::Vault).await;
        let mut pause = PAUSE.0;
        loop {
            let (store, work) = (self.store.clone(), work.clone());
            let done = spawn_blocking(move || work(&store)).await;
            match finished(done, self.store.root())? {
                Ok(result) => return Ok(result),
                Err(Stopped::Failed(error)) => return Err(error),
                Err(Stopped::Busy(busy)) if Instant::now() >= deadline => {
                    return Err(held(busy.path, self.patience.lock));
                }
                Err(Stopped::Busy(_)) => sleep(pause).await,
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}

type Response = Result<VaultResponse<Sealed>, VaultError>;

impl Service<VaultRequest<Sealed>> for Directory {
    type Response = VaultResponse<Sealed>;
    type Error = VaultError;
    type Future = DirectoryFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: VaultRequest<Sealed>) -> DirectoryFuture {
        let store = self.store.clone();
        let patience = match request {
            VaultRequest::LeaseRefresh { .. } | VaultRequest::LeaseClient { .. } => self.patience.lease,
            _ => self.patience.lock,
        };
        let state = match Claim::of(&request) {
            Some(claim) => {
                State::Queued { waiting: Some((self.locks.lock(claim), request)), timer: None }
            }
            None => {
                let store = store.clone();
                State::Working { work: spawn_blocking(move || attempt(&store, request, None)) }
            }
        };
        DirectoryFuture { store, patience, deadline: None, pause: PAUSE.0, state }
    }
}

/// A request that found a file's lock held, and its place in the queue of this process.
type Retry = (Busy, VaultRequest<Sealed>, FairLockGuard<Claim>);

/// The result of one attempt.
enum Attempt {
    Done(Response),
    Retry(Retry),
}

/// Makes one attempt, on a thread for blocking work. The guard is moved there: it must outlast the work, even if no one
/// waits for the response any more.
fn attempt(
    store: &Arc<Store>,
    request: VaultRequest<Sealed>,
    guard: Option<FairLockGuard<Claim>>,
) -> Attempt {
    let (result, guard) = match (&request, guard) {
        (VaultRequest::LeaseRefresh { pool, id }, Some(guard)) => match store.lease(pool, *id, guard) {
            Ok(lease) => (Ok(VaultResponse::Lease(lease)), None),
            Err((stopped, guard)) => (Err(stopped), Some(guard)),
        },
        (VaultRequest::LeaseClient { client }, Some(guard)) => match store.lease_client(client, guard) {
            Ok(lease) => (Ok(VaultResponse::Lease(lease)), None),
            Err((stopped, guard)) => (Err(stopped), Some(guard)),
        },
        (request, guard) => (store.call(request), guard),
    };
    match (result, guard) {
        (Ok(response), _) => {
            if let VaultRequest::Record { pool, .. } = request
                && store.is_long(&pool)
            {
                // Nobody waits for this.
                let store = store.clone();
                spawn_blocking(move || compact(&store, &pool));
            }
            Attempt::Done(Ok(response))
        }
        (Err(Stopped::Failed(error)), _) => Attempt::Done(Err(error)),
        (Err(Stopped::Busy(busy)), Some(guard)) => Attempt::Retry((busy, request, guard)),
        // A request without a guard locks nothing.
        (Err(Stopped::Busy(busy)), None) => Attempt::Done(Err(held(busy.path, Duration::ZERO))),
    }
}

/// Compacts a pool's log. If somebody else holds a lock, the next outcome tries again.
fn compact(store: &Store, pool: &PoolKey) {
    if let Err(Stopped::Failed(error)) = store.compact(pool) {
        tracing::warn!("could not compact the log of the pool {pool}: {error}");
    }
}

pin_project! {
    /// The future of a [`Directory`]'s response. If it is dropped while it waits, nothing is changed; work that has begun is
    /// finished.
    pub(in crate::vault) struct DirectoryFuture {
        store: Arc<Store>,
        patience: Duration,
        // Set when it first has to wait.
        deadline: Option<Instant>,
        pause: Duration,
        #[pin]
        state: State,
    }
}

pin_project! {
    #[project = StateProj]
    #[allow(clippy::large_enum_variant, reason = "there is one for each call, and a box would cost more")]
    enum State {
        /// Waits in the queue of this process.
        Queued {
            waiting: Option<(FairLockFuture<Claim>, VaultRequest<Sealed>)>,
            #[pin]
            timer: Option<Sleep>,
        },
        /// Waits for the thread.
        Working { work: JoinHandle<Attempt> },
        /// Another process holds a lock: waits before the next attempt.
        Resting { retry: Option<Retry>, #[pin] timer: Sleep },
    }
}

impl Future for DirectoryFuture {
    type Output = Response;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let mut this = self.project();
        loop {
            let (request, guard) = match this.state.as_mut().project() {
                StateProj::Queued { waiting, mut timer } => {
                    let Some((lock, _)) = waiting else { return Poll::Pending };
                    match Pin::new(lock).poll(cx) {
                        Poll::Ready(guard) => {
                            let Some((_, request)) = waiting.take() else { return Poll::Pending };
                            (request, guard)
                        }
                        Poll::Pending => {
                            if timer.is_none() {
                                let deadline = Instant::now() + *this.patience;
                                *this.deadline = Some(deadline);
                                timer.set(Some(sleep_until(deadline)));
                            }
                            if let Some(timer) = timer.as_mut().as_pin_mut() {
                                ready!(timer.poll(cx));
                            }
                            let Some((_, request)) = waiting.take() else { return Poll::Pending };
                            let path = Claim::of(&request).map(|claim| this.store.lock_path(&claim));
                            let holder = Some(std::process::id());
                            let path = path.unwrap_or_default();
                            let error = VaultError::Locked { path, holder, waited: *this.patience };
                            return Poll::Ready(Err(error));
                        }
                    }
                }
                StateProj::Working { work } => {
                    match finished(ready!(Pin::new(work).poll(cx)), this.store.root())? {
                        Attempt::Done(response) => return Poll::Ready(response),
                        Attempt::Retry(retry) => {
                            let now = Instant::now();
                            let deadline = *this.deadline.get_or_insert(now + *this.patience);
                            if now >= deadline {
                                return Poll::Ready(Err(held(retry.0.path, *this.patience)));
                            }
                            let timer = sleep_until(deadline.min(now + *this.pause));
                            *this.pause = (*this.pause * 2).min(PAUSE.1);
                            this.state.set(State::Resting { retry: Some(retry), timer });
                        }
                    }
                    continue;
                }
                StateProj::Resting { retry, timer } => {
                    ready!(timer.poll(cx));
                    let Some((_, request, guard)) = retry.take() else { return Poll::Pending };
                    (request, guard)
                }
            };
            let store = this.store.clone();
            let work = spawn_blocking(move || attempt(&store, request, Some(guard)));
            this.state.set(State::Working { work });
        }
    }
}

/// The error for a lock that another process has held for too long.
fn held(path: PathBuf, waited: Duration) -> VaultError {
    VaultError::Locked { holder: disk::lock::holder(&path), path, waited }
}

/// Returns the result of work that ran on another thread. A panic there continues here.
pub(super) fn finished<T>(work: Result<T, JoinError>, root: &Path) -> Result<T, VaultError> {
    match work.map_err(JoinError::try_into_panic) {
        Ok(result) => Ok(result),
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is shutting down.
        Err(Err(stopped)) => Err(disk::failed("finish work in", root)(io::Error::other(stopped))),
    }
}

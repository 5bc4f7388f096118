//! The backend's service: requests take turns, work runs on threads for blocking work, and who finds a lock
//! held waits without a thread.

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
use crate::credential::CredentialId;
use crate::vault::fair_lock::{FairLock, FairLockGuard, Wait};
use crate::vault::key::KeyId;
use crate::vault::seal::{Rules, Sealed};
use crate::vault::{RefreshLease, VaultError, VaultRequest, VaultResponse, disk};

/// How long to wait before a lock is tried again: at first, and at most. The most bounds how long a lock
/// stays unused after its holder has died.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(5));

/// How long requests wait for locks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For those that are held around a change.
    pub(super) lock: Duration,
    /// For those that are held while a credential is refreshed.
    pub(super) lease: Duration,
}

/// Keeps sealed secrets in a directory.
///
/// Requests of this process take turns before they try a file's lock, so however many wait, one of them at
/// a time tries.
#[derive(Clone)]
pub(super) struct Directory {
    store: Arc<Store>,
    locks: FairLock<Claim>,
    patience: Patience,
}

impl Directory {
    /// The backend in `store`, once `open` has opened that.
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

    /// How long a request waits for a lock.
    pub(super) fn patience(&self) -> Duration {
        self.patience.lock
    }

    /// The key that seals from now on and which seals are let in, by what the vault says.
    pub(super) async fn facts(&self) -> Result<Option<(KeyId, Rules)>, VaultError> {
        let store = self.store.clone();
        finished(spawn_blocking(move || store.facts()).await, self.store.root())?
    }

    /// The credential's lease, if nobody has it. Blocks for no longer than a file takes to be locked.
    pub(super) fn free_lease(&self, id: CredentialId) -> Option<RefreshLease> {
        let turn = self.locks.take_free(Claim::Lease(id))?;
        self.store.lease(id, turn).ok()
    }

    /// Does work that claims the vault, as often as it takes until no lock is in its way.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl Fn(&Store) -> Result<T, Stopped> + Clone + Send + 'static,
    ) -> Result<T, VaultError> {
        let deadline = Instant::now() + self.patience.lock;
        let _turn = self.locks.take(Claim::Vault).await;
        let mut pause = PAUSE.0;
        loop {
            let (store, work) = (self.store.clone(), work.clone());
            let done = spawn_blocking(move || work(&store)).await;
            match finished(done, self.store.root())? {
                Ok(answer) => return Ok(answer),
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

type Answer = Result<VaultResponse<Sealed>, VaultError>;

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
                State::Waiting { place: Some((self.locks.take(claim), request)), timer: None }
            }
            None => {
                let store = store.clone();
                State::Working { work: spawn_blocking(move || answer(&store, request, None)) }
            }
        };
        DirectoryFuture { store, patience, deadline: None, pause: PAUSE.0, state }
    }
}

/// A request that found a lock held, and its turn.
type Again = (Busy, VaultRequest<Sealed>, FairLockGuard<Claim>);

/// What one try came to.
enum Tried {
    Answered(Answer),
    Again(Again),
}

/// One try, on a thread for blocking work. The turn goes along: it must outlast the work, even if no one
/// waits for that.
fn answer(
    store: &Arc<Store>,
    request: VaultRequest<Sealed>,
    turn: Option<FairLockGuard<Claim>>,
) -> Tried {
    let (result, turn) = match (&request, turn) {
        (VaultRequest::LeaseRefresh { id }, Some(turn)) => match store.lease(*id, turn) {
            Ok(lease) => (Ok(VaultResponse::Lease(lease)), None),
            Err((stopped, turn)) => (Err(stopped), Some(turn)),
        },
        (VaultRequest::LeaseClient { client }, Some(turn)) => match store.lease_client(client, turn) {
            Ok(lease) => (Ok(VaultResponse::Lease(lease)), None),
            Err((stopped, turn)) => (Err(stopped), Some(turn)),
        },
        (request, turn) => (store.answer(request), turn),
    };
    match (result, turn) {
        (Ok(answer), _) => {
            if let VaultRequest::Record { pool, .. } = request
                && store.is_long(&pool)
            {
                // After the answer: nobody waits for it.
                let store = store.clone();
                spawn_blocking(move || compact(&store, &pool));
            }
            Tried::Answered(Ok(answer))
        }
        (Err(Stopped::Failed(error)), _) => Tried::Answered(Err(error)),
        (Err(Stopped::Busy(busy)), Some(turn)) => Tried::Again((busy, request, turn)),
        // Without a turn nothing is locked.
        (Err(Stopped::Busy(busy)), None) => Tried::Answered(Err(held(busy.path, Duration::ZERO))),
    }
}

/// Where somebody else holds a lock, the next outcome tries again.
fn compact(store: &Store, pool: &crate::credential::PoolKey) {
    if let Err(Stopped::Failed(error)) = store.compact(pool) {
        tracing::warn!("could not compact the log of the pool {pool}: {error}");
    }
}

pin_project! {
    /// The answer of a [`Directory`]. Dropped while it waits, it changes nothing; work that has begun is
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
        /// Waits for its turn in this process.
        Waiting {
            place: Option<(Wait<Claim>, VaultRequest<Sealed>)>,
            #[pin]
            timer: Option<Sleep>,
        },
        /// Waits for the thread.
        Working { work: JoinHandle<Tried> },
        /// Another process holds a lock: waits until it is tried again.
        Resting { again: Option<Again>, #[pin] timer: Sleep },
    }
}

impl Future for DirectoryFuture {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut this = self.project();
        loop {
            let (request, turn) = match this.state.as_mut().project() {
                StateProj::Waiting { place, mut timer } => {
                    let Some((wait, _)) = place else { return Poll::Pending };
                    match Pin::new(wait).poll(cx) {
                        Poll::Ready(turn) => {
                            let Some((_, request)) = place.take() else { return Poll::Pending };
                            (request, turn)
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
                            let Some((_, request)) = place.take() else { return Poll::Pending };
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
                        Tried::Answered(answer) => return Poll::Ready(answer),
                        Tried::Again(again) => {
                            let now = Instant::now();
                            let deadline = *this.deadline.get_or_insert(now + *this.patience);
                            if now >= deadline {
                                return Poll::Ready(Err(held(again.0.path, *this.patience)));
                            }
                            let timer = sleep_until(deadline.min(now + *this.pause));
                            *this.pause = (*this.pause * 2).min(PAUSE.1);
                            this.state.set(State::Resting { again: Some(again), timer });
                        }
                    }
                    continue;
                }
                StateProj::Resting { again, timer } => {
                    ready!(timer.poll(cx));
                    let Some((_, request, turn)) = again.take() else { return Poll::Pending };
                    (request, turn)
                }
            };
            let store = this.store.clone();
            let work = spawn_blocking(move || answer(&store, request, Some(turn)));
            this.state.set(State::Working { work });
        }
    }
}

/// That another process has held a lock for so long.
fn held(path: PathBuf, waited: Duration) -> VaultError {
    VaultError::Locked { holder: disk::lock::holder(&path), path, waited }
}

/// The result of work that ran on another thread. A panic goes on here.
pub(super) fn finished<T>(work: Result<T, JoinError>, root: &Path) -> Result<T, VaultError> {
    match work.map_err(JoinError::try_into_panic) {
        Ok(result) => Ok(result),
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is shutting down.
        Err(Err(stopped)) => Err(disk::failed("finish work in", root)(io::Error::other(stopped))),
    }
}

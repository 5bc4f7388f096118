//! The backend's service: requests queue for a lock of this process, then run on threads for blocking work. A request that
//! finds a file's lock held tries again, and after a while [waits in a queue](super::queue).

mod future;

use std::future::poll_fn;
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout_at};
use tower_service::Service;

use self::future::DirectoryFuture;
use super::attempt::held;
use super::busy::Stopped;
use super::claim::Claim;
use super::queue::LockQueues;
use super::store::Store;
use crate::credential::{CredentialId, PoolKey};
use crate::vault::fair_lock::FairLock;
use crate::vault::key::KeyId;
use crate::vault::seal::{Rules, Sealed};
use crate::vault::{RefreshLease, VaultError, VaultRequest, VaultResponse, disk};

/// How long to wait before a lock is tried again if no thread can wait for it: at first, and at most. The maximum bounds how
/// long a lock stays unused after its holder has died.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(5));

/// How long to wait before a lock is tried again while a thread waits for it. That finds a lock that the thread does not: some
/// network file systems are slow to tell, or the thread could not open the file.
const QUEUED_PAUSE: Duration = Duration::from_millis(100);

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
    queues: LockQueues,
    patience: Patience,
}

impl Directory {
    /// Opens the backend in `store`, with `open`.
    pub(super) async fn open(
        store: Store,
        patience: Patience,
        open: impl Fn(&Store) -> Result<(), Stopped> + Clone + Send + 'static,
    ) -> Result<Self, VaultError> {
        let this = Self {
            store: Arc::new(store),
            locks: FairLock::new(),
            queues: LockQueues::default(),
            patience,
        };
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
        self.store.lease(pool, id, guard, None).ok()
    }

    /// Does work that claims the vault, and tries again until no file's lock is in its way.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl Fn(&Store) -> Result<T, Stopped> + Clone + Send + 'static,
    ) -> Result<T, VaultError> {
        let deadline = Instant::now() + self.patience.lock;
        let _guard = self.locks.lock(Claim::Vault).await;
        let mut pauses = Pauses::default();
        let mut tried = None;
        loop {
            let done = match tried.take() {
                Some(done) => done,
                None => {
                    let (store, work) = (self.store.clone(), work.clone());
                    finished(spawn_blocking(move || work(&store)).await, self.store.root())?
                }
            };
            match done {
                Ok(result) => return Ok(result),
                Err(Stopped::Failed(error)) => return Err(error),
                Err(Stopped::Busy(busy)) if Instant::now() >= deadline => {
                    return Err(held(busy.path, self.patience.lock));
                }
                Err(Stopped::Busy(busy)) => {
                    tried = self.wait_for(busy.path, work.clone(), deadline, &mut pauses).await;
                }
            }
        }
    }

    /// Waits for the lock of the file at `path`, and does the work with it. Returns `None` when it is time to try without.
    async fn wait_for<T: Send + 'static>(
        &self,
        path: PathBuf,
        work: impl Fn(&Store) -> Result<T, Stopped> + Send + 'static,
        deadline: Instant,
        pauses: &mut Pauses,
    ) -> Option<Result<T, Stopped>> {
        let (store, file) = (self.store.clone(), path.clone());
        let work = move |(), granted| {
            store.with_granted(&file, granted, |granted| {
                // The work takes it itself.
                drop(granted);
                work(&store)
            })
        };
        let ticket = if pauses.are_long() { self.queues.wait(&path, (), work).ok() } else { None };
        let Some(mut ticket) = ticket else {
            sleep_until(pauses.next(deadline)).await;
            return None;
        };
        let done = match timeout_at(pauses.queued(deadline), poll_fn(|cx| ticket.poll(cx))).await {
            Ok(done) => done,
            Err(_) => match ticket.withdraw() {
                Ok(()) => return None,
                Err(mut ticket) => poll_fn(|cx| ticket.poll(cx)).await,
            },
        };
        Some(done.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

/// How long to rest before the next attempt.
struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(PAUSE.0)
    }
}

impl Pauses {
    /// Whether the lock is held for so long that a thread is worth its cost.
    fn are_long(&self) -> bool {
        self.0 == PAUSE.1
    }

    /// Returns when to try again if no thread waits.
    fn next(&mut self, deadline: Instant) -> Instant {
        let next = Instant::now() + self.0;
        self.0 = (self.0 * 2).min(PAUSE.1);
        next.min(deadline)
    }

    /// Returns when to try again if a thread waits.
    fn queued(&self, deadline: Instant) -> Instant {
        deadline.min(Instant::now() + QUEUED_PAUSE)
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
        DirectoryFuture::new(self.clone(), request)
    }
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

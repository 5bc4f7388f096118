//! One attempt at a request, on a thread that may block.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::busy::{Busy, Stopped};
use super::claim::Claim;
use super::store::Store;
use crate::credential::PoolKey;
use crate::vault::disk::lock::{self, Granted};
use crate::vault::fair_lock::FairLockGuard;
use crate::vault::seal::Sealed;
use crate::vault::{RefreshLease, VaultError, VaultRequest, VaultResponse};

/// A request, and its turn in the queue of this process.
pub(super) type Turn = (VaultRequest<Sealed>, FairLockGuard<Claim>);

/// The result of one attempt.
pub(super) enum Attempt {
    Done(Result<VaultResponse<Sealed>, VaultError>),
    /// A file's lock was held.
    Busy(Busy, Turn),
}

/// Makes one attempt with the lock of the file at `path`, which was waited for.
pub(super) fn attempt_with(store: &Arc<Store>, turn: Turn, path: &Path, granted: Granted) -> Attempt {
    let (request, guard) = turn;
    store.with_granted(path, granted, |granted| attempt(store, request, Some(guard), granted))
}

/// Makes one attempt, on a thread for blocking work. The guard is moved there: it must outlast the work, even if no one
/// waits for the response any more.
pub(super) fn attempt(
    store: &Arc<Store>,
    request: VaultRequest<Sealed>,
    guard: Option<FairLockGuard<Claim>>,
    granted: Option<Granted>,
) -> Attempt {
    let (result, guard) = match (&request, guard) {
        (VaultRequest::LeaseRefresh { pool, id }, Some(guard)) => {
            leased(store.lease(pool, *id, guard, granted))
        }
        (VaultRequest::LeaseClient { client }, Some(guard)) => {
            leased(store.lease_client(client, guard, granted))
        }
        (request, guard) => {
            // The request takes it itself.
            drop(granted);
            (store.call(request), guard)
        }
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
        (Err(Stopped::Busy(busy)), Some(guard)) => Attempt::Busy(busy, (request, guard)),
        // A request without a guard locks nothing.
        (Err(Stopped::Busy(busy)), None) => Attempt::Done(Err(held(busy.path, Duration::ZERO))),
    }
}

type Stoppable = (Result<VaultResponse<Sealed>, Stopped>, Option<FairLockGuard<Claim>>);

fn leased(lease: Result<RefreshLease, (Stopped, FairLockGuard<Claim>)>) -> Stoppable {
    match lease {
        Ok(lease) => (Ok(VaultResponse::Lease(lease)), None),
        Err((stopped, guard)) => (Err(stopped), Some(guard)),
    }
}

/// Compacts a pool's log. If somebody else holds a lock, the next outcome tries again.
fn compact(store: &Store, pool: &PoolKey) {
    if let Err(Stopped::Failed(error)) = store.compact(pool) {
        tracing::warn!("could not compact the log of the pool {pool}: {error}");
    }
}

/// The error for a lock that another process has held for too long.
pub(super) fn held(path: PathBuf, waited: Duration) -> VaultError {
    VaultError::Locked { holder: lock::holder(&path), path, waited }
}

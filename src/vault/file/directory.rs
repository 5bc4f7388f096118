//! The backend's service: requests take turns, and each runs on a thread for blocking work.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tower_service::Service;

use super::store::Store;
use crate::credential::CredentialId;
use crate::vault::seal::Sealed;
use crate::vault::turns::{Turns, Wait};
use crate::vault::{VaultError, VaultRequest, VaultResponse, disk};

/// What only one holds at a time.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Held {
    Vault,
    Lease(CredentialId),
}

/// Keeps sealed secrets in a directory.
///
/// Requests of this process take turns before they take the file lock, so however many wait, one thread
/// at a time waits with them.
#[derive(Clone)]
pub(super) struct Directory {
    store: Arc<Store>,
    turns: Turns<Held>,
}

impl Directory {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, turns: Turns::new() }
    }

    pub(super) fn root(&self) -> &Path {
        self.store.root()
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
        let held = match &request {
            VaultRequest::LeaseRefresh { id } => Held::Lease(*id),
            _ => Held::Vault,
        };
        let store = self.store.clone();
        let state = match request {
            VaultRequest::Revision(pool) => {
                // It reads no file, so it need not wait for those who do.
                let work = store.clone();
                State::Working(spawn_blocking(move || work.revision(&pool).map(VaultResponse::Revision)))
            }
            request => State::Waiting(self.turns.take(held), Some(request)),
        };
        DirectoryFuture { store, state }
    }
}

pub(in crate::vault) struct DirectoryFuture {
    store: Arc<Store>,
    state: State,
}

#[allow(clippy::large_enum_variant, reason = "there is one for each call, and a box would cost more")]
enum State {
    Waiting(Wait<Held>, Option<VaultRequest<Sealed>>),
    Working(JoinHandle<Answer>),
}

impl Future for DirectoryFuture {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Waiting(wait, request) => {
                    let turn = ready!(Pin::new(wait).poll(cx));
                    let Some(request) = request.take() else { return Poll::Pending };
                    let store = this.store.clone();
                    // The turn goes along: it must outlast the work, even if no one waits for that.
                    this.state = State::Working(spawn_blocking(move || match request {
                        VaultRequest::LeaseRefresh { id } => {
                            store.lease(id, turn).map(VaultResponse::Lease)
                        }
                        request => {
                            let _turn = turn;
                            store.answer(request)
                        }
                    }));
                }
                State::Working(work) => {
                    return Pin::new(work).poll(cx).map(|answer| finished(answer, this.store.root()));
                }
            }
        }
    }
}

/// The result of work that ran on another thread. A panic goes on here.
pub(super) fn finished<T>(
    work: Result<Result<T, VaultError>, JoinError>,
    root: &Path,
) -> Result<T, VaultError> {
    match work.map_err(JoinError::try_into_panic) {
        Ok(result) => result,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is shutting down.
        Err(Err(stopped)) => Err(disk::failed("finish work in", root)(io::Error::other(stopped))),
    }
}

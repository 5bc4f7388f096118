//! The future of a response, which seals on the way in and opens on the way out.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::blob::Sealed;
use super::opening::Opening;
use super::seals::{Observed, Request, Seals, Then};
use crate::BoxError;
use crate::credential::Metadata;
use crate::vault::{Replaced, VaultError, VaultRequest, VaultResponse};

pub(super) fn backend_failed(error: impl Into<BoxError>) -> VaultError {
    error.into().into()
}

pin_project! {
    /// The future of a [`Seal`](super::Seal)'s response.
    pub struct SealFuture<V: Service<VaultRequest<Sealed>>> {
        #[pin]
        state: State<V>,
        seals: Arc<Seals>,
        observed: Observed,
    }
}

impl<V: Service<VaultRequest<Sealed>> + Clone> SealFuture<V> {
    pub(super) fn new(backend: &mut V, seals: Arc<Seals>, request: VaultRequest) -> Self {
        let state = match seals.request(request) {
            Ok(Request::Sealed(request)) => State::Calling { response: backend.call(request) },
            Ok(Request::Stored { pool, id, then }) => {
                let get = backend.call(VaultRequest::Get { pool, id });
                State::Reading { get, then: Some((then, backend.clone())) }
            }
            Err(error) => State::Failed { error: Some(error) },
        };
        Self { state, seals, observed: Observed::default() }
    }
}

impl<V: Service<VaultRequest<Sealed>>> SealFuture<V> {
    /// Takes what opening has shown about the keys and rules; complete once there is a response.
    #[cfg(feature = "file")]
    pub(crate) fn take_observed(self: Pin<&mut Self>) -> Observed {
        std::mem::take(self.project().observed)
    }
}

pin_project! {
    #[project = StateProj]
    enum State<V: Service<VaultRequest<Sealed>>> {
        /// Refused before the backend was asked.
        Failed { error: Option<VaultError> },
        /// Waits for the stored record, since a new secret is sealed with its metadata.
        Reading { #[pin] get: V::Future, then: Option<(Then, V)> },
        /// Waits until the backend is ready for the request that follows.
        Readying { backend: V, request: Option<VaultRequest<Sealed>> },
        /// Waits for the backend's response.
        Calling { #[pin] response: V::Future },
        /// Opens a pool's secrets, some at a time.
        Opening { opening: Option<Opening> },
    }
}

impl<V> Future for SealFuture<V>
where
    V: Service<VaultRequest<Sealed>, Response = VaultResponse<Sealed>, Error: Into<BoxError>>,
{
    type Output = Result<VaultResponse, VaultError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Failed { error } => match error.take() {
                    Some(error) => return Poll::Ready(Err(error)),
                    None => return Poll::Pending,
                },
                StateProj::Reading { get, then } => {
                    let stored = match ready!(get.poll(cx)).map_err(backend_failed)? {
                        VaultResponse::Credential(stored) => stored,
                        _ => return Poll::Ready(Err(VaultError::UnexpectedResponse)),
                    };
                    let Some((then, backend)) = then.take() else { return Poll::Pending };
                    let was_bound = Seals::binds_attributes(&stored);
                    // It is opened first: metadata that was tampered with must not get a valid seal this way.
                    let stored = this.seals.open(stored, this.observed)?;
                    let request = match then {
                        Then::Swap(swap) if stored.metadata.generation != swap.expected => {
                            let conflict = VaultResponse::Replaced(Replaced::Conflict(stored));
                            return Poll::Ready(Ok(conflict));
                        }
                        Then::Swap(swap) => this.seals.swap(stored.metadata, swap, was_bound)?,
                        Then::Begin { expected } => {
                            let Metadata { pool, id, .. } = stored.metadata;
                            VaultRequest::BeginRefresh { pool, id, expected }
                        }
                    };
                    State::Readying { backend, request: Some(request) }
                }
                StateProj::Readying { backend, request } => {
                    ready!(backend.poll_ready(cx)).map_err(backend_failed)?;
                    let Some(request) = request.take() else { return Poll::Pending };
                    State::Calling { response: backend.call(request) }
                }
                StateProj::Calling { response } => {
                    match ready!(response.poll(cx)).map_err(backend_failed)? {
                        VaultResponse::Pool(pool) => {
                            State::Opening { opening: Some(Opening::new(pool)) }
                        }
                        response => return Poll::Ready(this.seals.response(response, this.observed)),
                    }
                }
                StateProj::Opening { opening } => {
                    let Some(pool) = opening else { return Poll::Pending };
                    if !pool.advance(this.seals, this.observed) {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    let Some(pool) = opening.take() else { return Poll::Pending };
                    return Poll::Ready(
                        pool.finish(this.seals, &this.observed.unopened).map(VaultResponse::Pool),
                    );
                }
            };
            this.state.set(next);
        }
    }
}

impl<V: Service<VaultRequest<Sealed>>> fmt::Debug for SealFuture<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealFuture").finish_non_exhaustive()
    }
}

//! The future of a vault's response. It calls the vault again if another key is needed.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::directory::Directory;
use super::ring::{Found, Ring};
use crate::vault::key::KeyId;
use crate::vault::seal::{Observed, Seal, SealFuture, Seals};
use crate::vault::{VaultError, VaultRequest, VaultResponse};

pin_project! {
    /// The future of a [`FileVault`](super::FileVault)'s response. If it is dropped while it waits for a lock, nothing is
    /// changed; a change that has begun is finished.
    #[must_use = "a future does nothing unless polled"]
    pub struct FileFuture {
        // Set if the request needs keys, and so may have to be made again with others.
        retry: Option<Retry>,
        #[pin]
        state: State,
    }
}

/// A request that needs keys.
struct Retry {
    directory: Directory,
    ring: Arc<Ring>,
    request: VaultRequest,
    /// The keys that it was made with.
    used: Arc<Seals>,
}

type Response = Result<VaultResponse, VaultError>;

pin_project! {
    #[project = StateProj]
    #[allow(clippy::large_enum_variant, reason = "there is one for each call, and a box would cost more")]
    enum State {
        Calling { #[pin] response: SealFuture<Directory> },
        /// Looks for a key after a key change, or gives the vault an id before something is sealed.
        Looking {
            looking: Pin<Box<dyn Future<Output = Found> + Send>>,
            response: Option<(Response, Observed)>,
        },
    }
}

impl FileFuture {
    pub(super) fn new(directory: Directory, ring: Arc<Ring>, request: VaultRequest) -> Self {
        let used = ring.seals();
        let retry = needs_keys(&request).then(|| Retry {
            directory: directory.clone(),
            ring: ring.clone(),
            request: request.clone(),
            used: used.clone(),
        });
        let state = match used.rules().vault {
            None if seals(&request) => {
                let identifying = async move {
                    match ring.identify(&directory).await {
                        Ok(()) => Found::Other,
                        Err(error) => Found::Failed(error),
                    }
                };
                State::Looking { looking: Box::pin(identifying), response: None }
            }
            _ => State::Calling { response: Seal::with_seals(directory, used).call(request) },
        };
        Self { retry, state }
    }
}

/// Whether a request seals anything.
fn seals(request: &VaultRequest) -> bool {
    matches!(
        request,
        VaultRequest::Put(_) | VaultRequest::ReplaceSecret { .. } | VaultRequest::Reseal { .. }
    )
}

/// Whether a request seals or opens anything.
fn needs_keys(request: &VaultRequest) -> bool {
    matches!(
        request,
        VaultRequest::Load(_)
            | VaultRequest::Changes { .. }
            | VaultRequest::Put(_)
            | VaultRequest::Get { .. }
            | VaultRequest::ReplaceSecret { .. }
            | VaultRequest::Reseal { .. }
            | VaultRequest::BeginRefresh { .. }
    )
}

impl Future for FileFuture {
    type Output = Response;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Calling { response: mut future } => {
                    let response = ready!(future.as_mut().poll(cx));
                    let observed = future.take_observed();
                    let needs_key = observed.may_be_stale
                        || !observed.unopened.is_empty()
                        || matches!(response, Err(VaultError::Key(_)));
                    let Some(retry) = this.retry.as_ref().filter(|_| needs_key) else {
                        return Poll::Ready(response);
                    };
                    let (directory, ring) = (retry.directory.clone(), retry.ring.clone());
                    let used = retry.used.clone();
                    let unknown = observed.unopened.iter().map(|(key, _)| *key).collect();
                    let looking = async move { ring.look(&directory, &used, unknown).await };
                    State::Looking { looking: Box::pin(looking), response: Some((response, observed)) }
                }
                StateProj::Looking { looking, response } => {
                    let found = ready!(looking.as_mut().poll(cx));
                    match (found, response.take(), this.retry.as_mut()) {
                        (Found::Other, _, Some(retry)) => {
                            retry.used = retry.ring.seals();
                            let directory = retry.directory.clone();
                            let mut vault = Seal::with_seals(directory, retry.used.clone());
                            State::Calling { response: vault.call(retry.request.clone()) }
                        }
                        (Found::LeftBehind { key, said }, Some((response, observed)), _) => {
                            return Poll::Ready(left_behind(response, &observed, key, &said));
                        }
                        (Found::Failed(error), ..) => return Poll::Ready(Err(error)),
                        (_, Some((response, _)), _) => return Poll::Ready(response),
                        (_, None, _) => return Poll::Pending,
                    }
                }
            };
            this.state.set(next);
        }
    }
}

/// Amends the response if the vault's key was not found: the records that it has sealed may be well.
fn left_behind(response: Response, observed: &Observed, key: KeyId, said: &str) -> Response {
    match response {
        Err(VaultError::Key(reason)) => Err(VaultError::Key(format!("{reason}; {said}"))),
        Ok(VaultResponse::Pool(mut pool)) => {
            let may_be_well =
                |id| observed.unopened.iter().any(|(by, unopened)| (*by, Some(*unopened)) == (key, id));
            for damage in pool.damaged.iter_mut().filter(|damage| may_be_well(damage.id)) {
                damage.may_pass = true;
                damage.reason = format!("{}; {said}", damage.reason);
            }
            Ok(VaultResponse::Pool(pool))
        }
        response => response,
    }
}

impl fmt::Debug for FileFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileFuture").finish_non_exhaustive()
    }
}

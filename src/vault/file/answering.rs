//! The answer of a vault in a directory, which is looked for once more where another key is needed.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::FileVault;
use super::directory::Directory;
use super::ring::Found;
use crate::vault::key::KeyId;
use crate::vault::seal::{Noted, SealFuture, Seals};
use crate::vault::{VaultError, VaultRequest, VaultResponse};

pin_project! {
    /// The answer of a [`FileVault`]. Dropped while it waits for a lock, it changes nothing; a change that has
    /// begun is finished.
    #[must_use = "a future does nothing unless polled"]
    pub struct FileFuture {
        // What is asked again with other keys, where the answer needs any.
        again: Option<Again>,
        #[pin]
        state: State,
    }
}

/// A request that needs keys.
struct Again {
    vault: FileVault,
    request: VaultRequest,
    /// The keys that it was made with.
    used: Arc<Seals>,
}

type Answer = Result<VaultResponse, VaultError>;

pin_project! {
    #[project = StateProj]
    #[allow(clippy::large_enum_variant, reason = "there is one for each call, and a box would cost more")]
    enum State {
        Answering { #[pin] answer: SealFuture<Directory> },
        /// Looks for a key, which happens when it was changed; or before anything is sealed in a vault without an id.
        Looking { looking: Pin<Box<dyn Future<Output = Found> + Send>>, answer: Option<(Answer, Noted)> },
    }
}

impl FileFuture {
    pub(super) fn new(vault: &FileVault, request: VaultRequest) -> Self {
        let used = vault.ring.seals();
        let again = needs_keys(&request).then(|| Again {
            vault: vault.clone(),
            request: request.clone(),
            used: used.clone(),
        });
        let state = match used.rules().vault {
            None if seals(&request) => {
                let vault = vault.clone();
                let identifying = async move {
                    match vault.ring.identify(&vault.directory).await {
                        Ok(()) => Found::Other,
                        Err(error) => Found::Failed(error),
                    }
                };
                State::Looking { looking: Box::pin(identifying), answer: None }
            }
            _ => State::Answering { answer: vault.seal_with(used).call(request) },
        };
        Self { again, state }
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
            | VaultRequest::Put(_)
            | VaultRequest::Get { .. }
            | VaultRequest::ReplaceSecret { .. }
            | VaultRequest::Reseal { .. }
            | VaultRequest::BeginRefresh { .. }
    )
}

impl Future for FileFuture {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Answering { mut answer } => {
                    let answered = ready!(answer.as_mut().poll(cx));
                    let noted = answer.take_noted();
                    let is_of_keys = noted.is_strange
                        || !noted.shut.is_empty()
                        || matches!(answered, Err(VaultError::Key(_)));
                    let Some(again) = this.again.as_ref().filter(|_| is_of_keys) else {
                        return Poll::Ready(answered);
                    };
                    let (vault, used) = (again.vault.clone(), again.used.clone());
                    let unknown = noted.shut.iter().map(|(key, _)| *key).collect();
                    let looking = async move { vault.ring.look(&vault.directory, &used, unknown).await };
                    State::Looking { looking: Box::pin(looking), answer: Some((answered, noted)) }
                }
                StateProj::Looking { looking, answer } => {
                    let found = ready!(looking.as_mut().poll(cx));
                    match (found, answer.take(), this.again.as_mut()) {
                        (Found::Other, _, Some(again)) => {
                            again.used = again.vault.ring.seals();
                            let mut vault = again.vault.seal_with(again.used.clone());
                            State::Answering { answer: vault.call(again.request.clone()) }
                        }
                        (Found::LeftBehind { key, said }, Some((answered, noted)), _) => {
                            return Poll::Ready(left_behind(answered, &noted, key, &said));
                        }
                        (Found::Failed(error), ..) => return Poll::Ready(Err(error)),
                        (_, Some((answered, _)), _) => return Poll::Ready(answered),
                        (_, None, _) => return Poll::Pending,
                    }
                }
            };
            this.state.set(next);
        }
    }
}

/// The answer where the vault's key is one that was not found: what it has sealed may well be sound.
fn left_behind(answer: Answer, noted: &Noted, key: KeyId, said: &str) -> Answer {
    match answer {
        Err(VaultError::Key(reason)) => Err(VaultError::Key(format!("{reason}; {said}"))),
        Ok(VaultResponse::Pool(mut pool)) => {
            let is_sound = |id| noted.shut.iter().any(|(by, shut)| (*by, Some(*shut)) == (key, id));
            for damage in pool.damaged.iter_mut().filter(|damage| is_sound(damage.id)) {
                damage.may_pass = true;
                damage.reason = format!("{}; {said}", damage.reason);
            }
            Ok(VaultResponse::Pool(pool))
        }
        answer => answer,
    }
}

impl fmt::Debug for FileFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileFuture").finish_non_exhaustive()
    }
}

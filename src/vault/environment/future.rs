//! The future of the layer's responses.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::failed;
use super::key::Shared;
use super::route::Then;
use crate::BoxError;
use crate::credential::CredentialId;
use crate::vault::fair_lock::FairLockFuture;
use crate::vault::{RefreshLease, VaultError, VaultResponse};

pin_project! {
    /// The future of an [`EnvironmentVault`]'s response.
    pub struct EnvironmentFuture<F> {
        #[pin]
        pub(super) stage: Stage<F>,
        pub(super) shared: Arc<Shared>,
    }
}

pin_project! {
    #[project = StageProj]
    pub(super) enum Stage<F> {
        Inner { #[pin] response: F, then: Then },
        Leasing { #[pin] lock: FairLockFuture<CredentialId> },
        Ready { response: Option<Result<VaultResponse, VaultError>> },
    }
}

impl<F, E> Future for EnvironmentFuture<F>
where
    F: Future<Output = Result<VaultResponse, E>>,
    E: Into<BoxError>,
{
    type Output = Result<VaultResponse, VaultError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.stage.project() {
            StageProj::Inner { response, then } => {
                let response = ready!(response.poll(cx)).map_err(failed)?;
                Poll::Ready(this.shared.finish(response, std::mem::take(then)))
            }
            StageProj::Leasing { lock } => {
                lock.poll(cx).map(|guard| Ok(VaultResponse::Lease(RefreshLease::new(guard))))
            }
            StageProj::Ready { response } => response.take().map_or(Poll::Pending, Poll::Ready),
        }
    }
}

impl<F> fmt::Debug for EnvironmentFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentFuture").finish_non_exhaustive()
    }
}

//! A vault that fails, hangs or waits as a test plans it.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::Notify;
use tower::Service;
use tower_credentials::BoxError;
use tower_credentials::vault::{MemoryVault, VaultError, VaultRequest, VaultResponse};

use super::{BoxFuture, Journal};

/// What the vault does with a request.
#[derive(Clone)]
pub(crate) enum Plan {
    Pass,
    Fail,
    /// Says that what keeps its records can't be reached.
    Away,
    Hang,
    /// Does the work now, and responds once this is notified.
    Hold(Arc<tokio::sync::Notify>),
}

/// A vault that records its requests, and follows a plan. It tells nobody of changes, so pools ask it each second.
#[derive(Clone)]
pub(crate) struct Planned {
    inner: MemoryVault,
    pub(crate) calls: Journal<&'static str>,
    plan: Arc<dyn Fn(&'static str, usize) -> Plan + Send + Sync>,
}

impl Planned {
    /// Calls `plan` with the kind of each request, and the number of earlier requests of that kind.
    pub(crate) fn new(
        inner: &MemoryVault,
        plan: impl Fn(&'static str, usize) -> Plan + Send + Sync + 'static,
    ) -> Self {
        Self { inner: inner.clone(), calls: Journal::new(), plan: Arc::new(plan) }
    }

    /// A vault that only records.
    pub(crate) fn spy(inner: &MemoryVault) -> Self {
        Self::new(inner, |_, _| Plan::Pass)
    }

    /// A vault that holds one response until the notification. It is to the request of this kind that has `before`
    /// earlier ones.
    pub(crate) fn holding(
        inner: &MemoryVault,
        kind: &'static str,
        before: usize,
    ) -> (Self, Arc<Notify>) {
        let release = Arc::new(Notify::new());
        let hold = release.clone();
        let planned = Self::new(inner, move |asked, earlier| match asked == kind && earlier == before {
            true => Plan::Hold(hold.clone()),
            false => Plan::Pass,
        });
        (planned, release)
    }

    pub(crate) fn count(&self, kind: &str) -> usize {
        self.calls.all().iter().filter(|call| **call == kind).count()
    }
}

impl Service<VaultRequest> for Planned {
    type Response = VaultResponse;
    type Error = BoxError;
    type Future = BoxFuture<Result<VaultResponse, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: VaultRequest) -> Self::Future {
        let kind = match &request {
            VaultRequest::Load(_) => "load",
            VaultRequest::Get { .. } => "get",
            VaultRequest::ReplaceSecret { .. } => "replace",
            VaultRequest::Record { .. } => "record",
            VaultRequest::LeaseRefresh { .. } => "lease",
            VaultRequest::LeaseClient { .. } => "lease_client",
            VaultRequest::BeginRefresh { .. } => "begin",
            VaultRequest::Revision(_) => "revision",
            VaultRequest::Changes { .. } => "changes",
            VaultRequest::Watch(_) => return Box::pin(async { Ok(VaultResponse::Watch(None)) }),
            _ => "other",
        };
        let plan = (self.plan)(kind, self.count(kind));
        self.calls.push(kind);
        match plan {
            Plan::Fail => Box::pin(async { Err(VaultError::Key("as planned".into()).into()) }),
            Plan::Away => Box::pin(async { Err(VaultError::Unreachable("as planned".into()).into()) }),
            Plan::Hang => Box::pin(std::future::pending()),
            Plan::Pass => {
                let response = self.inner.call(request);
                Box::pin(async { Ok(response.await?) })
            }
            Plan::Hold(release) => {
                let response = self.inner.call(request);
                Box::pin(async move {
                    let response = response.await?;
                    release.notified().await;
                    Ok(response)
                })
            }
        }
    }
}

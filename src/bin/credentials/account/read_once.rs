//! Uses what a command has already read from the vault, so that it is not read twice.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower::Service;
use tower::util::Either;
use tower_credentials::vault::file::Loaded;
use tower_credentials::vault::{
    Listing, StoredPool, Vault, VaultError, VaultExt, VaultRequest, VaultResponse,
};
use tower_credentials::{BoxError, PoolKey};

use crate::context::AnyVault;

/// A vault that responds to the first load of a pool with what was read before. A pool that is opened with it is as it was
/// then, and learns by its revision what has changed since.
#[derive(Clone)]
pub(crate) struct ReadOnce<V> {
    vault: V,
    read: Arc<Mutex<BTreeMap<PoolKey, StoredPool>>>,
}

/// Reads the whole vault, for a command about all accounts. Returns the vault, whose pools are not read again, and the
/// accounts in it.
pub(crate) async fn read_all(vault: AnyVault) -> Result<(ReadOnce<AnyVault>, Listing), VaultError> {
    let files = match &vault {
        Either::Left(vault) => vault.files(),
        Either::Right(_) => None,
    };
    let (listing, pools) = match files {
        Some(files) => {
            let Loaded { listing, pools, .. } = files.load_all().await?;
            (listing, pools)
        }
        None => (vault.list().await?, BTreeMap::new()),
    };
    Ok((ReadOnce { vault, read: Arc::new(Mutex::new(pools)) }, listing))
}

impl<V> ReadOnce<V> {
    /// Wraps a vault of which nothing was read yet.
    pub(crate) fn new(vault: V) -> Self {
        Self { vault, read: Arc::default() }
    }

    /// Responds to the next load of this pool with what was read of it.
    pub(crate) fn keep(&self, key: &PoolKey, read: StoredPool) {
        self.read().insert(key.clone(), read);
    }

    /// Forgets what was read and not asked for.
    pub(crate) fn forget(&self) {
        self.read().clear();
    }

    fn read(&self) -> MutexGuard<'_, BTreeMap<PoolKey, StoredPool>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, request: &VaultRequest) -> Option<VaultResponse> {
        match request {
            VaultRequest::Load(key) => self.read().remove(key).map(VaultResponse::Pool),
            _ => None,
        }
    }
}

impl<V: Vault> Service<VaultRequest> for ReadOnce<V> {
    type Response = VaultResponse;
    type Error = BoxError;
    type Future = ResponseFuture<V::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.vault.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: VaultRequest) -> ResponseFuture<V::Future> {
        match self.take(&request) {
            Some(response) => ResponseFuture::Ready { response: Some(response) },
            None => ResponseFuture::Vault { future: self.vault.call(request) },
        }
    }
}

pin_project! {
    /// A vault's response: one that was read before, or that of the vault itself.
    #[project = ResponseFutureProj]
    pub(crate) enum ResponseFuture<F> {
        Ready { response: Option<VaultResponse> },
        Vault { #[pin] future: F },
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<VaultResponse, E>>,
    E: Into<BoxError>,
{
    type Output = Result<VaultResponse, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ResponseFutureProj::Ready { response } => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
            ResponseFutureProj::Vault { future } => future.poll(cx).map_err(Into::into),
        }
    }
}

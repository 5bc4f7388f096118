//! Uses what a command has already read from the vault, so that it is not read twice.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
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

/// A vault that responds to the first load of a pool, and to the first list, with what was read before. A pool that is opened
/// with it is as it was then, and learns by its revision what has changed since.
#[derive(Clone)]
pub(crate) struct ReadOnce<V> {
    vault: V,
    read: Arc<Mutex<Read>>,
}

#[derive(Default)]
struct Read {
    listing: Option<Listing>,
    pools: BTreeMap<PoolKey, StoredPool>,
}

/// Reads the whole vault, for a command about all accounts.
pub(crate) async fn read_all(vault: AnyVault) -> Result<ReadOnce<AnyVault>, VaultError> {
    let read = match &vault {
        Either::Left(vault) => match vault.files() {
            Some(files) => {
                let Loaded { listing, pools, .. } = files.load_all().await?;
                Read { listing: Some(listing), pools }
            }
            None => Read { listing: Some(vault.list().await?), pools: BTreeMap::new() },
        },
        Either::Right(_) => Read::default(),
    };
    Ok(ReadOnce { vault, read: Arc::new(Mutex::new(read)) })
}

impl<V> ReadOnce<V> {
    /// Uses what was read of the pool; if nothing was, the vault is asked.
    pub(crate) fn new(vault: V, key: &PoolKey, read: Option<StoredPool>) -> Self {
        let pools = read.map(|stored| (key.clone(), stored)).into_iter().collect();
        Self { vault, read: Arc::new(Mutex::new(Read { listing: None, pools })) }
    }

    fn take(&self, request: &VaultRequest) -> Option<VaultResponse> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match request {
            VaultRequest::Load(key) => read.pools.remove(key).map(VaultResponse::Pool),
            VaultRequest::List => read.listing.take().map(VaultResponse::List),
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

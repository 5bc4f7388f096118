//! A vault that counts its `Record` requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tower::Service;
use tower_credentials::vault::{Vault, VaultRequest};

#[derive(Clone)]
pub(crate) struct CountingVault<V> {
    inner: V,
    records: Arc<AtomicU64>,
}

impl<V: Vault> CountingVault<V> {
    pub(crate) fn new(inner: V) -> Self {
        Self { inner, records: Arc::default() }
    }

    pub(crate) fn records(&self) -> Arc<AtomicU64> {
        self.records.clone()
    }
}

impl<V: Vault> Service<VaultRequest> for CountingVault<V> {
    type Response = V::Response;
    type Error = V::Error;
    type Future = V::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), V::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: VaultRequest) -> V::Future {
        if let VaultRequest::Record { .. } = request {
            self.records.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.call(request)
    }
}

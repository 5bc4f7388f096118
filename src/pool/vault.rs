//! The vault as the pool calls it.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::counters::VaultErrors;
use crate::vault::{Vault, VaultError, VaultRequest};

/// A vault with its error converted to a [`VaultError`], whatever layers are around it. Its failures are counted.
#[derive(Clone)]
pub(super) struct PoolVault<V> {
    inner: V,
    errors: VaultErrors,
}

impl<V> PoolVault<V> {
    pub(super) fn new(inner: V, errors: VaultErrors) -> Self {
        Self { inner, errors }
    }
}

impl<V: Vault> Service<VaultRequest> for PoolVault<V> {
    type Response = V::Response;
    type Error = VaultError;
    type Future = PoolVaultFuture<V::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        self.inner.poll_ready(cx).map_err(|error| counted(error, &self.errors))
    }

    fn call(&mut self, request: VaultRequest) -> Self::Future {
        PoolVaultFuture { inner: self.inner.call(request), errors: self.errors.clone() }
    }
}

fn counted<E: Into<crate::BoxError>>(error: E, errors: &VaultErrors) -> VaultError {
    let error = VaultError::from(error.into());
    errors.count(&error);
    error
}

pin_project! {
    pub(super) struct PoolVaultFuture<F> {
        #[pin]
        inner: F,
        errors: VaultErrors,
    }
}

impl<F, T, E> Future for PoolVaultFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<crate::BoxError>,
{
    type Output = Result<T, VaultError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.inner.poll(cx).map_err(|error| counted(error, this.errors))
    }
}

//! What the macros expand to, so that a backend's crate needs no runtime of its own.

use std::future::Future;

use tokio::runtime::Builder;

/// A vault to test, and something that must live as long; or `None`, if this system has no such vault.
pub trait Made<V, A> {
    /// Returns them, if there are any.
    fn or_none(self) -> Option<(V, A)>;
}

impl<V, A> Made<V, A> for (V, A) {
    fn or_none(self) -> Option<(V, A)> {
        Some(self)
    }
}

impl<V, A> Made<V, A> for Option<(V, A)> {
    fn or_none(self) -> Option<(V, A)> {
        self
    }
}

/// Runs a test to its end, on this thread.
pub fn block_on(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("the system starts a runtime").block_on(test);
}

/// Seals the secrets of a backend with a key of its own.
pub fn sealed<B>(backend: B) -> crate::vault::seal::Seal<B> {
    crate::vault::seal::Seal::new(backend, &crate::vault::key::VaultKey::generate())
}

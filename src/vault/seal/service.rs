//! The layer and the service.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::blob::Sealed;
use super::future::{SealFuture, backend_failed};
use super::rules::{Rules, VaultId};
use super::seals::{Seals, UnboundAttributes};
use crate::BoxError;
use crate::accessors::accessors;
use crate::credential::CredentialId;
use crate::vault::key::{KeyId, VaultKey};
use crate::vault::{VaultError, VaultRequest, VaultResponse};

/// Seals secrets on their way into a backend and opens them on their way out; see [the module](super).
#[derive(Clone)]
pub struct SealLayer {
    seals: Arc<Seals>,
}

impl SealLayer {
    /// Returns a layer that seals and opens with this key.
    pub fn new(key: &VaultKey) -> Self {
        Self::with_names(key, |id| id.to_string())
    }

    /// Like [`SealLayer::new`], with `name` for a damaged record's name in [`Damage`](crate::vault::Damage), such as a file's
    /// path. Defaults to the credential's id.
    pub fn with_names(
        key: &VaultKey,
        name: impl Fn(CredentialId) -> String + Send + Sync + 'static,
    ) -> Self {
        Self { seals: Arc::new(Seals::new(key, name)) }
    }

    /// Sets the id of the backend: a secret that was sealed for another backend does not open. Without an id, a secret of
    /// another backend with the same key does.
    #[must_use]
    pub fn vault(self, id: VaultId) -> Self {
        let rules = Rules { vault: Some(id), ..Rules::default() };
        Self { seals: Arc::new(self.seals.with_rules(rules)) }
    }

    /// Sets what [`Seal::reseal`] does with attributes that no seal has bound. Defaults to [`UnboundAttributes::Ask`].
    #[must_use]
    pub fn unbound_attributes(self, unbound: UnboundAttributes) -> Self {
        let mut seals = Seals::clone(&self.seals);
        seals.set_unbound(unbound);
        Self { seals: Arc::new(seals) }
    }

    /// Adds a key that opens what it has sealed before; nothing is sealed with it any more. It is no longer needed once
    /// [`Seal::reseal`] was called for every credential.
    #[must_use]
    pub fn old_key(self, key: &VaultKey) -> Self {
        Self { seals: Arc::new(self.seals.with_old(key)) }
    }
}

impl fmt::Debug for SealLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealLayer").finish_non_exhaustive()
    }
}

impl<V> Layer<V> for SealLayer {
    type Service = Seal<V>;

    fn layer(&self, inner: V) -> Seal<V> {
        Seal { inner, seals: self.seals.clone() }
    }
}

/// A vault over a backend of sealed secrets; see [the module](super).
///
/// A damaged record is left out of a loaded pool and named in it. If nothing of a pool opens, because it was sealed with
/// another key, the error is [`VaultError::Key`].
#[derive(Clone)]
pub struct Seal<V> {
    pub(super) inner: V,
    pub(super) seals: Arc<Seals>,
}

accessors!(Seal, inner);

impl<V> Seal<V> {
    /// Returns a vault over `inner`, with this key.
    pub fn new(inner: V, key: &VaultKey) -> Self {
        SealLayer::new(key).layer(inner)
    }

    /// Returns the id of the key that seals.
    pub fn key_id(&self) -> KeyId {
        self.seals.key_id()
    }

    /// Returns a vault over `inner` with these keys and rules, which may be shared.
    #[cfg(feature = "file")]
    pub(crate) fn with_seals(inner: V, seals: Arc<Seals>) -> Self {
        Self { inner, seals }
    }
}

impl<V: fmt::Debug> fmt::Debug for Seal<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<V> Service<VaultRequest> for Seal<V>
where
    V: Service<VaultRequest<Sealed>, Response = VaultResponse<Sealed>, Error: Into<BoxError>> + Clone,
{
    type Response = VaultResponse;
    type Error = VaultError;
    type Future = SealFuture<V>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        self.inner.poll_ready(cx).map_err(backend_failed)
    }

    fn call(&mut self, request: VaultRequest) -> SealFuture<V> {
        SealFuture::new(&mut self.inner, self.seals.clone(), request)
    }
}

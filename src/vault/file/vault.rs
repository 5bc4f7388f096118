//! The vault: a backend in a directory, and the keys that seal it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::directory::Directory;
use super::future::FileFuture;
use super::opening;
use super::ring::Ring;
use super::store::Store;
use crate::credential::CredentialId;
use crate::vault::key::KeyId;
use crate::vault::{VaultError, VaultRequest, VaultResponse};

/// A vault in a directory, sealed. A clone is the same vault; so is what another process opens on the
/// same directory with the same key.
///
/// It must be called within a tokio runtime that has its time enabled.
///
/// ```no_run
/// use tower_credentials::vault::file::FileVault;
/// use tower_credentials::vault::key::FileKey;
///
/// # async fn run() -> Result<(), tower_credentials::vault::VaultError> {
/// let key = FileKey::new("/home/me/.config/example/vault.key");
/// let vault = FileVault::open_from("/home/me/.config/example/vault", key).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FileVault {
    pub(super) directory: Directory,
    pub(super) ring: Arc<Ring>,
}

impl FileVault {
    /// Whether there is a vault in the directory, or what is left of one. A short look at the disk, which makes
    /// nothing.
    pub fn is_at(directory: impl AsRef<Path>) -> bool {
        opening::is_vault(directory.as_ref())
    }

    /// Sees whether a secret could be stored now, for whoever is about to have a person get one: there is room, and the
    /// vault is not mounted read-only. It leaves nothing behind.
    ///
    /// # Errors
    /// As a secret that is stored would have.
    pub async fn check_writable(&self) -> Result<(), VaultError> {
        self.directory.work(Store::check_writable).await
    }

    /// Takes off the disk what the pools' logs still say of these removed credentials, their labels above all, which are
    /// email addresses often. Lines about a credential that is [removed](crate::vault::VaultExt::remove) stay until the log
    /// is next written anew by itself, which takes a while; and of a record that could not be read, no pool has been told.
    /// Once after several were removed is enough. A credential that is still there is left alone.
    ///
    /// # Errors
    /// When a log can't be written; the others are forgotten all the same if it is called again.
    pub async fn forget_removed(&self, ids: &[CredentialId]) -> Result<(), VaultError> {
        let ids: Arc<[_]> = ids.into();
        self.directory.work(move |store| store.forget_removed(&ids)).await
    }

    /// The vault's directory.
    pub fn directory(&self) -> &Path {
        self.directory.store().root()
    }

    /// Trusts a key no more that sealed the vault before, for good: what was sealed with it is let in by nobody, not even as
    /// [restored](FileVaultBuilder::restored). For a key that somebody else may have.
    ///
    /// # Errors
    /// [`VaultError::Key`] where it is one of the vault's own keys, and where the vault is of an older version and was not
    /// [sealed anew](Self::reseal); or when the vault cannot be written.
    pub async fn revoke(&self, key: KeyId) -> Result<(), VaultError> {
        self.directory.work(move |store| store.revoke(key)).await
    }
}

impl fmt::Debug for FileVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileVault").field("directory", &self.directory()).finish_non_exhaustive()
    }
}

impl Service<VaultRequest> for FileVault {
    type Response = VaultResponse;
    type Error = VaultError;
    type Future = FileFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        self.directory.poll_ready(cx)
    }

    fn call(&mut self, request: VaultRequest) -> FileFuture {
        FileFuture::new(self.directory.clone(), self.ring.clone(), request)
    }
}

//! The vault: a backend in a directory, and the keys that seal it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::busy::Busy;
use super::directory::Directory;
use super::future::FileFuture;
use super::opening;
use super::ring::Ring;
use super::store::Store;
use crate::credential::CredentialId;
use crate::history::{self, History};
use crate::vault::key::KeyId;
use crate::vault::{VaultError, VaultRequest, VaultResponse};

/// A sealed vault in a directory. A clone is the same vault, and so is one that another process opens in the same directory
/// with the same key.
///
/// It must be called within a tokio runtime with time enabled.
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
    /// Returns whether there is a vault in the directory, or the remains of one. A short look at the disk; makes nothing.
    pub fn is_at(directory: impl AsRef<Path>) -> bool {
        opening::is_vault(directory.as_ref())
    }

    /// Checks that the directories of the vault may be written to. A short look at the disk: it takes no lock, makes nothing,
    /// and does not see that the disk is full. [`check_writable`](Self::check_writable) sees that, too.
    ///
    /// # Errors
    /// [`VaultError::Io`] if a directory can't be written to: it is mounted read-only, or another user's.
    pub fn look_writable(directory: impl AsRef<Path>) -> Result<(), VaultError> {
        opening::look_writable(directory.as_ref())
    }

    /// Checks that a secret could be stored now: there is room, and the vault is not mounted read-only. For programs that are
    /// about to let somebody sign in. Leaves nothing behind.
    ///
    /// # Errors
    /// The errors that storing a secret would have.
    pub async fn check_writable(&self) -> Result<(), VaultError> {
        self.directory.work(Store::check_writable).await
    }

    /// Erases from the pools' logs what they still say about these removed credentials, such as labels, which are often email
    /// addresses. Lines about a credential that was [removed](crate::vault::VaultExt::remove) otherwise stay until the next
    /// compaction of the log, which may be much later. If the record could not be read, its pool does not even know that it
    /// was removed. Lines of the [history](Self::history) about them are erased, too. Call it once after several were removed.
    /// Credentials that are still there are not touched.
    ///
    /// # Errors
    /// If a log can't be written; another call erases the rest.
    pub async fn forget_removed(&self, ids: &[CredentialId]) -> Result<(), VaultError> {
        let ids: Arc<[_]> = ids.into();
        let forget = move |store: &Store| {
            store.forget_removed(&ids)?;
            match history::forget(store.root(), &ids)? {
                Some(held) => Err(Busy::new(&held).into()),
                None => Ok(()),
            }
        };
        self.directory.work(forget).await
    }

    /// Returns the history of the vault's accounts.
    pub fn history(&self) -> History {
        History::of(self.directory())
    }

    /// Returns the vault's directory.
    pub fn directory(&self) -> &Path {
        self.directory.store().root()
    }

    /// Revokes a key that sealed the vault before, for good: nothing that was sealed with it is admitted, not even as
    /// [restored](super::FileVaultBuilder::restored). For a key that somebody else may have.
    ///
    /// # Errors
    /// [`VaultError::Key`] if it is one of the vault's own keys, or if the vault has an older version and was not
    /// [resealed](Self::reseal); or if the vault cannot be written.
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

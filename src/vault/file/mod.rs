//! The vault in a directory, sealed.
//!
//! ```text
//! records/<id>.json            a credential: its metadata in clear, its secret sealed
//! pools/<provider>+<namespace>.json   the order, the cooldowns and the health of a pool
//! leases/<id>.lock             locked by whoever refreshes the credential
//! lock                         locked around every read and change
//! ```
//!
//! Directories have mode 0700, files 0600. A file is replaced whole: written beside the old one, then
//! renamed. A record is synced to the disk before the vault answers; a pool's file is not, so cooldowns
//! outlive a killed process, but not always a power cut.
//!
//! The locks are the operating system's (`flock`), which a process that dies drops by itself; lock files
//! are never removed. All file work runs on tokio's threads for blocking work.
//!
//! What can't be read is reported by its file's name and left as it is. A damaged record stops no other
//! credential. A damaged file of a pool stops that pool's order and cooldowns from being read or changed,
//! but no new secret from being saved.

mod directory;
mod lock;
mod name;
mod pool;
mod record;
mod store;

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::key::VaultKey;
use super::seal::{Seal, SealFuture, SealLayer};
use super::{VaultError, VaultRequest, VaultResponse};
use directory::Directory;
use store::Store;

/// A vault in a directory, sealed. A clone is the same vault; so is what another process opens on the
/// same directory with the same key.
///
/// It must be called within a tokio runtime.
///
/// ```no_run
/// use tower_credentials::vault::file::FileVault;
/// use tower_credentials::vault::key::VaultKey;
///
/// # async fn run() -> Result<(), tower_credentials::vault::VaultError> {
/// let key = VaultKey::load_or_create("/home/me/.config/example/vault.key").await?;
/// let vault = FileVault::open("/home/me/.config/example/vault", &key).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FileVault {
    inner: Seal<Directory>,
}

impl FileVault {
    /// Opens the vault in `directory`; one that is missing is made. Temporary files that a killed process
    /// left are removed. Modes of ours that are too wide are narrowed, and a `tracing` warning says so;
    /// the mode of `directory` itself only if it holds nothing but the vault.
    ///
    /// # Errors
    /// [`VaultError::Key`] if there are records and all were sealed with another key;
    /// [`VaultError::Io`] if a directory or a file can't be made or read, or if the file system does not
    /// lock.
    pub async fn open(directory: impl Into<PathBuf>, key: &VaultKey) -> Result<Self, VaultError> {
        let (root, key_id) = (directory.into(), key.id());
        let shown = root.clone();
        let open = tokio::task::spawn_blocking(move || Store::open(root, key_id)).await;
        let store = Arc::new(directory::finished(open, &shown)?);
        let names = store.clone();
        let seal = SealLayer::with_names(key, move |id| names.record_path(id).display().to_string());
        Ok(Self { inner: seal.layer(Directory::new(store)) })
    }

    /// The vault's directory.
    pub fn directory(&self) -> &Path {
        self.inner.get_ref().root()
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
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: VaultRequest) -> FileFuture {
        FileFuture { inner: self.inner.call(request) }
    }
}

/// The answer of a [`FileVault`]. Dropped before it is there, it leaves a change that has begun to be
/// finished.
#[must_use = "a future does nothing unless polled"]
pub struct FileFuture {
    inner: SealFuture<Directory>,
}

impl Future for FileFuture {
    type Output = Result<VaultResponse, VaultError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

impl fmt::Debug for FileFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileFuture").finish_non_exhaustive()
    }
}

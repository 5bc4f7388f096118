//! A vault in a temporary directory, and its key.

use std::path::PathBuf;

use tempfile::TempDir;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;

pub(crate) struct Place {
    pub(crate) temporary: TempDir,
    pub(crate) key: VaultKey,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { temporary: TempDir::new().unwrap(), key: VaultKey::generate() }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.temporary.path().join("vault")
    }

    pub(crate) async fn open(&self) -> FileVault {
        FileVault::open(self.root(), &self.key).await.unwrap()
    }
}

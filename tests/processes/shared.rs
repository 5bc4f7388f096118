//! The vault of files that the tests of `many_processes` share.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{CredentialId, PoolKey};

use crate::children::{self, Child, DEADLINE, Job};
use crate::place::Place;

/// A vault that is open.
pub(crate) type Opened = FileVault;

/// A vault that processes share.
pub(crate) struct Shared(Place);

impl Shared {
    /// Always there, unlike an engine.
    pub(crate) fn new() -> Option<Self> {
        Some(Self(Place::new()))
    }

    pub(crate) async fn open(&self) -> FileVault {
        patiently(&self.0.root(), &self.0.key).await.unwrap()
    }

    /// Opens it as a process that waits for no other one.
    pub(crate) async fn open_impatiently(&self) -> FileVault {
        let soon = Duration::from_millis(50);
        let builder = FileVault::builder(self.0.root()).lock_timeout(soon).lease_timeout(soon);
        builder.open(&self.0.key).await.unwrap()
    }

    /// Lets a child find the vault.
    pub(crate) fn found_by(&self, job: Job) -> Job {
        job.vault(&self.0.root(), &self.0.key)
    }

    /// Opens another vault at the same place.
    pub(crate) async fn open_another(
        &self,
        name: &str,
        key: &VaultKey,
    ) -> Result<FileVault, VaultError> {
        patiently(&self.0.root().with_file_name(name), key).await
    }

    /// Returns how many records are stored in that vault.
    pub(crate) fn records_of_another(&self, name: &str, _: &PoolKey) -> usize {
        fs::read_dir(self.0.root().with_file_name(name).join("records")).unwrap().count()
    }

    /// Returns a record as it is stored.
    pub(crate) fn record(&self, _: &PoolKey, id: CredentialId) -> Vec<u8> {
        fs::read(self.0.root().join(format!("records/{id}.json"))).unwrap()
    }

    /// Makes sure that nobody else gets the lease that this child holds.
    pub(crate) async fn is_leased_by(&self, pool: &PoolKey, id: CredentialId, holder: &Child) {
        let error = self.open_impatiently().await.lease_refresh(pool, id).await.unwrap_err();
        let VaultError::Locked { holder: named, .. } = &error else { panic!("{error:?}") };
        if cfg!(target_os = "linux") {
            assert_eq!(*named, Some(holder.id()), "{error}");
        }
    }

    /// Returns how many files there are that a change makes and removes.
    pub(crate) fn leftovers(&self) -> usize {
        children::temporary_files(&self.0.root()).len()
    }
}

/// A child's side: opens the vault that it shares.
pub(crate) async fn opened() -> FileVault {
    patiently(&children::path("VAULT"), &children::key("KEY")).await.unwrap()
}

/// A child's side: opens another vault at the same place.
pub(crate) async fn open_another(name: &str, key: &VaultKey) -> Result<FileVault, VaultError> {
    patiently(&children::path("VAULT").with_file_name(name), key).await
}

/// Opens a vault whose requests wait for a lock as long as a test waits: of many writers on a busy machine one may be unlucky.
async fn patiently(directory: &Path, key: &VaultKey) -> Result<FileVault, VaultError> {
    FileVault::builder(directory).lock_timeout(DEADLINE).open(key).await
}

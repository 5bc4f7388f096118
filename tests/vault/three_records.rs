//! A vault with three records in a temporary directory, whose files a test damages or checks.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tower_credentials::standing::{Change, Cooldown, Outcome, Reason};
use tower_credentials::vault::VaultError;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::{Credential, CredentialId, PoolKey, Secret, Timestamp};

use crate::vault_contract::pool;

/// The place of the vault. Records 1 and 2 are of one pool, 3 is of another.
pub(crate) struct Place {
    pub(crate) temporary: TempDir,
    pub(crate) key: VaultKey,
}

pub(crate) fn id(number: u8) -> CredentialId {
    CredentialId::from_bytes([number * 0x11; 16])
}

pub(crate) fn other_pool() -> PoolKey {
    PoolKey::with_namespace("example", "other")
}

/// The credential of the record with this number.
pub(crate) fn credential(number: u8, key: impl Into<String>) -> Credential {
    let pool = if number == 3 { other_pool() } else { pool() };
    let mut credential = Credential::new(pool, format!("l{number}"), Secret::api_key(key.into()));
    credential.metadata.id = id(number);
    credential
}

pub(crate) fn cooled(number: u8, until: u64) -> Outcome {
    let [until, set_at] = [until, 1].map(Timestamp::from_millis);
    let cooldown =
        Cooldown { until, set_at, reason: Reason::Limited, scope: None, generation: None, cause: None };
    let change = Change::CooledDown { cooldown, failure: false, to_back: false };
    Outcome { id: id(number), change }
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Puts a file with these bytes in place of the one at `path`, as another process would.
pub(crate) fn replace(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    set_mode(&new, 0o600);
    fs::rename(new, path).unwrap();
}

impl Place {
    pub(crate) fn root(&self) -> PathBuf {
        self.temporary.path().join("vault")
    }

    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub(crate) fn record(&self, number: u8) -> PathBuf {
        self.file(&format!("records/{}.json", id(number)))
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.file("pools/example+default.log")
    }

    pub(crate) async fn try_open(&self) -> Result<FileVault, VaultError> {
        FileVault::open(self.root(), &self.key).await
    }

    pub(crate) async fn open(&self) -> FileVault {
        self.try_open().await.unwrap()
    }

    /// Edits a JSON file of the vault.
    pub(crate) fn edit(&self, path: &Path, change: impl FnOnce(&mut Value)) {
        let mut json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        change(&mut json);
        replace(path, &serde_json::to_vec(&json).unwrap());
    }
}

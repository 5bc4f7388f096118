//! A backup: all accounts of a vault in one sealed file, under a key of its own.
//!
//! A copy of a vault's directory needs the vault's key; a backup needs a passphrase, or a [recovery key](VaultKey) that was
//! made for it. It has each account's secret, label and attributes, the order of each pool, the tiers and the quotas that a
//! person has set, and which accounts are paused.
//! Cooldowns and verdicts of vendors are left out: they are outdated when the backup is read.
//!
//! ```
//! use tower_credentials::vault::backup::{Backup, Lock};
//! use tower_credentials::vault::{MemoryVault, VaultExt};
//! use tower_credentials::{Credential, PoolKey, Secret};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_credentials::BoxError> {
//! use tower_credentials::vault::key::VaultKey;
//!
//! let vault = MemoryVault::new();
//! vault.put(Credential::new(PoolKey::new("example"), "work", Secret::api_key("sk-1"))).await?;
//! let recovery = VaultKey::generate();
//! let file = Backup::of(&vault).await?.seal(&Lock::Key(&recovery))?;
//!
//! let other = MemoryVault::new();
//! let restored = Backup::open(&file, &Lock::Key(&recovery))?.restore(&other).await?;
//! assert_eq!(restored.len(), 1);
//! assert_eq!(other.list().await?.credentials[0].label.as_ref(), "work");
//! # Ok(())
//! # }
//! ```
//!
//! The file is documented in `specs/vault-format.md`.

mod error;
mod file;
mod restore;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::key::{KeyId, VaultKey};
use super::{Damage, Vault, VaultError, VaultExt};
use crate::clock::Timestamp;
use crate::credential::{Metadata, Secret};
use crate::secret::SecretString;
use crate::standing::Quota;

pub use error::BackupError;
pub use restore::{Restored, RestoredAs};

/// All accounts of a vault, with their secrets.
#[non_exhaustive]
pub struct Backup {
    /// When it was made.
    pub created_at: Timestamp,
    accounts: Vec<Account>,
    /// Records that could not be read, and so are missing here. Empty for a backup that was opened from a file.
    pub damaged: Vec<Damage>,
}

/// One account: by pool, and in each pool in the order that a person has set.
#[derive(Clone, Serialize, Deserialize)]
struct Account {
    metadata: Metadata,
    secret: Secret,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    paused: bool,
    /// The tier that a person has set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tier: Option<u8>,
    /// The quota that a person has set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota: Option<Quota>,
}

/// The key or passphrase that seals a backup and opens it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Lock<'a> {
    /// A passphrase. Anyone who has the file can try as many as they like, so it must be long.
    Passphrase(&'a SecretString),
    /// A key that was made for the backup, to be kept apart from it.
    Key(&'a VaultKey),
}

/// The kind of [`Lock`] that sealed a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealedBy {
    /// A passphrase.
    Passphrase,
    /// The key with this id.
    Key(KeyId),
}

impl Backup {
    /// Reads every account of a vault. Records that do not open are left out and [named](Self::damaged).
    ///
    /// # Errors
    /// If the vault, or a whole pool of it, can't be read.
    pub async fn of(vault: &impl Vault) -> Result<Self, VaultError> {
        let listing = vault.list().await?;
        let pools: BTreeSet<_> =
            listing.credentials.into_iter().map(|credential| credential.pool).collect();
        let (mut accounts, mut damaged) = (Vec::new(), listing.damaged);
        for pool in pools {
            let mut stored = vault.load_pool(pool).await?;
            damaged.extend(stored.damaged);
            // A limit that has moved an account to the back is outdated when the backup is read.
            let place = |id| stored.standings.preferred.iter().position(|other| *other == id);
            stored.credentials.sort_by_key(|record| place(record.metadata.id).unwrap_or(usize::MAX));
            for record in stored.credentials {
                let standing = stored.standings.credentials.get(&record.metadata.id);
                accounts.push(Account {
                    paused: standing.is_some_and(|standing| standing.paused),
                    tier: standing.and_then(|standing| standing.tier),
                    quota: standing.and_then(|standing| standing.quota.clone()),
                    metadata: record.metadata,
                    secret: record.secret,
                });
            }
        }
        damaged.sort_by(|one, other| one.record.cmp(&other.record));
        damaged.dedup_by(|one, other| one.record == other.record);
        Ok(Self { created_at: super::now(), accounts, damaged })
    }

    /// Returns the metadata of the accounts in it.
    pub fn accounts(&self) -> impl Iterator<Item = &Metadata> {
        self.accounts.iter().map(|account| &account.metadata)
    }

    /// Returns what a file was sealed with, and so what opens it.
    ///
    /// # Errors
    /// [`BackupError::NoBackup`] and [`BackupError::Newer`].
    pub fn sealed_by(file: &[u8]) -> Result<SealedBy, BackupError> {
        file::sealed_by(file)
    }

    /// Seals the backup and returns the file's bytes. With a passphrase this takes a second, so call it on a thread for
    /// blocking work.
    ///
    /// # Errors
    /// [`BackupError::Failed`] if the system gives no random numbers or no memory.
    pub fn seal(&self, lock: &Lock<'_>) -> Result<Vec<u8>, BackupError> {
        file::seal(self, lock)
    }

    /// Opens a file. As slow as [`seal`](Self::seal).
    ///
    /// # Errors
    /// [`BackupError::NotOpened`] for a wrong passphrase or a file that was changed, [`BackupError::OtherLock`] for
    /// another key, and [`BackupError::NoBackup`] for a file that is not a backup.
    pub fn open(file: &[u8], lock: &Lock<'_>) -> Result<Self, BackupError> {
        file::open(file, lock)
    }
}

/// Shows no secrets.
impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backup")
            .field("created_at", &self.created_at)
            .field("accounts", &self.accounts.len())
            .field("damaged", &self.damaged)
            .finish()
    }
}

impl fmt::Debug for Lock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passphrase(_) => f.write_str("Passphrase"),
            Self::Key(key) => write!(f, "Key({})", key.id()),
        }
    }
}

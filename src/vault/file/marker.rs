//! The content of `key.json`: which key seals the vault, which vault it is, and how many seals were made.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::identity::{Identity, Vouched};
use super::record::{Versioned, WayOut, read_json};
use crate::vault::VaultError;
use crate::vault::disk;
use crate::vault::key::{KeyId, Signer};
use crate::vault::seal::Rules;

/// The file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    pub(super) version: u32,
    /// The key that seals from now on.
    pub(super) key_id: KeyId,
    /// Keys with which records may still be sealed while the vault is being resealed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) previous: Vec<KeyId>,
    /// The maximum number of seals that each key may have made.
    pub(super) seals: BTreeMap<KeyId, u64>,
    /// Since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vault: Option<Identity>,
}

/// The version from which the file says which vault it is.
pub(super) const IDENTIFIED: u32 = 2;

impl Marker {
    /// Reads the file; `None` if there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, VaultError> {
        let marker: Option<Self> = read_json(path, WayOut::Of(WAY_OUT))?;
        match marker {
            Some(Self { version: IDENTIFIED.., vault: None, .. }) => Err(Self::forged(path)),
            marker => Ok(marker),
        }
    }

    pub(super) fn key_id(&self) -> KeyId {
        self.key_id
    }

    pub(super) fn previous(&self) -> &[KeyId] {
        &self.previous
    }

    /// Returns which seals the vault admits.
    pub(super) fn rules(&self) -> Rules {
        self.vault.as_ref().map(Identity::rules).unwrap_or_default()
    }

    /// Returns the keys that may seal.
    pub(super) fn keys(&self) -> Vec<KeyId> {
        [self.key_id].iter().chain(&self.previous).copied().collect()
    }

    /// Whether those of the vault's keys that are among these vouch for what it says about itself.
    pub(super) fn is_vouched_for(&self, signers: &[Signer]) -> Vouched {
        match &self.vault {
            Some(vault) => vault.is_vouched_for(signers, &self.keys()),
            None => Vouched::Unknown,
        }
    }

    /// Returns the damage of a file that the keys do not vouch for.
    pub(super) fn forged(path: &Path) -> VaultError {
        disk::damaged(path, format!("it was changed by somebody without the vault's key; {WAY_OUT}"))
    }

    /// Returns the maximum number of seals that a key may have made.
    pub(super) fn seals(&self, key: KeyId) -> u64 {
        self.seals.get(&key).copied().unwrap_or(0)
    }
}

/// What to do if it cannot be read.
const WAY_OUT: &str = "it is kept under another name, and made again when the vault is opened; replace the vault's key then: \
                       credentials vault rotate-key";

impl Versioned for Marker {
    const NEWEST: u32 = IDENTIFIED;

    fn version(&self) -> u32 {
        self.version
    }
}

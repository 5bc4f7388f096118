//! What `key.json` says: which key seals the vault, which vault it is, and how many seals were made.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::identity::{Identity, Vouched};
use super::record::{Versioned, read_json};
use crate::vault::VaultError;
use crate::vault::disk;
use crate::vault::key::{KeyId, Signer};
use crate::vault::seal::Rules;

/// The file as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    pub(super) version: u32,
    /// The key that seals from now on.
    pub(super) key_id: KeyId,
    /// Keys under which records may still be sealed, while they are sealed anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) previous: Vec<KeyId>,
    /// How many seals were made under each key, at the most.
    pub(super) seals: BTreeMap<KeyId, u64>,
    /// Since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vault: Option<Identity>,
}

/// The version of the file that says which vault it is.
pub(super) const IDENTIFIED: u32 = 2;

impl Marker {
    /// Reads the file; `None` where there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, VaultError> {
        let marker: Option<Self> = read_json(path, WAY_OUT)?;
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

    /// Which seals the vault lets in.
    pub(super) fn rules(&self) -> Rules {
        self.vault.as_ref().map(Identity::rules).unwrap_or_default()
    }

    /// The keys that may seal.
    pub(super) fn keys(&self) -> Vec<KeyId> {
        [self.key_id].iter().chain(&self.previous).copied().collect()
    }

    /// Whether the vault's keys, as far as they are among these, vouch for what it says of itself.
    pub(super) fn is_vouched_for(&self, signers: &[Signer]) -> Vouched {
        match &self.vault {
            Some(vault) => vault.is_vouched_for(signers, &self.keys()),
            None => Vouched::Unknown,
        }
    }

    /// The file's damage where nobody vouches for it who should.
    pub(super) fn forged(path: &Path) -> VaultError {
        disk::damaged(path, format!("it was changed by somebody without the vault's key; {WAY_OUT}"))
    }

    /// How many seals a key has made, at the most.
    pub(super) fn seals(&self, key: KeyId) -> u64 {
        self.seals.get(&key).copied().unwrap_or(0)
    }
}

/// What helps where it can't be read.
const WAY_OUT: &str = "it is kept under another name, and made again when the vault is opened; replace the vault's key then: \
                       credentials vault rotate-key";

impl Versioned for Marker {
    const NEWEST: u32 = IDENTIFIED;

    fn version(&self) -> u32 {
        self.version
    }
}

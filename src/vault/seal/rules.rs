//! The rules by which a vault admits a sealed secret or bars it.

use std::fmt;

use crate::hex_id::hex_id;
use crate::random;
use crate::vault::Damage;
use crate::vault::key::KeyId;

/// A vault's permanent id: 128 random bits, written as 32 lower-case hexadecimal digits. A seal is bound to it, so a secret
/// that was sealed in one vault does not open in another, even with the same key. A copy of a whole vault has the same id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VaultId([u8; 16]);

impl VaultId {
    /// Returns a new random id.
    ///
    /// # Panics
    /// If the operating system gives no random numbers; nothing safe can be done without them.
    pub fn random() -> Self {
        Self(random::bytes())
    }

    /// Returns the id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the id.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

hex_id!(VaultId, InvalidVaultId, "a vault's id", "32");

/// Which seals a vault admits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The vault's id. A vault of a version before ids has none, nor has a backend that was given none.
    pub(crate) vault: Option<VaultId>,
    /// The oldest version of a seal in the vault.
    pub(crate) least: u32,
    /// Keys that the vault has given up.
    pub(crate) retired: Vec<KeyId>,
    /// Keys that are no longer trusted, whatever was sealed with them.
    pub(crate) revoked: Vec<KeyId>,
}

/// Why a sealed secret is not admitted, although its key may be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barred {
    Retired(KeyId),
    Revoked(KeyId),
    Older(u32),
    OtherVault(VaultId),
}

impl Rules {
    /// Checks whether a seal of this version and key is admitted. `restored` admits records that were put back from a backup.
    pub(super) fn admit(&self, version: u32, key: KeyId, restored: bool) -> Result<(), Barred> {
        if self.revoked.contains(&key) {
            return Err(Barred::Revoked(key));
        }
        if !restored && self.retired.contains(&key) {
            return Err(Barred::Retired(key));
        }
        if !restored && version < self.least {
            return Err(Barred::Older(version));
        }
        Ok(())
    }

    /// Checks whether a seal belongs to this vault; a seal without an id belongs to any.
    pub(super) fn is_of(&self, vault: Option<VaultId>) -> Result<(), Barred> {
        match vault.filter(|vault| self.vault != Some(*vault)) {
            Some(other) => Err(Barred::OtherVault(other)),
            None => Ok(()),
        }
    }
}

impl Barred {
    /// Returns the damage of a record that is barred.
    pub(super) fn damage(self, record: String) -> Damage {
        let may_be_restored = matches!(self, Self::Retired(_) | Self::Older(_));
        Damage { may_be_restored, ..Damage::new(record, self.to_string()).removable() }
    }
}

impl fmt::Display for Barred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const RESTORED: &str = "it was restored from a backup, or put there by somebody else; if it was you, reseal \
                                it as a restored record, else remove it";
        match self {
            Self::Retired(key) => {
                write!(f, "sealed with the key {key}, which this vault has given up: {RESTORED}")
            }
            Self::Revoked(key) => write!(
                f,
                "sealed with the key {key}, which was revoked: whoever has it may have made this; remove it, and \
                 sign in again"
            ),
            Self::Older(version) => write!(
                f,
                "sealed in the format {version}, and this vault has had no such seal any more: {RESTORED}"
            ),
            Self::OtherVault(vault) => write!(
                f,
                "it was sealed in another vault, {vault}, and copied here; remove it, and sign in again"
            ),
        }
    }
}

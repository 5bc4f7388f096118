//! What a vault says of itself, by which a sealed secret is let in or not.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::vault::key::KeyId;

/// A vault's name for life: 128 random bits, written as 32 lower-case hexadecimal digits. A seal is bound to it,
/// so that what was sealed in one vault opens in no other, whoever else has the key. A copy of a whole vault has
/// the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VaultId(u128);

impl VaultId {
    /// A new random id.
    ///
    /// # Panics
    /// Where the operating system has no random numbers to give; nothing safe can be done without.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
        Self::from_bytes(bytes)
    }

    /// The id made of these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The bytes of the id.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for VaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for VaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text was not 32 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidVaultId;

impl fmt::Display for InvalidVaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vault's id is 32 lower-case hexadecimal digits")
    }
}

impl std::error::Error for InvalidVaultId {}

impl FromStr for VaultId {
    type Err = InvalidVaultId;

    fn from_str(text: &str) -> Result<Self, InvalidVaultId> {
        let valid = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(valid) {
            return Err(InvalidVaultId);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidVaultId)
    }
}

impl Serialize for VaultId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VaultId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which seals a vault lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The vault; none has that of no version that knows of ids, and a backend that is given none.
    pub(crate) vault: Option<VaultId>,
    /// The oldest version of a seal that is in it.
    pub(crate) least: u32,
    /// Keys that it has given up.
    pub(crate) retired: Vec<KeyId>,
    /// Keys that are trusted no more, whatever was sealed with them.
    pub(crate) revoked: Vec<KeyId>,
}

/// Why a sealed secret is not let in, although its key may be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barred {
    Retired(KeyId),
    Revoked(KeyId),
    Older(u32),
    OtherVault(VaultId),
}

impl Rules {
    /// Whether a seal of this version and key is let in. `restored` are those that a person has put back.
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

    /// Whether a seal is of this vault; one that says nothing is of any.
    pub(super) fn is_of(&self, vault: Option<VaultId>) -> Result<(), Barred> {
        match vault.filter(|vault| self.vault != Some(*vault)) {
            Some(other) => Err(Barred::OtherVault(other)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Barred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const RESTORED: &str = "it was restored from a backup, or put there by somebody else; if it was you, seal \
                                it anew as one that was restored, else remove it";
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

//! A sealed secret, as a backend keeps it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::rules::VaultId;
use crate::vault::key::KeyId;

/// The version of the format that secrets are sealed in. Version 1 did not bind the attributes, and version 2 did not bind
/// the vault.
pub(super) const VERSION: u32 = 3;

/// A sealed secret, which a backend stores instead of the secret. Serialized as an object with the format's version, the
/// ids of the vault and the key in hexadecimal digits, and nonce and ciphertext in standard base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    pub(super) version: u32,
    /// The vault in which it was sealed; since version 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vault: Option<VaultId>,
    pub(super) key_id: KeyId,
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub(super) nonce: Vec<u8>,
    /// The tag of 16 bytes comes last.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub(super) ciphertext: Vec<u8>,
}

impl Sealed {
    /// Returns the version of the format.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether this crate knows the format. Of an unknown format, fields may be missing here.
    pub(crate) fn is_known(&self) -> bool {
        (1..=VERSION).contains(&self.version)
    }

    /// Returns the id of the vault in which it was sealed; `None` for seals of versions before 3.
    pub fn vault_id(&self) -> Option<VaultId> {
        self.vault
    }

    /// Returns the id of the key that opens it.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("version", &self.version)
            .field("vault", &self.vault)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Text;
    impl serde::de::Visitor<'_> for Text {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("base64")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
            STANDARD.decode(text).map_err(|_| E::custom("not base64"))
        }
    }
    deserializer.deserialize_str(Text)
}

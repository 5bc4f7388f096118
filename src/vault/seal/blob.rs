//! A sealed secret, as a backend keeps it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::cipher::VERSION;
use super::rules::VaultId;
use crate::vault::key::KeyId;

/// A sealed secret: what a backend keeps in a secret's place. Serialized as an object of the format's
/// version, the vault's and the key's id in hexadecimal digits, and nonce and ciphertext in standard base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    pub(super) version: u32,
    /// In which vault it was sealed; from version 3 on.
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
    /// The version of the format it is sealed in.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether this version knows the format. Of another one, fields may be missing here.
    pub(crate) fn is_known(&self) -> bool {
        (1..=VERSION).contains(&self.version)
    }

    /// In which vault it was sealed. Seals of versions before 3 don't say it.
    pub fn vault_id(&self) -> Option<VaultId> {
        self.vault
    }

    /// Which key opens it.
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

//! Signing with a vault's key what is stored in plain text.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::vault_key::{KeyId, VaultKey};
use crate::secret::leaving_no_copy;

/// Signs with a vault's key: HMAC with SHA-256 (RFC 2104), under a key that is derived from the vault's. It can't open
/// anything.
#[derive(Clone)]
pub(in crate::vault) struct Signer {
    id: KeyId,
    key: VaultKey,
}

impl Signer {
    pub(in crate::vault) fn new(key: &VaultKey) -> Self {
        Self { id: key.id(), key: key.derive(b"tower-credentials vault mac v1") }
    }

    /// Returns the id of the vault's key.
    #[cfg_attr(
        not(feature = "file"),
        allow(dead_code, reason = "only a directory's identity names its signers")
    )]
    pub(in crate::vault) fn id(&self) -> KeyId {
        self.id
    }

    /// Signs these fields. Each is preceded by its length, so different lists of fields never make the same bytes.
    pub(in crate::vault) fn sign(&self, fields: &[impl AsRef<[u8]>]) -> [u8; 32] {
        leaving_no_copy(|| self.mac(fields).finalize().into_bytes().into())
    }

    #[cfg_attr(
        not(feature = "file"),
        allow(dead_code, reason = "only a directory's identity is signed")
    )]
    /// Whether [`sign`](Self::sign) made this signature for the same fields; in constant time.
    pub(in crate::vault) fn is_signed(&self, fields: &[impl AsRef<[u8]>], signature: &[u8]) -> bool {
        leaving_no_copy(|| self.mac(fields).verify_slice(signature).is_ok())
    }

    fn mac(&self, fields: &[impl AsRef<[u8]>]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.as_bytes()).expect("HMAC takes keys of any length");
        for field in fields {
            let field = field.as_ref();
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_and_its_fields_alone() {
        let [one, two] = [1, 2].map(|byte| Signer::new(&VaultKey::from_bytes([byte; 32])));
        let signature = one.sign(&["ab", "c"]);
        assert!(one.is_signed(&["ab", "c"], &signature));
        assert!(!two.is_signed(&["ab", "c"], &signature));
        for other in [&["a", "bc"][..], &["abc"], &["ab", "c", ""], &[]] {
            assert!(!one.is_signed(other, &signature), "{other:?}");
        }
        assert!(!one.is_signed(&["ab", "c"], &signature[..16]));
    }
}

//! Sealing and opening one secret.

use std::io;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

use super::Sealed;
use crate::credential::{Metadata, Secret};
use crate::vault::key::{KeyId, VaultKey};
use crate::vault::{Damage, VaultError, check_kind};

/// The version of the format that secrets are sealed in.
const VERSION: u32 = 1;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;

pub(super) struct Cipher {
    aes: Aes256Gcm,
    key_id: KeyId,
}

/// Why a sealed secret does not open.
pub(super) enum Shut {
    OtherKey(KeyId),
    Damaged(&'static str),
}

impl Cipher {
    pub(super) fn new(key: &VaultKey) -> Self {
        Self { aes: Aes256Gcm::new(key.as_bytes().into()), key_id: key.id() }
    }

    pub(super) fn seal(&self, metadata: &Metadata, secret: &Secret) -> Result<Sealed, VaultError> {
        check_kind(metadata, secret)?;
        let failed =
            |what| VaultError::Key(format!("could not seal credential {}: {what}", metadata.id));
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| failed("the system gives no random numbers"))?;
        // Encrypted where it was written: no plain text is left in memory that was given back.
        let mut buffer = write_json(secret).map_err(|_| failed("it can't be written as JSON"))?;
        let data = additional_data(VERSION, metadata);
        self.aes
            .encrypt_in_place(&Nonce::from(nonce), &data, &mut *buffer)
            .map_err(|_| failed("the secret is too long"))?;
        let ciphertext = std::mem::take(&mut *buffer);
        Ok(Sealed { version: VERSION, key_id: self.key_id, nonce: nonce.to_vec(), ciphertext })
    }

    pub(super) fn open(&self, metadata: &Metadata, sealed: Sealed) -> Result<Secret, Shut> {
        if sealed.version != VERSION {
            return Err(Shut::Damaged(
                "it is sealed in a format that this version does not know; use a newer one",
            ));
        }
        if sealed.key_id != self.key_id {
            return Err(Shut::OtherKey(sealed.key_id));
        }
        let nonce: [u8; NONCE_LEN] = sealed.nonce.try_into().map_err(|_| DOES_NOT_OPEN)?;
        let mut buffer = Zeroizing::new(sealed.ciphertext);
        let data = additional_data(VERSION, metadata);
        self.aes
            .decrypt_in_place(&Nonce::from(nonce), &data, &mut *buffer)
            .map_err(|_| DOES_NOT_OPEN)?;
        // serde's own words may quote the secret, so they are not passed on.
        let secret = serde_json::from_slice(&buffer).map_err(|_| {
            Shut::Damaged("its secret is of a sort that this version does not know; use a newer one")
        })?;
        Ok(secret)
    }

    /// What `shut` means to whoever asked for this one credential.
    pub(super) fn error(&self, shut: Shut, record: String) -> VaultError {
        match shut {
            Shut::OtherKey(sealed_with) => wrong_key(sealed_with, self.key_id),
            Shut::Damaged(reason) => VaultError::Damaged(Damage::new(record, reason)),
        }
    }

    /// What `shut` means among other credentials that do open.
    pub(super) fn damage(&self, shut: Shut, record: String) -> Damage {
        match shut {
            Shut::OtherKey(sealed_with) => Damage::new(record, other_key(sealed_with, self.key_id)),
            Shut::Damaged(reason) => Damage::new(record, reason),
        }
    }
}

const DOES_NOT_OPEN: Shut = Shut::Damaged(
    "the secret does not open: it or the metadata beside it was changed or moved here; restore the \
     record from a backup, or remove the credential and sign in again",
);

/// The error where nothing opens, since the whole vault was sealed with another key.
pub(crate) fn wrong_key(sealed_with: KeyId, given: KeyId) -> VaultError {
    VaultError::Key(other_key(sealed_with, given))
}

fn other_key(sealed_with: KeyId, given: KeyId) -> String {
    format!(
        "sealed with the key {sealed_with}, but the key given is {given}; give the key {sealed_with}, in {} \
         or in the key file",
        VaultKey::VARIABLE
    )
}

/// Each field is preceded by its length, so no two lists of fields make the same bytes.
fn additional_data(version: u32, metadata: &Metadata) -> Vec<u8> {
    let fields: [&[u8]; 7] = [
        b"tower-credentials sealed secret",
        &version.to_be_bytes(),
        metadata.id.as_bytes(),
        metadata.pool.provider().as_bytes(),
        metadata.pool.namespace().as_bytes(),
        metadata.kind.as_str().as_bytes(),
        &metadata.generation.get().to_be_bytes(),
    ];
    let mut data = Vec::with_capacity(fields.iter().map(|field| 8 + field.len()).sum());
    for field in fields {
        data.extend_from_slice(&(field.len() as u64).to_be_bytes());
        data.extend_from_slice(field);
    }
    data
}

/// The secret as JSON, with room for the tag. Measured first, since a buffer that grows leaves copies of
/// itself behind in memory.
fn write_json(secret: &Secret) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let mut length = Count(0);
    serde_json::to_writer(&mut length, secret)?;
    let mut buffer = Zeroizing::new(Vec::with_capacity(length.0 + TAG_LEN));
    serde_json::to_writer(&mut *buffer, secret)?;
    Ok(buffer)
}

struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{Credential, CredentialId, Generation, Kind, PoolKey};
    use proptest::prelude::*;

    type Bound = (u32, [u8; 16], String, String, Kind, u64);

    fn bound() -> impl Strategy<Value = Bound> {
        // Few and short values, so that equal ones, and equal runs across a border, are common.
        let kind = prop_oneof![Just(Kind::OAuth), Just(Kind::Api), Just(Kind::Mcp)];
        (0..3u32, Just([7; 16]), "[ab]{0,3}", "[ab]{0,3}", kind, 0..3u64)
    }

    fn data(bound: &Bound) -> Vec<u8> {
        let (version, id, provider, namespace, kind, generation) = bound.clone();
        let pool = PoolKey::with_namespace(provider, namespace);
        let mut metadata = Credential::new(pool, "x", Secret::api_key("x")).metadata;
        metadata.id = CredentialId::from_bytes(id);
        metadata.kind = kind;
        metadata.generation = Generation::new(generation);
        additional_data(version, &metadata)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn additional_data_is_equal_only_for_equal_fields(one in bound(), two in bound()) {
            prop_assert_eq!(data(&one) == data(&two), one == two);
        }
    }

    #[test]
    fn the_plain_text_never_moves_while_it_is_written() {
        let secret = Secret::api_key("k\"\u{1}".repeat(500));
        let buffer = write_json(&secret).expect("a secret is JSON");
        assert_eq!(buffer.capacity(), buffer.len() + TAG_LEN);
    }
}

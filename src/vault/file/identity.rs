//! What a vault says of itself in `key.json`: its id, and which seals it lets in. Its keys vouch for it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::records::Seal;
use crate::vault::key::{KeyId, Signer};
use crate::vault::seal::{Rules, VaultId};

/// What the vault is, and what it has given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    id: VaultId,
    /// The oldest version of a seal that is in it.
    least: u32,
    /// Keys that sealed it before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retired: Vec<KeyId>,
    /// Keys that are trusted no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revoked: Vec<KeyId>,
    /// What each key vouches for all of this by, in base64.
    signatures: BTreeMap<KeyId, String>,
}

/// The version of a seal that is bound to its vault.
pub(super) const BOUND: u32 = 3;

/// What can be told of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vouched {
    /// One of the keys vouches for it.
    Yes,
    /// One of them should, and does not.
    No,
    /// None of the keys is its own.
    Unknown,
}

/// The records are of several vaults, so none can be told to be this one.
#[derive(Debug)]
pub(super) struct SeveralVaults(pub(super) Vec<VaultId>);

impl Identity {
    /// That of a vault of which nothing is known but what its records' seals say.
    pub(super) fn of(seals: &[Seal]) -> Result<Self, SeveralVaults> {
        let mut vaults: Vec<_> = seals.iter().filter_map(|seal| seal.vault).collect();
        vaults.sort_unstable();
        vaults.dedup();
        if vaults.len() > 1 {
            return Err(SeveralVaults(vaults));
        }
        // Where one seal is bound, those that are not may have been put there.
        let least = if seals.is_empty() || !vaults.is_empty() { BOUND } else { 1 };
        let id = vaults.first().copied().unwrap_or_else(VaultId::random);
        let (retired, revoked, signatures) = Default::default();
        Ok(Self { id, least, retired, revoked, signatures })
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            vault: Some(self.id),
            least: self.least,
            retired: self.retired.clone(),
            revoked: self.revoked.clone(),
        }
    }

    /// Takes this key back, if it was given up; whether it may be used.
    pub(super) fn take_back(&mut self, key: KeyId) -> bool {
        self.retired.retain(|retired| *retired != key);
        !self.revoked.contains(&key)
    }

    /// Gives these keys up: nothing is sealed with them any more.
    pub(super) fn retire(&mut self, keys: impl IntoIterator<Item = KeyId>) {
        for key in keys {
            if !self.retired.contains(&key) {
                self.retired.push(key);
            }
        }
    }

    /// Trusts this key no more.
    pub(super) fn revoke(&mut self, key: KeyId) {
        if !self.revoked.contains(&key) {
            self.revoked.push(key);
        }
    }

    /// No seal is of an older version than this any more.
    pub(super) fn raise(&mut self, least: u32) {
        self.least = self.least.max(least);
    }

    /// Has those of these keys vouch for it that are among `of`. What others of them have said before stays, and holds
    /// as long as it is of the same.
    pub(super) fn sign(&mut self, signers: &[Signer], of: &[KeyId]) {
        let fields = self.fields();
        self.signatures.retain(|key, _| of.contains(key));
        for signer in signers.iter().filter(|signer| of.contains(&signer.id())) {
            self.signatures.insert(signer.id(), STANDARD.encode(signer.sign(&fields)));
        }
    }

    /// Whether those of the vault's keys that are at hand vouch for it, each of them: a file that names another key as
    /// the present one may be anybody's.
    pub(super) fn is_vouched_for(&self, signers: &[Signer], keys: &[KeyId]) -> Vouched {
        let fields = self.fields();
        let mut signers = signers.iter().filter(|signer| keys.contains(&signer.id())).peekable();
        if signers.peek().is_none() {
            return Vouched::Unknown;
        }
        let is_signed = |signer: &Signer| {
            let signature = self.signatures.get(&signer.id());
            let signature = signature.and_then(|signature| STANDARD.decode(signature).ok());
            signature.is_some_and(|signature| signer.is_signed(&fields, &signature))
        };
        if signers.all(is_signed) { Vouched::Yes } else { Vouched::No }
    }

    fn fields(&self) -> Vec<Vec<u8>> {
        let text = |keys: &[KeyId]| keys.iter().map(KeyId::to_string).collect::<String>().into_bytes();
        vec![
            b"tower-credentials key.json".to_vec(),
            self.id.to_bytes().to_vec(),
            self.least.to_be_bytes().to_vec(),
            text(&self.retired),
            text(&self.revoked),
        ]
    }
}

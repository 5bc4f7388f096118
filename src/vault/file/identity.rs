//! What a vault says about itself in `key.json`: its id, and which seals it admits. Its keys vouch for it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::records::Seal;
use crate::vault::key::{KeyId, Signer};
use crate::vault::seal::{Rules, VaultId};

/// What the vault is, and what it no longer accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    id: VaultId,
    /// The oldest version of a seal in the vault.
    least: u32,
    /// Keys that sealed it before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retired: Vec<KeyId>,
    /// Keys that are no longer trusted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revoked: Vec<KeyId>,
    /// Each key's signature over all of this, in base64.
    signatures: BTreeMap<KeyId, String>,
}

/// The version from which a seal is bound to its vault.
pub(super) const BOUND: u32 = 3;

/// Whether an identity can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vouched {
    /// One of the keys vouches for it.
    Yes,
    /// One of the keys should vouch for it, and does not.
    No,
    /// None of the keys is the vault's.
    Unknown,
}

/// The records belong to several vaults, so none of them can be taken to be this one.
#[derive(Debug)]
pub(super) struct SeveralVaults(pub(super) Vec<VaultId>);

impl Identity {
    /// Returns the identity of a vault that is known only from its records' seals.
    pub(super) fn of(seals: &[Seal]) -> Result<Self, SeveralVaults> {
        let mut vaults: Vec<_> = seals.iter().filter_map(|seal| seal.vault).collect();
        vaults.sort_unstable();
        vaults.dedup();
        if vaults.len() > 1 {
            return Err(SeveralVaults(vaults));
        }
        // If one seal is bound, somebody may have added those that are not.
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

    /// Takes this key back if it was given up. Returns whether it may be used.
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

    /// Stops trusting this key.
    pub(super) fn revoke(&mut self, key: KeyId) {
        if !self.revoked.contains(&key) {
            self.revoked.push(key);
        }
    }

    /// Notes that no seal has an older version than this any more.
    pub(super) fn raise(&mut self, least: u32) {
        self.least = self.least.max(least);
    }

    /// Signs it with those of these keys that are among `of`. Earlier signatures of keys in `of` stay, and are valid as
    /// long as nothing else has changed.
    pub(super) fn sign(&mut self, signers: &[Signer], of: &[KeyId]) {
        let fields = self.fields();
        self.signatures.retain(|key, _| of.contains(key));
        for signer in signers.iter().filter(|signer| of.contains(&signer.id())) {
            self.signatures.insert(signer.id(), STANDARD.encode(signer.sign(&fields)));
        }
    }

    /// Whether each of the vault's keys that is at hand vouches for it: anybody could have made a file that names
    /// another key as the current one.
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

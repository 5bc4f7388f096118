//! Which vault the engine has: its id, and the key that seals it. So a host with another key is told so, and puts nothing there
//! that the others can't open.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tower_layer::Layer;

use super::fault::not_understood;
use super::script::IDENTIFY;
use super::{Inner, RedisBackend, keys};
use crate::vault::VaultError;
use crate::vault::key::{KeyId, Keys, Signer, VaultKey};
use crate::vault::seal::{Seal, SealLayer, VaultId};

/// The version of what is stored.
const VERSION: u32 = 1;

/// What is stored under `PREFIX:vault`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    version: u32,
    vault: VaultId,
    key: KeyId,
}

impl Identity {
    /// Returns the identity of the vault with this key and prefix. Its id follows from the two: hosts that make a vault at the
    /// same time, or again in an engine that has forgotten it, make the same one. And nobody who can write to the engine can
    /// give the vault another id, under which records of another vault would open.
    fn of(key: &VaultKey, prefix: &str) -> Self {
        let signed = Signer::new(key).sign(&["tower-credentials vault id v1", prefix]);
        let mut id = [0; 16];
        id.copy_from_slice(&signed[..16]);
        Self { version: VERSION, vault: VaultId::from_bytes(id), key: key.id() }
    }

    fn read(text: &str) -> Result<Self, VaultError> {
        match serde_json::from_str(text) {
            Ok(identity @ Self { version: VERSION, .. }) => Ok(identity),
            _ => Err(not_understood("the vault's identity")),
        }
    }
}

impl RedisBackend {
    /// Returns whether the engine has a vault: one that was made by [`sealed`](Self::sealed), or the accounts of programs that
    /// put them there without it.
    ///
    /// # Errors
    /// [`VaultError::Unreachable`] if the engine is away, and other errors if it refuses.
    pub async fn is_vault(&self) -> Result<bool, VaultError> {
        Ok(self.0.identity().await?.is_some() || !self.0.seals().await?.is_empty())
    }

    /// Returns the id of the key that seals the vault; `None` if no vault was made by [`sealed`](Self::sealed).
    ///
    /// # Errors
    /// [`VaultError::Unreachable`] if the engine is away, and other errors if it refuses.
    pub async fn sealed_with(&self) -> Result<Option<KeyId>, VaultError> {
        Ok(self.0.identity().await?.map(|identity| identity.key))
    }

    /// Opens the vault in the engine, sealed with the first of these keys, and makes it if there is none. If its key is the
    /// previous one of them, that one seals.
    ///
    /// All programs must open the vault like this. If there are accounts that a program has put there without it, by a
    /// [`SealLayer`] alone, they are taken into the vault, and a warning is logged: such a program does not open
    /// what is sealed from now on.
    ///
    /// # Errors
    /// [`VaultError::Key`] if the vault is sealed with another key; it names both. A [`VaultError::Layer`] if the engine is not
    /// [durable](super::RedisBackendBuilder::require_durable) and must be. [`VaultError::Unreachable`] if it is away, and other
    /// errors if it refuses.
    pub async fn sealed(&self, keys: &Keys) -> Result<Seal<Self>, VaultError> {
        let inner = &self.0;
        if inner.settings.require_durable && inner.findings.get().is_none() {
            inner.examine_first().await?;
        }
        let identity = match inner.identity().await? {
            Some(identity) => identity,
            None => inner.make(&keys.current).await?,
        };
        let mut all: Vec<_> = std::iter::once(&keys.current).chain(&keys.previous).collect();
        let Some(own) = all.iter().position(|key| key.id() == identity.key) else {
            return Err(inner.other_key(identity.key, keys.current.id()));
        };
        let own = all.swap_remove(own);
        if identity != Identity::of(own, &inner.prefix) {
            let target = inner.engine.target();
            let words = format!(
                "the identity of the vault {target} is that of another vault: its keys were copied from another prefix; use that \
                 prefix, or restore a backup of the accounts to this one"
            );
            return Err(VaultError::Layer(words.into()));
        }
        let layer = SealLayer::new(own).vault(identity.vault);
        let layer = all.into_iter().fold(layer, SealLayer::old_key);
        let _ = inner.identity.set(identity);
        Ok(layer.layer(self.clone()))
    }
}

impl Inner {
    /// Reads the identity.
    async fn identity(&self) -> Result<Option<Identity>, VaultError> {
        let name = keys::identity(&self.prefix);
        let mut get = redis::cmd("GET");
        get.arg(&name);
        let text: Option<String> = self.engine.command(&name, &get).await?;
        text.as_deref().map(Identity::read).transpose()
    }

    /// Makes the vault with this key, unless another host is faster. Returns the identity that it has then.
    async fn make(self: &Arc<Self>, key: &VaultKey) -> Result<Identity, VaultError> {
        let seals = self.seals().await?;
        if let Some(other) = seals.first().filter(|_| !seals.contains(&key.id())) {
            return Err(self.other_key(*other, key.id()));
        }
        if !seals.is_empty() {
            tracing::warn!(
                target: "tower_credentials",
                engine = %self.engine.target(),
                "the vault was made by a program that gave it no identity, and has one now: open it by `RedisBackend::sealed` in \
                 all programs"
            );
        }
        self.identify(&Identity::of(key, &self.prefix)).await
    }

    /// Stores the identity, if there is none. Returns the one that is stored.
    async fn identify(&self, identity: &Identity) -> Result<Identity, VaultError> {
        let text = serde_json::to_string(identity).map_err(|error| VaultError::Layer(error.into()))?;
        let name = keys::identity(&self.prefix);
        let call = IDENTIFY.on([name.clone()]).arg(text);
        let stored: String = self.durable.run(&name, call).await?;
        Identity::read(&stored)
    }

    /// Gives an engine that has forgotten it the identity back.
    pub(super) async fn give_identity_back(&self) -> Result<(), VaultError> {
        match self.identity.get() {
            Some(identity) => self.identify(identity).await.map(drop),
            None => Ok(()),
        }
    }

    /// Returns the keys that have sealed the records.
    async fn seals(self: &Arc<Self>) -> Result<Vec<KeyId>, VaultError> {
        let mut seals = Vec::new();
        for key in self.all_pools().await? {
            let stored = self.load(&self.pool(&key)).await?;
            seals.extend(stored.credentials.iter().map(|record| record.secret.key_id()));
        }
        seals.sort_unstable();
        seals.dedup();
        Ok(seals)
    }

    fn other_key(&self, vault: KeyId, given: KeyId) -> VaultError {
        let target = self.engine.target();
        VaultError::Key(format!(
            "the vault {target} is sealed with the key {vault}, and this is the key {given}"
        ))
    }
}

//! A vault's records of a provider, whether they open or not.

use std::collections::BTreeMap;

use crate::credential::{Credential, CredentialId, Kind, Metadata, OAuthTokens, PoolKey, Secret};
use crate::standing::Health;
use crate::vault::{Damage, StoredPool, Vault, VaultError, VaultExt};

/// A vault's records of a provider, in all namespaces.
pub(super) struct Stored {
    pub(super) known: Vec<Known>,
    pub(super) shut: Shut,
}

/// A record that opens.
pub(super) struct Known {
    pub(super) credential: Credential,
    pub(super) health: Health,
}

/// The records that don't open. Their metadata is still known.
#[derive(Default)]
pub(super) struct Shut {
    pub(super) records: Vec<ShutRecord>,
    /// Why a whole pool doesn't open.
    key: Option<String>,
}

/// A record that is listed but doesn't open.
pub(super) struct ShutRecord {
    pub(super) metadata: Metadata,
    reason: String,
}

impl ShutRecord {
    /// The record without its secret.
    pub(super) fn placeholder(&self) -> Credential {
        let tokens = OAuthTokens::new("");
        let secret = match self.metadata.kind {
            Kind::OAuth => Secret::OAuth(tokens),
            Kind::Api => Secret::api_key(""),
            Kind::WellKnown => Secret::WellKnown { variable: String::new(), token: "".into() },
            Kind::Mcp => Secret::Mcp(tokens),
        };
        Credential { metadata: self.metadata.clone(), secret }
    }

    /// The error of an entry that is not brought in because of this record.
    pub(super) fn error(&self) -> VaultError {
        let Metadata { id, pool, label, .. } = &self.metadata;
        let reason = format!(
            "has this account or key and does not open ({}); mend that, or remove the record, then migrate again",
            self.reason
        );
        VaultError::Damaged(Damage::new(format!("record {label:?} of {pool} ({id})"), reason))
    }
}

impl Shut {
    pub(super) fn has(&self, id: CredentialId) -> bool {
        self.records.iter().any(|record| record.metadata.id == id)
    }

    /// If a whole pool doesn't open, the vault's key is wrong, and must not seal anything new.
    pub(super) fn check_key(&self) -> Result<(), VaultError> {
        self.key.iter().try_for_each(|reason| Err(VaultError::Key(reason.clone())))
    }
}

impl Stored {
    /// Reads the records. A record whose metadata can't be read either is ignored.
    pub(super) async fn of(vault: &impl Vault, provider: &str) -> Result<Self, VaultError> {
        let mut pools = BTreeMap::<PoolKey, Vec<Metadata>>::new();
        for metadata in vault.list().await?.credentials {
            if metadata.pool.provider() == provider {
                pools.entry(metadata.pool.clone()).or_default().push(metadata);
            }
        }
        let mut stored = Self { known: Vec::new(), shut: Shut::default() };
        for (pool, listed) in pools {
            stored.add(vault, pool, listed).await?;
        }
        Ok(stored)
    }

    async fn add(
        &mut self,
        vault: &impl Vault,
        pool: PoolKey,
        mut listed: Vec<Metadata>,
    ) -> Result<(), VaultError> {
        let mut health = BTreeMap::new();
        match vault.load_pool(pool).await {
            Ok(StoredPool { credentials, standings, .. }) => {
                health.extend(standings.credentials.into_iter().map(|(id, known)| (id, known.health)));
                listed.retain(|metadata| {
                    credentials.iter().all(|credential| credential.metadata.id != metadata.id)
                });
                self.known.extend(credentials.into_iter().map(|credential| {
                    let health = health.remove(&credential.metadata.id).unwrap_or_default();
                    Known { credential, health }
                }));
            }
            Err(VaultError::Key(reason)) => self.shut.key = Some(reason),
            Err(error) => return Err(error),
        }
        for metadata in listed {
            match vault.get(&metadata.pool, metadata.id).await {
                Ok(credential) => {
                    let health = health.remove(&metadata.id).unwrap_or_default();
                    self.known.push(Known { credential, health });
                }
                // Removed since it was listed.
                Err(VaultError::NotFound(_)) => {}
                Err(error) => {
                    let reason = match std::error::Error::source(&error) {
                        Some(cause) => format!("{error}: {cause}"),
                        None => error.to_string(),
                    };
                    self.shut.records.push(ShutRecord { metadata, reason });
                }
            }
        }
        Ok(())
    }
}

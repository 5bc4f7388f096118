//! What a vault has of a provider, whether it opens or not.

use std::collections::BTreeMap;

use crate::credential::{Credential, CredentialId, Kind, Metadata, OAuthTokens, PoolKey, Secret};
use crate::standing::Health;
use crate::vault::{Damage, StoredPool, Vault, VaultError, VaultExt};

/// What a vault has of a provider, whatever the namespace.
pub(super) struct Stored {
    pub(super) known: Vec<Known>,
    pub(super) shut: Shut,
}

/// A credential that a vault has.
pub(super) struct Known {
    pub(super) credential: Credential,
    pub(super) health: Health,
}

/// What a vault has and can't open. Whose it is, its metadata tell all the same.
#[derive(Default)]
pub(super) struct Shut {
    pub(super) records: Vec<ShutRecord>,
    /// Why nothing of a pool opens.
    key: Option<String>,
}

/// A record that is listed and does not open.
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

    /// Names it, where an entry is not brought in because of it.
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

    /// Where nothing of a pool opens, the vault's key is a wrong one, and what it would seal is of no use.
    pub(super) fn check_key(&self) -> Result<(), VaultError> {
        self.key.iter().try_for_each(|reason| Err(VaultError::Key(reason.clone())))
    }
}

impl Stored {
    /// Reads it. A record whose metadata can't be read either is as good as none.
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
            match vault.get(metadata.id).await {
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

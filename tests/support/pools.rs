//! Vaults with accounts, pools over them, and their state.

use std::time::Duration;

use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::Standing;
use tower_credentials::vault::{MemoryVault, Vault, VaultExt};
use tower_credentials::{
    Clock, Cooldowns, Credential, CredentialId, CredentialStatus, OAuthTokens, Pool, PoolBuilder,
    PoolKey, Secret,
};

use super::ORIGIN;

pub(crate) fn key() -> PoolKey {
    PoolKey::new("x")
}

/// A vault with an API key for each label. The label is also the key.
pub(crate) async fn keys<const N: usize>(labels: [&str; N]) -> MemoryVault {
    let vault = MemoryVault::new();
    for label in labels {
        vault.put(Credential::new(key(), label, Secret::api_key(label))).await.unwrap();
    }
    vault
}

/// A vault with an OAuth account for each label; the access token is `LABEL-1`.
pub(crate) async fn accounts<const N: usize>(labels: [&str; N]) -> MemoryVault {
    let vault = MemoryVault::new();
    for label in labels {
        vault.put(account(label)).await.unwrap();
    }
    vault
}

/// A vault with the OAuth accounts `a`, whose token `a-1` has expired, and `b`.
pub(crate) async fn with_an_expired_one(clock: &Clock) -> MemoryVault {
    let vault = MemoryVault::new();
    let tokens = OAuthTokens::new("a-1").refresh("refresh-a").expires_at(clock.now());
    vault.put(Credential::new(key(), "a", tokens)).await.unwrap();
    vault.put(account("b")).await.unwrap();
    vault
}

pub(crate) fn account(label: &str) -> Credential {
    let tokens = OAuthTokens::new(format!("{label}-1")).refresh(format!("refresh-{label}"));
    Credential::new(key(), label, tokens)
}

pub(crate) fn builder(vault: impl Vault) -> PoolBuilder {
    let provider = GenericProvider::bearer("x").origin(ORIGIN).unwrap();
    Pool::builder(provider, vault).cooldowns(exact())
}

/// Cooldowns that keep to stated times exactly.
pub(crate) fn exact() -> Cooldowns {
    Cooldowns::default().spread(0.0)
}

/// The labels of a pool in its order.
pub(crate) fn order(pool: &Pool) -> Vec<String> {
    pool.status().iter().map(|status| status.credential.label.to_string()).collect()
}

pub(crate) fn status_of(pool: &Pool, label: &str) -> CredentialStatus {
    pool.status().into_iter().find(|status| &*status.credential.label == label).unwrap()
}

pub(crate) fn id_of(pool: &Pool, label: &str) -> CredentialId {
    status_of(pool, label).credential.id
}

/// A standing without its last response and its allowance, which every request may change.
pub(crate) fn learnt(standing: &Standing) -> Standing {
    Standing { last_response: None, allowance: Vec::new(), ..standing.clone() }
}

/// How long the credential still cools down for requests without a scope.
pub(crate) fn cools(pool: &Pool, label: &str) -> Duration {
    status_of(pool, label).ready_in(pool.now())
}

/// Asserts that the account `a` has neither a cooldown nor a failure, here and in the vault.
pub(crate) async fn is_blameless(pool: &Pool, vault: &MemoryVault, why: &str) {
    assert_eq!(cools(pool, "a"), Duration::ZERO, "{why}");
    let stored = vault.load_pool(key()).await.unwrap().standings.credentials;
    for standing in stored.values().chain([&status_of(pool, "a").standing]) {
        assert!(standing.cooldowns.is_empty() && standing.failures == 0, "{why}: {standing:?}");
    }
}

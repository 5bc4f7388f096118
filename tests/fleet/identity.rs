//! The engine says which key seals its vault, and a seal is bound to the vault.

use std::time::Duration;

use tower_credentials::vault::key::{Keys, VaultKey};
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::seal::Seal;
use tower_credentials::vault::{VaultError, VaultExt};

use crate::server::Server;
use crate::vault_contract::{account, order, pool, put_all, token};

fn keys() -> Keys {
    Keys::new(VaultKey::generate())
}

async fn open(backend: RedisBackend, keys: &Keys) -> Seal<RedisBackend> {
    backend.sealed(keys).await.unwrap()
}

async fn refusal(backend: RedisBackend, keys: &Keys) -> String {
    match backend.sealed(keys).await {
        Err(VaultError::Key(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// All that the engine has, but for what only tells time.
fn stored(server: &Server) -> Vec<String> {
    let mut keys: Vec<String> = server.tell(&["KEYS", "*"]);
    keys.sort();
    keys
}

#[tokio::test]
async fn a_host_with_another_key_is_told_both_keys_and_stores_nothing() {
    let Some(server) = Server::start(&[]) else { return };
    let backend = || server.builder().build().unwrap();
    let (ours, others) = (keys(), keys());
    assert!(!backend().is_vault().await.unwrap());
    assert_eq!(backend().sealed_with().await.unwrap(), None);
    let vault = open(backend(), &ours).await;
    assert!(backend().is_vault().await.unwrap());
    assert_eq!(backend().sealed_with().await.unwrap(), Some(ours.current.id()));
    let before = stored(&server);
    let reason = refusal(backend(), &others).await;
    assert!(reason.contains(&ours.current.id().to_string()), "{reason}");
    assert!(reason.contains(&others.current.id().to_string()), "{reason}");
    assert_eq!(stored(&server), before);
    vault.put(account("a")).await.unwrap();
    assert_eq!(order(&open(backend(), &ours).await).await, ["a"]);
    // A key change that was not finished: the vault's own key seals.
    let both = Keys::new(others.current.clone()).previous(ours.current.clone());
    let vault = open(backend(), &both).await;
    assert_eq!(vault.key_id(), ours.current.id());
    assert_eq!(order(&vault).await, ["a"]);
}

#[tokio::test]
async fn hosts_that_make_the_vault_at_once_make_the_same_one() {
    let Some(server) = Server::start(&[]) else { return };
    let keys = keys();
    let backends: Vec<_> = (0..8).map(|_| server.builder().build().unwrap()).collect();
    let opening = backends.into_iter().map(|backend| {
        let keys = keys.clone();
        tokio::spawn(async move { backend.sealed(&keys).await.unwrap() })
    });
    let mut vaults = Vec::new();
    for opened in opening.collect::<Vec<_>>() {
        vaults.push(opened.await.unwrap());
    }
    for (number, vault) in vaults.iter().enumerate() {
        vault.put(account(&format!("a{number}"))).await.unwrap();
    }
    for vault in &vaults {
        assert_eq!(order(vault).await.len(), 8);
        assert!(vault.load_pool(pool()).await.unwrap().damaged.is_empty());
    }
}

#[tokio::test]
async fn an_engine_that_was_emptied_gets_the_identity_back_with_the_accounts() {
    let Some(server) = Server::start(&[]) else { return };
    let backend = || server.builder().build().unwrap();
    let keys = keys();
    let vault = open(backend(), &keys).await;
    let [a, _] = put_all(&vault, ["a", "b"]).await;
    vault.load_pool(pool()).await.unwrap();
    server.tell::<()>(&["FLUSHALL"]);
    assert_eq!(order(&vault).await, ["a", "b"]);
    assert_eq!(backend().sealed_with().await.unwrap(), Some(keys.current.id()));
    let new = open(backend(), &keys).await;
    assert_eq!(token(&new, a).await, token(&vault, a).await);
}

#[tokio::test]
async fn a_vault_that_another_host_makes_in_an_emptied_engine_opens_what_is_given_back() {
    let Some(server) = Server::start(&[]) else { return };
    let backend = || server.builder().build().unwrap();
    let keys = keys();
    let vault = open(backend(), &keys).await;
    put_all(&vault, ["a", "b"]).await;
    vault.load_pool(pool()).await.unwrap();
    server.tell::<()>(&["FLUSHALL"]);
    let new = open(backend(), &keys).await;
    assert!(order(&new).await.is_empty());
    assert_eq!(order(&vault).await, ["a", "b"]);
    assert_eq!(order(&new).await, ["a", "b"]);
    assert!(new.load_pool(pool()).await.unwrap().damaged.is_empty());
}

#[tokio::test]
async fn accounts_that_were_put_without_an_identity_are_taken_into_the_vault_by_their_own_key_alone() {
    let Some(server) = Server::start(&[]) else { return };
    let backend = || server.builder().build().unwrap();
    let (ours, others) = (keys(), keys());
    Seal::new(backend(), &ours.current).put(account("a")).await.unwrap();
    assert!(backend().is_vault().await.unwrap());
    let reason = refusal(backend(), &others).await;
    assert!(reason.contains(&ours.current.id().to_string()), "{reason}");
    assert_eq!(backend().sealed_with().await.unwrap(), None);
    let vault = open(backend(), &ours).await;
    vault.put(account("b")).await.unwrap();
    assert_eq!(order(&open(backend(), &ours).await).await, ["a", "b"]);
}

#[tokio::test]
async fn a_record_of_another_prefix_does_not_open_even_with_the_same_key() {
    let Some(server) = Server::start(&[]) else { return };
    let keys = keys();
    let at = |prefix: &str| {
        let url = format!("{}?prefix={prefix}", server.url());
        RedisBackend::builder(url).command_timeout(Duration::from_secs(2)).build().unwrap()
    };
    let [one, other] = [open(at("one"), &keys).await, open(at("other"), &keys).await];
    let [a] = put_all(&one, ["a"]).await;
    assert!(order(&other).await.is_empty());
    let records =
        |prefix: &str| format!("{prefix}:{{{}/{}}}:records", pool().provider(), pool().namespace());
    let record: String = server.tell(&["HGET", &records("one"), &a.to_string()]);
    other.put(account("b")).await.unwrap();
    server.tell::<()>(&["HSET", &records("other"), &a.to_string(), &record]);
    let loaded = at("other").sealed(&keys).await.unwrap().load_pool(pool()).await.unwrap();
    assert_eq!(loaded.credentials.len(), 1);
    let [damage] = &*loaded.damaged else { panic!("{:?}", loaded.damaged) };
    assert!(damage.reason.contains("another vault"), "{damage}");
    // Nor does an identity that was copied make it another vault.
    let identity: String = server.tell(&["GET", "one:vault"]);
    server.tell::<()>(&["SET", "other:vault", &identity]);
    let error = at("other").sealed(&keys).await.unwrap_err().to_string();
    assert!(error.contains("another prefix"), "{error}");
}

//! Order and cooldowns outlive the pool, and other pools of the vault see them.

#![cfg(feature = "file")]

use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::*;

use crate::support::*;

#[tokio::test]
async fn order_and_cooldowns_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let key_ = VaultKey::generate();
    let upstream =
        Upstream::new().answers("a", [Canned::limited(3000)]).answers("b", [Canned::status(402)]);
    let server = Server::start(&upstream).await;
    let clock = HandClock::new();
    let before = {
        let vault = FileVault::open(directory.path(), &key_).await.unwrap();
        for label in ["a", "b", "c"] {
            vault.put(Credential::new(key(), label, Secret::api_key(label))).await.unwrap();
        }
        let pool = server.builder(vault).clock(clock.clock()).open().await.unwrap();
        let service = stack(four(&pool, &no_refresh()), client());
        assert_eq!(ask(&service, server.post()).await, (200, "c".into()));
        pool.status()
    };
    let vault = FileVault::open(directory.path(), &key_).await.unwrap();
    let pool = server.builder(vault).clock(clock.clock()).open().await.unwrap();
    assert_eq!(order(&pool), ["c", "a", "b"]);
    for (before, after) in before.iter().zip(pool.status()) {
        assert_eq!(learnt(&before.standing), learnt(&after.standing));
    }
    assert_eq!(cools(&pool, "a"), seconds(3000));
    let service = stack(four(&pool, &no_refresh()), client());
    assert_eq!(ask(&service, server.post()).await, (200, "c".into()));
    assert_eq!(upstream.tokens(), ["a", "b", "c", "c"], "no attempt is wasted");
}

#[tokio::test]
async fn a_scopes_cooldown_survives_a_restart() {
    let vault = keys(["a", "b"]).await;
    let upstream = Upstream::new().answers("a", [Canned::limited(3000), Canned::ok()]);
    let clock = HandClock::new();
    let of_model = || post_with(standing::Scope::new("big"));
    let pool = builder(vault.clone()).clock(clock.clock()).open().await.unwrap();
    ask(&stack(four(&pool, &no_refresh()), upstream.clone()), of_model()).await;
    let pool = builder(vault).clock(clock.clock()).open().await.unwrap();
    ask(&stack(four(&pool, &no_refresh()), upstream.clone()), of_model()).await;
    assert_eq!(upstream.tokens(), ["a", "b", "b"]);
}

#[tokio::test]
async fn a_pools_cooldowns_are_seen_by_another_pool_of_the_same_vault() {
    let vault = keys(["a", "b"]).await;
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    let first = builder(vault.clone()).open().await.unwrap();
    let second = builder(vault).open().await.unwrap();
    ask(&stack(four(&first, &no_refresh()), upstream.clone()), post()).await;
    second.sync().await.unwrap();
    assert_eq!(order(&second), ["b", "a"]);
    ask(&stack(four(&second, &no_refresh()), upstream.clone()), post()).await;
    assert_eq!(upstream.tokens(), ["a", "b", "b"]);
}

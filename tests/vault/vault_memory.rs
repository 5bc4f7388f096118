//! The vault in memory keeps every promise of a vault, also inside layers of tower.

use std::time::Duration;

use tower::limit::ConcurrencyLimitLayer;
use tower::timeout::TimeoutLayer;
use tower::{ServiceBuilder, service_fn};
use tower_credentials::vault::{MemoryVault, Vault, VaultError, VaultExt, VaultRequest, VaultResponse};
use tower_credentials::{BoxError, CredentialId};

use crate::vault_contract::{self, account, every_promise, pool, put_all};

async fn new() -> (MemoryVault, ()) {
    (MemoryVault::new(), ())
}

every_promise!(new);

fn layered(vault: impl Vault) -> impl Vault {
    ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(5)))
        .layer(ConcurrencyLimitLayer::new(2))
        .service(vault)
}

#[tokio::test]
async fn a_vault_inside_layers_is_a_vault() {
    let memory = MemoryVault::new();
    let vault = layered(memory.clone());
    put_all(&vault, ["a", "b"]).await;
    assert_eq!(vault_contract::order(&memory).await, ["a", "b"]);
}

#[tokio::test]
async fn an_error_of_the_vault_comes_out_of_layers_as_it_was() {
    let vault = layered(MemoryVault::new());
    let id = CredentialId::random();
    assert!(matches!(vault.get(&pool(), id).await, Err(VaultError::NotFound(missing)) if missing == id));
}

#[tokio::test(start_paused = true)]
async fn a_layers_own_error_says_that_it_was_a_layer() {
    let vault = layered(MemoryVault::new());
    let [id] = put_all(&vault, ["a"]).await;
    let lease = vault.lease_refresh(&pool(), id).await.unwrap();
    match vault.lease_refresh(&pool(), id).await {
        Err(VaultError::Layer(error)) => assert!(error.is::<tower::timeout::error::Elapsed>()),
        other => panic!("{other:?}"),
    }
    drop(lease);
    vault.lease_refresh(&pool(), id).await.expect("the one that timed out has left the line");
}

#[tokio::test]
async fn a_response_that_does_not_belong_to_the_request_is_an_error() {
    let vault = service_fn(async |_: VaultRequest| Ok::<_, BoxError>(VaultResponse::Done));
    assert!(matches!(vault.load_pool(pool()).await, Err(VaultError::UnexpectedResponse)));
    assert!(matches!(vault.put(account("a")).await, Err(VaultError::UnexpectedResponse)));
}

#[tokio::test]
async fn a_clone_is_the_same_vault() {
    let vault = MemoryVault::new();
    put_all(&vault.clone(), ["a"]).await;
    assert_eq!(vault_contract::order(&vault).await, ["a"]);
}

#[tokio::test]
async fn the_methods_futures_can_be_spawned() {
    let vault = MemoryVault::new();
    let spawned = {
        let vault = vault.clone();
        tokio::spawn(async move { vault.put(account("a")).await })
    };
    spawned.await.unwrap().unwrap();
    assert_eq!(vault_contract::order(&vault).await, ["a"]);
}

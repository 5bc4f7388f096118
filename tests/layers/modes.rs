//! Which kinds of credential a pool uses.

use tower::ServiceExt;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

async fn mixed() -> MemoryVault {
    let vault = keys(["key"]).await;
    vault.put(account("sub")).await.unwrap();
    vault
}

async fn first_token(vault: MemoryVault, mode: Mode) -> Vec<String> {
    let upstream = Upstream::new();
    let pool = builder(vault).mode(mode).open().await.unwrap();
    ask(&stack(four(&pool, &no_refresh()), upstream.clone()), post()).await;
    upstream.tokens()
}

#[tokio::test]
async fn mode_auto_uses_accounts_if_there_are_any_and_keys_otherwise() {
    assert_eq!(first_token(mixed().await, Mode::Auto).await, ["sub-1"]);
    assert_eq!(first_token(keys(["key"]).await, Mode::Auto).await, ["key"]);
}

#[tokio::test]
async fn mode_api_uses_keys_only() {
    assert_eq!(first_token(mixed().await, Mode::Api).await, ["key"]);
    let pool = builder(accounts(["sub"]).await).mode(Mode::Api).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), Upstream::new());
    let error = service.oneshot(post()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::NoCredential { .. })), "{error:?}");
}

#[tokio::test]
async fn mode_subscription_fails_at_opening_without_an_account() {
    assert_eq!(first_token(mixed().await, Mode::Subscription).await, ["sub-1"]);
    let error = builder(keys(["key"]).await).mode(Mode::Subscription).open().await.unwrap_err();
    assert!(matches!(error, Error::NoCredential { .. }), "{error:?}");
    assert!(error.to_string().contains("OAuth account"), "{error}");
}

#[tokio::test]
async fn mode_auto_never_rotates_from_an_account_to_a_key() {
    let upstream = Upstream::new().answers("sub-1", [Canned::limited(30)]);
    let pool = builder(mixed().await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 429);
    assert_eq!(upstream.tokens(), ["sub-1"]);
}

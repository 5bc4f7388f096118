//! Errors in a program that uses anyhow: `?` takes our own types, and `map_err` those of stacks.

#![cfg(feature = "tls")]

use anyhow::Context;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_credentials::https::HttpsClient;
use tower_credentials::provider::GenericProvider;
use tower_credentials::registry::Registry;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{
    BoxError, Credential, CredentialsLayer, Error, Pool, PoolKey, Secret, SecretString,
};

type Body = Full<Bytes>;

/// Uses anyhow as a program's `main` would.
async fn run(key: &str, url: &str) -> anyhow::Result<()> {
    let vault = MemoryVault::new();
    let secret = Secret::Api { key: SecretString::api_key(key)? };
    vault.put(Credential::new(PoolKey::new("example"), "work", secret)).await?;
    let provider = GenericProvider::bearer("example").origin("http://127.0.0.1:9")?;
    let pool = Pool::builder(provider, vault).open().await?;
    Registry::builder().build()?.pool_key("openai")?;
    pool.save().await?;
    let client = HttpsClient::<Body>::new().context("no client")?;
    let layered = CredentialsLayer::new(pool).layer(client.clone());
    layered
        .oneshot(Request::get(url).body(Body::default())?)
        .await
        .map_err(anyhow::Error::from_boxed)?;
    // Only the client alone has its own type of error.
    client.oneshot(Request::get(url).body(Body::default())?).await?;
    Ok(())
}

#[tokio::test]
async fn anyhow_takes_our_errors_and_they_can_be_downcast() {
    let error = run("\"quoted\"", "http://127.0.0.1:9/").await.unwrap_err();
    assert!(error.is::<tower_credentials::NotAnApiKey>(), "{error:?}");

    let error = run("sk-1", "https://elsewhere.test/").await.unwrap_err();
    let own = error.downcast_ref::<BoxError>().and_then(|error| error.downcast_ref::<Error>());
    assert!(matches!(own, Some(Error::UntrustedOrigin { .. })), "{error:?}");
    assert!(error.to_string().contains("elsewhere.test"), "{error}");
}

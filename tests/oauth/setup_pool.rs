//! A program that opens its pool by `Setup::pool` renews the tokens that the program `credentials` has stored.
#![cfg(all(feature = "setup", feature = "tls"))]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use http::Request;
use tempfile::TempDir;
use tower::{Layer, ServiceExt};
use tower_credentials::settings::KeySource;
use tower_credentials::setup::{Setup, SetupError};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{Credential, PoolKey};

use crate::authorization_server::{AuthorizationServer, Kind, Rules, Vendor, client};

fn setup(place: &TempDir, settings: &str) -> Setup {
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let config = place.path().join("config.toml");
    fs::write(&config, settings).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let key = KeySource::File(place.path().join("vault.key"));
    let builder = Setup::builder().config(config).vault(place.path().join("vault")).key(key);
    builder.build().unwrap()
}

#[tokio::test]
async fn a_refused_token_is_renewed_with_the_providers_oauth_client() {
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    let place = TempDir::new().unwrap();
    let setup = setup(&place, &server.settings(true));
    let vault = setup.vault_or_new().await.unwrap();
    let mut tokens = server.account().await.tokens.clone();
    tokens.access = "revoked".into();
    vault.put(Credential::new(PoolKey::new("openai"), "work", tokens)).await.unwrap();

    let pool = setup.pool("openai", vault).unwrap().open().await.unwrap();
    let service = setup.registry().layer(pool.clone()).layer(client());
    let request = Request::get(format!("{}/resource", server.url()));
    let response = service.oneshot(request.body(Default::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!((server.asked(Kind::Refresh), server.reuses()), (1, 0));
    assert_eq!(pool.counters().refreshes, 1);
}

#[test]
fn a_provider_without_oauth_needs_no_client_and_an_unknown_one_is_named() {
    let place = TempDir::new().unwrap();
    let toml = "[providers.acme]\ntype = \"generic\"\norigins = [\"http://127.0.0.1:9\"]\n";
    let setup = setup(&place, toml);
    assert!(setup.pool("acme", MemoryVault::new()).is_ok());
    let Err(error) = setup.pool("acmee", MemoryVault::new()).map(drop) else { panic!("it is known") };
    assert!(matches!(error, SetupError::Settings(_)), "{error}");
    assert!(error.to_string().contains("acme"), "{error}");
}

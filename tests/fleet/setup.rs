//! A program that finds its vault by `Setup` opens that of an engine, too.

use tempfile::TempDir;
use tower_credentials::settings::KeySource;
use tower_credentials::setup::{Setup, SetupError, SetupVault, VaultPlace};
use tower_credentials::vault::{VaultError, VaultExt};

use crate::server::Server;
use crate::vault_contract::{account, order, token};

fn setup(place: &TempDir, url: &str) -> Setup {
    let key = KeySource::File(place.path().join("vault.key"));
    let config = place.path().join("config.toml");
    std::fs::write(&config, "").unwrap();
    let vault = VaultPlace::parse(url).unwrap();
    Setup::builder().config(config).vault_place(vault).key(key).build().unwrap()
}

#[tokio::test]
async fn the_vault_of_an_engine_is_made_once_and_opened_by_every_setup_with_its_key() {
    let Some(server) = Server::start(&[]) else { return };
    let place = TempDir::new().unwrap();
    let one = setup(&place, &server.url());
    assert!(one.vault().await.unwrap().is_none());
    assert!(!place.path().join("vault.key").exists());
    let vault = one.vault_or_new().await.unwrap();
    assert!(matches!(vault, SetupVault::Engine(_)) && vault.files().is_none());
    let a = vault.put(account("a")).await.unwrap();
    let other = setup(&place, &server.url()).vault().await.unwrap().unwrap();
    assert_eq!(order(&other).await, ["a"]);
    assert_eq!(token(&other, a.id).await, token(&vault, a.id).await);
    vault.check_writable().await.unwrap();
    // Without the key no other is made.
    let without = TempDir::new().unwrap();
    let error = setup(&without, &server.url()).vault_or_new().await.unwrap_err();
    assert!(matches!(error, SetupError::MissingKey(_)), "{error}");
    assert!(!without.path().join("vault.key").exists());
}

#[tokio::test]
async fn an_engine_that_is_away_is_an_error_that_says_so() {
    let Some(server) = Server::start(&[]) else { return };
    server.kill();
    let place = TempDir::new().unwrap();
    let error = setup(&place, &server.url()).vault_or_new().await.unwrap_err();
    assert!(matches!(error, SetupError::Vault(VaultError::Unreachable(_))), "{error}");
    assert!(!place.path().join("vault.key").exists());
}

#[tokio::test]
async fn a_read_only_replica_is_not_writable() {
    let Some(server) = Server::start(&[]) else { return };
    let place = TempDir::new().unwrap();
    let vault = setup(&place, &server.url()).vault_or_new().await.unwrap();
    server.tell::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    let error = vault.check_writable().await.unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
}

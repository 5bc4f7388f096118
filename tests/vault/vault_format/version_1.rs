//! Vaults of version 1.

use std::fs;

use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::seal::UnboundAttributes;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{Generation, Secret};

use super::{ACME, EXAMPLE, Place, assert_changes, assert_whole, example, id, key};

#[tokio::test]
async fn a_vault_of_version_1_opens_whole() {
    let place = Place::new("vault-v1");
    for path in ["key.json", &format!("{EXAMPLE}.log"), &format!("{ACME}.log")] {
        assert!(!place.root().join(path).exists(), "version 1 had no {path}");
    }
    assert_eq!(place.json(format!("{EXAMPLE}.json"))["version"], 1);
    for number in 1..=6 {
        assert_eq!(place.record(number)["secret"]["version"], 1);
    }
    assert_whole(&place.open().await).await;
    // This time from the log that replaced the file of version 1.
    assert_whole(&place.open().await).await;
    assert_eq!(place.json("key.json")["key_id"], key().id().to_string());
}

#[tokio::test]
async fn changes_of_a_vault_of_version_1_work_and_are_of_version_3() {
    let place = Place::new("vault-v1");
    assert_changes(&place).await;
    let log = fs::read_to_string(place.root().join(format!("{EXAMPLE}.log"))).unwrap();
    assert!(log.lines().next().unwrap().contains(r#""snapshot":{"format":2,"#), "{log}");
    // The seal of the first, whose secret was replaced, does not bind its attributes.
    for (number, version) in [(1, 1), (2, 1), (3, 1), (4, 1), (6, 1), (8, 3)] {
        assert_eq!(place.record(number)["secret"]["version"], version, "record {number}");
    }
    let vault = place.open().await;
    vault.replace_secret(&example(), id(2), Generation::FIRST, Secret::api_key("sk-2b")).await.unwrap();
    assert_eq!(place.record(2)["secret"]["version"], 3, "it has no attributes");
    assert_eq!(place.record(1)["metadata"]["attributes"]["host"], "api.example.com");
}

#[tokio::test]
async fn what_was_changed_under_version_2_goes_before_what_version_1_left() {
    let place = Place::new("vault-v1");
    let vault = place.open().await;
    vault.move_to(&example(), id(1), 0).await.unwrap();
    let vault = place.open().await;
    assert_eq!(vault.load_pool(example()).await.unwrap().standings.order, [1, 4, 2, 3].map(id));
}

#[tokio::test]
async fn another_key_does_not_take_over_a_vault_of_version_1() {
    let place = Place::new("vault-v1");
    match FileVault::open(place.root(), &VaultKey::generate()).await {
        Err(VaultError::Key(reason)) => {
            assert!(reason.contains(&format!("give the key {}", key().id())), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_whole(&place.open().await).await;
}

#[tokio::test]
async fn a_vault_of_version_1_can_be_resealed_with_another_key() {
    let place = Place::new("vault-v1");
    let new = VaultKey::generate();
    let builder = FileVault::builder(place.root()).old_key(&key());
    let vault = builder.clone().open(&new).await.unwrap();
    let resealing = vault.reseal(|_| {}).await.unwrap();
    assert_eq!((resealing.sealed, resealing.left), (3, 3), "{:?}", resealing.damaged);
    // Somebody has looked at their attributes.
    let vault = builder.unbound_attributes(UnboundAttributes::Keep).open(&new).await.unwrap();
    let resealing = vault.reseal(|_| {}).await.unwrap();
    assert_eq!((resealing.sealed, resealing.left), (3, 0), "{:?}", resealing.damaged);
    assert_whole(&FileVault::open(place.root(), &new).await.unwrap()).await;
    for number in 1..=6 {
        assert_eq!(place.record(number)["secret"]["version"], 3);
    }
}

//! Loading a whole vault returns what a listing and the loading of each pool return.
#![cfg(feature = "file")]

use std::fs;

use tempfile::TempDir;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::{FileVault, Loaded};
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{Listing, StoredPool};
use tower_credentials::{Credential, CredentialId, Generation, PoolKey, Secret};

use crate::vault_contract::{PLANTED, account, pool, put_all};

fn other() -> PoolKey {
    PoolKey::with_namespace("other", "team")
}

/// Two pools, one of which has a changed order.
async fn filled() -> (TempDir, VaultKey, FileVault, [CredentialId; 3]) {
    let (place, key) = (TempDir::new().unwrap(), VaultKey::generate());
    let vault = FileVault::open(place.path().join("vault"), &key).await.unwrap();
    let ids = put_all(&vault, ["a", "b", "c"]).await;
    vault.put(Credential::new(other(), "x", Secret::api_key(format!("{PLANTED}-x")))).await.unwrap();
    vault.move_to(&pool(), ids[2], 0).await.unwrap();
    (place, key, vault, ids)
}

/// The content of a pool, with its secrets.
fn content(pool: &StoredPool) -> impl PartialEq + std::fmt::Debug {
    let credentials = pool.credentials.iter();
    let credentials: Vec<_> = credentials
        .map(|credential| (credential.metadata.clone(), credential.secret.token().expose().to_owned()))
        .collect();
    (credentials, pool.standings.clone(), pool.revision, pool.damaged.clone())
}

/// Checks that the result is the same as with single requests.
async fn assert_same(vault: &FileVault, Loaded { listing, pools, .. }: &Loaded) {
    let Listing { credentials, damaged } = vault.list().await.unwrap();
    assert_eq!((&listing.credentials, &listing.damaged), (&credentials, &damaged));
    for (key, pool) in pools {
        let alone = vault.load_pool(key.clone()).await.unwrap();
        assert_eq!(content(pool), content(&alone), "{key}");
    }
}

#[tokio::test]
async fn every_pool_is_there_in_its_order_with_its_secrets() {
    let (_place, _, vault, _) = filled().await;
    let loaded = vault.load_all().await.unwrap();
    assert_eq!(loaded.pools.keys().collect::<Vec<_>>(), [&account("a").metadata.pool, &other()]);
    let labels = loaded.listing.credentials.iter().map(|metadata| &*metadata.label);
    assert_eq!(labels.collect::<Vec<_>>(), ["c", "a", "b", "x"]);
    assert_same(&vault, &loaded).await;
}

#[tokio::test]
async fn an_empty_vault_is_empty() {
    let place = TempDir::new().unwrap();
    let vault = FileVault::open(place.path().join("vault"), &VaultKey::generate()).await.unwrap();
    let loaded = vault.load_all().await.unwrap();
    assert!(loaded.pools.is_empty() && loaded.listing.credentials.is_empty());
}

#[tokio::test]
async fn damage_is_named_just_as_a_listing_and_each_pool_name_it() {
    let (_place, _, vault, [a, b, _]) = filled().await;
    let root = vault.directory().to_owned();
    fs::write(root.join(format!("records/{a}.json")), "{").unwrap();
    // A secret that does not open, and a log with a line that cannot be read.
    let path = root.join(format!("records/{b}.json"));
    let text = fs::read_to_string(&path).unwrap().replace("\"generation\": 1", "\"generation\": 2");
    fs::write(&path, text).unwrap();
    let log = root.join("pools/other+team.log");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, format!("{text}00000000 {{}}\n{}\n", text.lines().next().unwrap())).unwrap();
    let loaded = vault.load_all().await.unwrap();
    assert_same(&vault, &loaded).await;
    assert_eq!(loaded.listing.damaged.len(), 2, "{:?}", loaded.listing.damaged);
    let pool = &loaded.pools[&account("a").metadata.pool];
    assert_eq!((pool.credentials.len(), pool.damaged.len()), (1, 2), "{:?}", pool.damaged);
}

#[tokio::test]
async fn a_pool_that_needs_another_key_is_left_to_be_loaded_alone() {
    let (_place, key, vault, [a, ..]) = filled().await;
    let new = VaultKey::generate();
    let both = FileVault::builder(vault.directory()).old_key(&key).open(&new).await.unwrap();
    // This one is sealed with a key that the first vault does not have.
    both.replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    let loaded = vault.load_all().await.unwrap();
    assert_eq!(loaded.listing.credentials.len(), 4);
    assert_eq!(loaded.pools.keys().collect::<Vec<_>>(), [&other()]);
    assert_eq!(both.reseal(|_| ()).await.unwrap().left, 0);
    assert_same(&both, &both.load_all().await.unwrap()).await;
}

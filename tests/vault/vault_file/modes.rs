//! Modes of files and directories, and of the key's file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{CredentialId, Generation, Secret};

use crate::place::Place;
use crate::vault_contract::{cooled, pool, put_all};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

async fn filled(place: &Place) -> CredentialId {
    let vault = place.open().await;
    let [id] = put_all(&vault, ["a"]).await;
    vault.replace_secret(&pool(), id, Generation::FIRST, Secret::api_key("n")).await.unwrap();
    vault.record(pool(), vec![cooled(id, 1, 1, true)]).await.unwrap();
    drop(vault.lease_refresh(&pool(), id).await.unwrap());
    id
}

fn assert_private(place: &Place) {
    let files = place.files();
    assert_eq!(files.len(), 6);
    for path in files.keys() {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    for directory in ["", "records", "pools", "leases"] {
        assert_eq!(mode(&place.root().join(directory)), 0o700, "{directory:?}");
    }
}

#[tokio::test]
async fn directories_are_0700_and_files_0600() {
    let place = Place::new();
    filled(&place).await;
    assert_private(&place);
}

#[tokio::test]
async fn modes_that_are_too_wide_are_narrowed_on_opening() {
    let place = Place::new();
    filled(&place).await;
    for path in place.files().keys() {
        set(path, 0o644);
    }
    for directory in ["", "records", "pools", "leases"] {
        set(&place.root().join(directory), 0o755);
    }
    place.open().await;
    assert_private(&place);
}

#[tokio::test]
async fn the_mode_of_a_directory_that_others_use_is_left() {
    let place = Place::new();
    fs::create_dir(place.root()).unwrap();
    fs::write(place.root().join("theirs"), "x").unwrap();
    set(&place.root(), 0o755);
    filled(&place).await;
    assert_eq!(mode(&place.root()), 0o755);
    assert_eq!(mode(&place.root().join("records")), 0o700);
}

#[tokio::test]
async fn a_key_file_is_made_private_in_a_private_directory_and_read_again() {
    let place = Place::new();
    let path = place.temporary.path().join("config/deep/vault.key");
    let key = VaultKey::load_or_create(&path).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(path.parent().unwrap().parent().unwrap()), 0o700);
    assert_eq!(VaultKey::load_or_create(&path).await.unwrap().id(), key.id());
    assert_eq!(place.files().len(), 1, "no temporary file is left");
}

#[tokio::test]
async fn a_key_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    let place = Place::new();
    let path = place.temporary.path().join("vault.key");
    let key = VaultKey::load_or_create(&path).await.unwrap();
    for wide in [0o640, 0o604, 0o660] {
        set(&path, wide);
        match VaultKey::load_or_create(&path).await {
            Err(VaultError::Key(text)) => {
                assert!(text.contains(&format!("chmod 600 '{}'", path.display())), "{text}");
            }
            loaded => panic!("{loaded:?}"),
        }
    }
    set(&path, 0o600);
    assert_eq!(VaultKey::load_or_create(&path).await.unwrap().id(), key.id());
}

//! Changing a vault's key in its place: both keys are kept until nothing needs the old one, one process at a time
//! changes the key, and a process that opens the vault meanwhile has both.
#![cfg(all(unix, feature = "file"))]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::{CommandKey, EnvKey, FileKey, KeyServiceExt, VaultKey};
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{Credential, PoolKey, Secret};

struct Place(TempDir);

impl Place {
    /// With a key.
    async fn new() -> (Self, VaultKey) {
        let place = Self(TempDir::new().unwrap());
        let key = place.file().load_or_create().await.unwrap();
        (place, key)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("keys/vault.key")
    }

    fn file(&self) -> FileKey {
        FileKey::new(self.path())
    }

    fn vault(&self) -> PathBuf {
        self.0.path().join("vault")
    }

    /// The files beside the key. Only their owner may read them.
    fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.0.path().join("keys")).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", entry.path().display());
            names.push(entry.file_name().into_string().unwrap());
        }
        names.sort();
        names
    }
}

async fn key_in(path: &Path) -> String {
    FileKey::new(path).load().await.unwrap().unwrap().id().to_string()
}

fn key_error<T: std::fmt::Debug>(result: Result<T, VaultError>) -> String {
    match result {
        Err(VaultError::Key(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn both_keys_are_kept_until_the_change_is_finished() {
    let (place, first) = Place::new().await;
    let rotation = place.file().rotate().await.unwrap();
    let new = rotation.keys().current.clone();
    assert_ne!(new.id(), first.id());
    assert_eq!(rotation.keys().previous.as_ref().unwrap().id(), first.id());
    assert!(!rotation.is_resumed());
    assert_eq!(place.files(), ["vault.key", "vault.key.lock", "vault.key.old"]);
    assert_eq!(key_in(&place.path()).await, new.id().to_string());

    let keys = place.file().load_keys().await.unwrap().unwrap();
    assert_eq!(keys.current.id(), new.id());
    assert_eq!(keys.previous.unwrap().id(), first.id());
    rotation.finish().await.unwrap();
    assert_eq!(place.files(), ["vault.key", "vault.key.lock"]);
    let keys = place.file().load_keys().await.unwrap().unwrap();
    assert_eq!(keys.current.id(), new.id());
    assert!(keys.previous.is_none());
}

#[tokio::test]
async fn the_previous_key_is_kept_under_its_id_if_requested() {
    let (place, first) = Place::new().await;
    let rotation = place.file().rotate().await.unwrap();
    let kept = rotation.keep_previous().await.unwrap().unwrap();
    rotation.finish().await.unwrap();
    assert_eq!(kept.id, first.id());
    assert_eq!(key_in(Path::new(&kept.place)).await, first.id().to_string());
    assert_eq!(place.files(), ["vault.key", &format!("vault.key.{}", first.id()), "vault.key.lock"]);
    assert!(place.file().load_keys().await.unwrap().unwrap().previous.is_none());
}

#[tokio::test]
async fn an_unfinished_change_is_resumed_and_makes_no_third_key() {
    let (place, first) = Place::new().await;
    let new = place.file().rotate().await.unwrap().keys().current.id();
    for _ in 0..2 {
        let rotation = place.file().rotate().await.unwrap();
        assert!(rotation.is_resumed());
        assert_eq!(rotation.keys().current.id(), new);
        assert_eq!(rotation.keys().previous.as_ref().unwrap().id(), first.id());
    }
    place.file().rotate().await.unwrap().finish().await.unwrap();
    let next = place.file().rotate().await.unwrap();
    assert!(!next.is_resumed());
    assert_ne!(next.keys().current.id(), new);
}

#[tokio::test]
async fn a_copy_of_the_same_key_does_not_count_as_a_change() {
    let (place, first) = Place::new().await;
    fs::copy(place.path(), place.path().with_extension("key.old")).unwrap();
    assert!(place.file().load_keys().await.unwrap().unwrap().previous.is_none());
    let rotation = place.file().rotate().await.unwrap();
    assert!(!rotation.is_resumed());
    assert_eq!(rotation.keys().previous.as_ref().unwrap().id(), first.id());
}

#[tokio::test]
async fn the_second_of_two_rotations_at_once_is_refused_and_names_the_first() {
    let (place, _) = Place::new().await;
    let rotation = place.file().rotate().await.unwrap();
    let other = VaultKey::generate();
    for error in [
        place.file().rotate().await.map(drop).unwrap_err(),
        place.file().replace(&other).await.map(drop).unwrap_err(),
    ] {
        match error {
            VaultError::Locked { path, holder, .. } => {
                assert_eq!(path, place.path().with_extension("key.lock"));
                if cfg!(target_os = "linux") {
                    assert_eq!(holder, Some(std::process::id()));
                }
            }
            error => panic!("{error:?}"),
        }
    }
    rotation.finish().await.unwrap();
    place.file().rotate().await.unwrap().finish().await.unwrap();
}

#[tokio::test]
async fn a_missing_key_cannot_be_rotated() {
    let place = Place(TempDir::new().unwrap());
    let text = key_error(place.file().rotate().await);
    assert!(text.contains(&place.path().display().to_string()), "{text}");
    assert!(!place.path().exists(), "none was made");
}

#[tokio::test]
async fn a_change_is_not_finished_if_somebody_has_put_another_key_in_its_place() {
    let (place, first) = Place::new().await;
    let rotation = place.file().rotate().await.unwrap();
    fs::write(place.path(), VaultKey::generate().to_base64().expose()).unwrap();
    let text = key_error(rotation.finish().await);
    assert!(text.contains(&place.path().display().to_string()) && text.contains(".old"), "{text}");
    assert_eq!(key_in(&place.path().with_extension("key.old")).await, first.id().to_string());
}

#[tokio::test]
async fn a_program_that_opens_the_vault_meanwhile_has_all_of_it() {
    let (place, first) = Place::new().await;
    let pool = PoolKey::new("example");
    let account = |label: &str| Credential::new(pool.clone(), label, Secret::api_key(label));
    let vault = FileVault::open(place.vault(), &first).await.unwrap();
    for label in ["a", "b", "c"] {
        vault.put(account(label)).await.unwrap();
    }
    let rotation = place.file().rotate().await.unwrap();
    let changing = FileVault::builder(place.vault()).open_with(rotation.keys()).await.unwrap();
    let other = async || {
        let keys = place.file().load_keys().await.unwrap().unwrap();
        let vault = FileVault::builder(place.vault()).open_with(&keys).await.unwrap();
        let loaded = vault.load_pool(pool.clone()).await.unwrap();
        assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
        (vault, loaded.credentials.len())
    };
    let (vault, count) = other().await;
    assert_eq!(count, 3);
    vault.put(account("d")).await.unwrap();
    assert_eq!(changing.reseal(|_| ()).await.unwrap().left, 0);
    assert_eq!(other().await.1, 4);
    rotation.finish().await.unwrap();
    assert_eq!(other().await.1, 4);
    // And the old key opens nothing any more.
    let text = key_error(FileVault::open(place.vault(), &first).await);
    assert!(text.contains(&first.id().to_string()), "{text}");
}

#[tokio::test]
async fn the_previous_key_is_requested_from_the_place_that_has_the_key() {
    let (place, first) = Place::new().await;
    drop(place.file().rotate().await.unwrap());
    let unset = EnvKey::new("TOWER_CREDENTIALS_TEST_THAT_NOBODY_SETS");
    let keys = unset.clone().or(place.file()).load_keys().await.unwrap().unwrap();
    assert_eq!(keys.previous.unwrap().id(), first.id());
    let keys = place.file().or(unset.clone()).load_keys().await.unwrap().unwrap();
    assert_eq!(keys.previous.unwrap().id(), first.id());
    assert!(unset.load_keys().await.unwrap().is_none());

    // A file's previous key is not the previous key of an unrelated key.
    let other = VaultKey::generate();
    let script = format!("echo run >> runs; echo {}", other.to_base64().expose());
    let script = format!("cd {}; {script}", place.0.path().display());
    let command = CommandKey::new("sh").args(["-c", &script]);
    let keys = command.or(place.file()).load_keys().await.unwrap().unwrap();
    assert_eq!(keys.current.id(), other.id());
    assert!(keys.previous.is_none());
    let runs = fs::read_to_string(place.0.path().join("runs")).unwrap();
    assert_eq!(runs.lines().count(), 2, "once for the key, once to know whose the key before is");
}

#[tokio::test]
async fn a_replaced_key_is_kept_under_its_id() {
    let (place, first) = Place::new().await;
    let other = VaultKey::generate();
    let kept = place.file().replace(&other).await.unwrap();
    let path = place.path().with_extension(format!("key.{}", first.id()));
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].id, kept[0].place.clone()), (first.id(), path.display().to_string()));
    assert_eq!(key_in(&path).await, first.id().to_string());
    assert_eq!(key_in(&place.path()).await, other.id().to_string());
    assert!(place.file().replace(&other).await.unwrap().is_empty(), "the same key again");
    assert_eq!(place.files().len(), 3);
}

#[tokio::test]
async fn both_keys_of_an_unfinished_rotation_are_kept_when_another_key_replaces_them() {
    let (place, first) = Place::new().await;
    let second = place.file().rotate().await.unwrap().keys().current.id();
    let third = VaultKey::generate();
    let kept = place.file().replace(&third).await.unwrap();
    assert_eq!(kept.iter().map(|kept| kept.id).collect::<Vec<_>>(), [second, first.id()]);
    for kept in kept {
        assert_eq!(key_in(Path::new(&kept.place)).await, kept.id.to_string());
    }
    let keys = place.file().load_keys().await.unwrap().unwrap();
    assert_eq!(keys.current.id(), third.id());
    assert!(keys.previous.is_none());
}

#[tokio::test]
async fn a_key_is_put_where_there_was_none_and_nothing_has_to_be_kept() {
    let place = Place(TempDir::new().unwrap());
    let key = VaultKey::generate();
    assert!(place.file().replace(&key).await.unwrap().is_empty());
    assert_eq!(key_in(&place.path()).await, key.id().to_string());
    assert_eq!(place.files(), ["vault.key", "vault.key.lock"]);
    let mode = fs::metadata(place.0.path().join("keys")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
}

#[tokio::test]
async fn a_key_file_that_others_may_read_or_that_holds_none_is_left_as_it_is() {
    let (place, _) = Place::new().await;
    let before = fs::read(place.path()).unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let other = VaultKey::generate();
    assert!(key_error(place.file().rotate().await).contains("chmod 600"));
    assert!(key_error(place.file().replace(&other).await).contains("chmod 600"));
    assert_eq!(fs::read(place.path()).unwrap(), before);
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(place.path(), "sk-planted").unwrap();
    for text in [key_error(place.file().rotate().await), key_error(place.file().replace(&other).await)] {
        assert!(text.contains("does not hold a key") && !text.contains("planted"), "{text}");
    }
    assert_eq!(fs::read(place.path()).unwrap(), b"sk-planted");
    assert!(!format!("{:?}", place.file()).contains("planted"));
}

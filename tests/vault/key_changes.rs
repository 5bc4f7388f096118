//! A vault that is open while another process changes its key: the vault finds the new key in its place.
#![cfg(all(unix, feature = "file"))]

use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::{
    CommandKey, FileKey, KeyRequest, KeyService, KeyServiceExt, VaultKey,
};
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{CredentialId, Generation, PoolKey, Secret};
use tower_service::Service;

use crate::place::Place;
use crate::vault_contract::{PLANTED, account, put_all, token};

fn pool() -> PoolKey {
    account("x").metadata.pool
}

/// A place with a key that a test may change. It counts how often it is called.
#[derive(Clone)]
struct Kept(Arc<Mutex<(VaultKey, usize)>>);

impl Kept {
    fn new(key: &VaultKey) -> Self {
        Self(Arc::new(Mutex::new((key.clone(), 0))))
    }

    fn exchange(&self, key: &VaultKey) {
        self.0.lock().unwrap().0 = key.clone();
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

impl Service<KeyRequest> for Kept {
    type Response = Option<VaultKey>;
    type Error = VaultError;
    type Future = Ready<Result<Option<VaultKey>, VaultError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: KeyRequest) -> Self::Future {
        if request == KeyRequest::LoadPrevious {
            return ready(Ok(None));
        }
        let mut kept = self.0.lock().unwrap();
        kept.1 += 1;
        ready(Ok(Some(kept.0.clone())))
    }
}

async fn open(place: &Place, keys: impl KeyService) -> FileVault {
    FileVault::open_from(place.root(), keys).await.unwrap()
}

/// Another process, which has both keys.
async fn changing(place: &Place, new: &VaultKey) -> FileVault {
    FileVault::builder(place.root()).old_key(&place.key).open(new).await.unwrap()
}

async fn change(place: &Place, new: &VaultKey) {
    assert_eq!(changing(place, new).await.reseal(|_| ()).await.unwrap().left, 0);
}

/// Checks that everything works: reading, renewing, adding.
async fn assert_works(vault: &FileVault, id: CredentialId, label: &str) {
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
    let generation = vault.get(&pool(), id).await.unwrap().metadata.generation;
    assert_eq!(vault.begin_refresh(&pool(), id, generation).await.unwrap().record.metadata.id, id);
    vault.replace_secret(&pool(), id, generation, Secret::api_key(label)).await.unwrap();
    assert_eq!(token(vault, id).await, label);
    let added = vault.put(account(label)).await.unwrap();
    assert_eq!(token(vault, added.id).await, format!("{PLANTED}-{label}"));
}

/// The kinds of requests that need a key. Each may be the first to find that the key was changed.
const FIRST: [&str; 5] = ["load", "get", "begin", "replace", "put"];

async fn ask(vault: &FileVault, what: &str, id: CredentialId) -> Result<(), VaultError> {
    match what {
        "load" => {
            let loaded = vault.load_pool(pool()).await?;
            assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
        }
        "get" => drop(vault.get(&pool(), id).await?),
        "begin" => drop(vault.begin_refresh(&pool(), id, Generation::FIRST).await?),
        "replace" => {
            drop(vault.replace_secret(&pool(), id, Generation::FIRST, Secret::api_key("r")).await?)
        }
        _ => drop(vault.put(account("new")).await?),
    }
    Ok(())
}

/// A vault that was open while another process changed its key. The key is not in its place yet.
struct Changed {
    place: Place,
    kept: Kept,
    vault: FileVault,
    id: CredentialId,
    new: VaultKey,
}

impl Changed {
    async fn new() -> Self {
        let place = Place::new();
        let kept = Kept::new(&place.key);
        let vault = open(&place, kept.clone()).await;
        let [id] = put_all(&vault, ["a"]).await;
        let new = VaultKey::generate();
        change(&place, &new).await;
        Self { place, kept, vault, id, new }
    }
}

#[tokio::test]
async fn whatever_is_asked_first_after_a_change_finds_the_new_key() {
    for what in FIRST {
        let Changed { place, kept, vault, id, new } = Changed::new().await;
        kept.exchange(&new);
        let before = kept.asked();
        ask(&vault, what, id).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_works(&vault, id, "then").await;
        assert_eq!(kept.asked(), before + 1, "{what}");
        // The new key alone opens what the vault stores.
        let other = FileVault::open(place.root(), &new).await.unwrap();
        assert!(other.load_pool(pool()).await.unwrap().damaged.is_empty());
    }
}

#[tokio::test]
async fn in_the_middle_of_a_change_both_keys_open_and_the_vaults_own_seals() {
    let place = Place::new();
    let file = FileKey::new(place.temporary.path().join("vault.key"));
    let vault = open(&place, file.clone()).await;
    let [a, b, c] = put_all(&vault, ["a", "b", "c"]).await;
    let rotation = file.rotate().await.unwrap();
    let rotating = FileVault::builder(place.root()).open_with(rotation.keys()).await.unwrap();
    // One record is sealed with the new key, the others are not.
    rotating.replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("a2")).await.unwrap();
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
    assert_eq!(token(&vault, a).await, "a2");
    vault.replace_secret(&pool(), b, Generation::FIRST, Secret::api_key("b2")).await.unwrap();
    let record = std::fs::read_to_string(place.root().join(format!("records/{b}.json"))).unwrap();
    assert!(record.contains(&rotation.keys().current.id().to_string()), "the new key seals it");
    assert_eq!(rotating.reseal(|_| ()).await.unwrap().sealed, 1, "the one that nobody has stored");
    rotation.finish().await.unwrap();
    assert_works(&vault, c, "after").await;
}

#[tokio::test]
async fn one_change_after_another_is_followed() {
    let place = Place::new();
    let file = FileKey::new(place.temporary.path().join("vault.key"));
    let vault = open(&place, file.clone()).await;
    let [id] = put_all(&vault, ["a"]).await;
    for round in 0..5 {
        let rotation = file.rotate().await.unwrap();
        let rotating = FileVault::builder(place.root()).open_with(rotation.keys()).await.unwrap();
        assert_eq!(rotating.reseal(|_| ()).await.unwrap().left, 0);
        rotation.finish().await.unwrap();
        if round % 2 == 0 {
            assert_works(&vault, id, &format!("round {round}")).await;
        }
    }
}

#[tokio::test]
async fn a_place_is_asked_only_for_a_key_that_is_needed() {
    let place = Place::new();
    let runs = place.temporary.path().join("runs");
    let key = place.temporary.path().join("key");
    std::fs::write(&key, place.key.to_base64().expose()).unwrap();
    let script = format!("echo run >> '{}'; cat '{}'", runs.display(), key.display());
    let vault = open(&place, CommandKey::new("sh").args(["-c", &script])).await;
    let count = || std::fs::read_to_string(&runs).unwrap().lines().count();
    assert_eq!(count(), 1);
    let [id] = put_all(&vault, ["a"]).await;
    assert_works(&vault, id, "before").await;
    assert_eq!(count(), 1);
    let new = VaultKey::generate();
    std::fs::write(&key, new.to_base64().expose()).unwrap();
    change(&place, &new).await;
    // However many requests need it at once.
    let asking = (0..20).map(|_| {
        tokio::spawn({
            let vault = vault.clone();
            async move { vault.load_pool(pool()).await.unwrap().damaged.len() }
        })
    });
    for asked in asking.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), 0);
    }
    assert_works(&vault, id, "after").await;
    assert_eq!(count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_until_the_new_key_is_in_its_place() {
    for what in FIRST {
        let Changed { place: _place, kept, vault, id, new } = Changed::new().await;
        let began = Instant::now();
        let exchange = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            kept.exchange(&new);
        };
        let (asked, ()) = tokio::join!(ask(&vault, what, id), exchange);
        asked.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(began.elapsed() < Duration::from_secs(8), "{what}: {:?}", began.elapsed());
        assert_works(&vault, id, "then").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_does_not_come_is_waited_for_once_and_requested_less_and_less_often() {
    let place = Place::new();
    let kept = Kept::new(&place.key);
    let vault = open(&place, kept.clone()).await;
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    let new = VaultKey::generate();
    let rotating = changing(&place, &new).await;
    rotating.replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("a2")).await.unwrap();
    let before = kept.asked();

    let began = Instant::now();
    let loaded = vault.load_pool(pool()).await.unwrap();
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(10) && waited < Duration::from_secs(12), "{waited:?}");
    let [damage] = &loaded.damaged[..] else { panic!("{:?}", loaded.damaged) };
    assert_eq!((damage.id, damage.may_pass), (Some(a), true), "what is in memory stays in use");
    assert!(damage.reason.contains("looked for where the key is kept"), "{damage}");
    assert_eq!(token(&vault, b).await, format!("{PLANTED}-b"), "what the old key opens is at hand");
    let asked = kept.asked() - before;
    assert!((3..=6).contains(&asked), "{asked}");

    // After that nobody waits.
    let began = Instant::now();
    for _ in 0..100 {
        let VaultError::Key(said) = vault.get(&pool(), a).await.unwrap_err() else { panic!() };
        assert!(said.contains(&new.id().to_string()) && said.contains("looked for"), "{said}");
        assert!(!said.contains("start it again"), "{said}");
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(6001));
    assert!(kept.asked() - before - asked < 30, "in 100 minutes: {}", kept.asked() - before);
    // But it is found as soon as it is there.
    kept.exchange(&new);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_works(&vault, a, "at last").await;
}

#[tokio::test]
async fn a_key_that_the_vault_does_not_name_is_no_reason_to_wait_or_to_take_another() {
    let place = Place::new();
    let kept = Kept::new(&place.key);
    let vault = open(&place, kept.clone()).await;
    let [a, _] = put_all(&vault, ["a", "b"]).await;
    // A record that a stranger has sealed.
    let stranger = VaultKey::generate();
    let path = place.root().join(format!("records/{a}.json"));
    let record = std::fs::read_to_string(&path).unwrap();
    let other = record.replace(&place.key.id().to_string(), &stranger.id().to_string());
    std::fs::write(&path, other).unwrap();
    kept.exchange(&VaultKey::generate());
    for _ in 0..10 {
        let loaded = vault.load_pool(pool()).await.unwrap();
        let [damage] = &loaded.damaged[..] else { panic!("{:?}", loaded.damaged) };
        assert_eq!((damage.id, damage.may_pass), (Some(a), false));
    }
    assert_eq!(kept.asked(), 2, "once when it was opened, once for the stranger's key");
    // The key that is there now does not open this vault, and does not become its own.
    let marker = std::fs::read_to_string(place.root().join("key.json")).unwrap();
    assert!(marker.contains(&format!("\"key_id\": \"{}\"", place.key.id())), "{marker}");
    vault.put(account("c")).await.unwrap();
}

#[tokio::test]
async fn a_place_that_fails_is_named_in_what_is_said() {
    let place = Place::new();
    let key = place.temporary.path().join("vault.key");
    let file = FileKey::new(&key);
    // It does not wait longer than this.
    let builder = FileVault::builder(place.root()).lock_timeout(Duration::from_millis(50));
    let old = file.load_or_create().await.unwrap();
    let vault = builder.open_from(file).await.unwrap();
    let [id] = put_all(&vault, ["a"]).await;
    let new = VaultKey::generate();
    let both = FileVault::builder(place.root()).old_key(&old).open(&new).await.unwrap();
    assert_eq!(both.reseal(|_| ()).await.unwrap().left, 0);
    std::fs::write(&key, "planted, and no key").unwrap();
    let VaultError::Key(said) = vault.get(&pool(), id).await.unwrap_err() else { panic!() };
    assert!(said.contains(&key.display().to_string()) && !said.contains("planted"), "{said}");
}

#[tokio::test]
async fn a_vault_whose_key_is_missing_gets_no_other_one() {
    let place = Place::new();
    let file = FileKey::new(place.temporary.path().join("vault.key"));
    let vault = open(&place, file.clone()).await;
    put_all(&vault, ["a"]).await;
    std::fs::remove_file(file.path()).unwrap();
    let VaultError::Key(said) = FileVault::open_from(place.root(), file.clone()).await.unwrap_err()
    else {
        panic!()
    };
    assert!(said.contains(&place.root().display().to_string()) && said.contains("missing"), "{said}");
    assert!(!file.path().exists());
}

#[tokio::test]
async fn a_vault_with_one_key_for_good_says_that_it_was_left_behind() {
    let place = Place::new();
    let vault = place.open().await;
    let [id] = put_all(&vault, ["a"]).await;
    change(&place, &VaultKey::generate()).await;
    for what in FIRST {
        let VaultError::Key(said) = ask(&vault, what, id).await.unwrap_err() else { panic!("{what}") };
        assert!(said.contains("start it again"), "{what}: {said}");
    }
}

//! Resealing with a new key: record by record, resumable, with both keys known until the end. And the count of what a
//! key has sealed.
#![cfg(feature = "file")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tower_credentials::vault::file::{FileVault, Resealing};
use tower_credentials::vault::key::{KeyId, VaultKey};
use tower_credentials::vault::seal::{Resealed, Seal, SealLayer, Sealed};
use tower_credentials::vault::{MemoryVault, VaultError, VaultExt};
use tower_credentials::{CredentialId, Generation, Secret};
use tower_layer::Layer;

use crate::vault_contract::{PLANTED, account, order, poll_once, pool, put_all, token};

struct Place {
    temporary: TempDir,
    old: VaultKey,
    new: VaultKey,
}

impl Place {
    fn new() -> Self {
        // In memory if possible: one of the tests syncs a thousand times.
        let memory = Path::new("/dev/shm");
        let temporary = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        Self { temporary: temporary.unwrap(), old: VaultKey::generate(), new: VaultKey::generate() }
    }

    fn root(&self) -> PathBuf {
        self.temporary.path().join("vault")
    }

    async fn open_old(&self) -> FileVault {
        FileVault::open(self.root(), &self.old).await.unwrap()
    }

    async fn open_both(&self) -> FileVault {
        FileVault::builder(self.root()).old_key(&self.old).open(&self.new).await.unwrap()
    }

    async fn open_new(&self) -> Result<FileVault, VaultError> {
        FileVault::open(self.root(), &self.new).await
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&fs::read(self.root().join(path)).unwrap()).unwrap()
    }

    fn sealed_with(&self, id: CredentialId) -> String {
        self.json(&format!("records/{id}.json"))["secret"]["key_id"].as_str().unwrap().to_owned()
    }

    fn set_count(&self, key: KeyId, count: u64) {
        let mut json = self.json("key.json");
        json["seals"][key.to_string()] = count.into();
        // As the vault does it: another file takes the name.
        let file = self.root().join("key.json.new");
        fs::write(&file, json.to_string()).unwrap();
        fs::rename(file, self.root().join("key.json")).unwrap();
    }

    fn count(&self, key: KeyId) -> u64 {
        self.json("key.json")["seals"][key.to_string()].as_u64().unwrap_or(0)
    }
}

async fn reseal(vault: &FileVault) -> Resealing {
    vault.reseal(|_| ()).await.unwrap()
}

#[tokio::test]
async fn a_resealed_vault_opens_with_the_new_key_alone() {
    let place = Place::new();
    let [a, b] = put_all(&place.open_old().await, ["a", "b"]).await;
    let vault = place.open_both().await;
    assert_eq!(token(&vault, a).await, format!("{PLANTED}-a"), "the old key opens it meanwhile");
    // Everything that is stored from now on needs only the new key.
    vault.replace_secret(&pool(), b, Generation::FIRST, Secret::api_key("b2")).await.unwrap();
    let [c] = put_all(&vault, ["c"]).await;
    assert_eq!(place.sealed_with(c), place.new.id().to_string());

    let mut seen = Vec::new();
    let done = vault.reseal(|so_far| seen.push((so_far.done, so_far.total))).await.unwrap();
    assert_eq!(seen, [(1, 3), (2, 3), (3, 3)]);
    assert_eq!((done.sealed, done.left, done.damaged.len()), (1, 0, 0));

    let vault = place.open_new().await.unwrap();
    assert_eq!(order(&vault).await, ["a", "b", "c"]);
    assert_eq!(token(&vault, a).await, format!("{PLANTED}-a"));
    assert_eq!(token(&vault, b).await, "b2");
    assert_eq!(
        vault.get(&pool(), a).await.unwrap().metadata.generation,
        Generation::FIRST,
        "no new secret"
    );
    match FileVault::open(place.root(), &place.old).await {
        Err(VaultError::Key(text)) => {
            assert!(text.contains(&place.old.id().to_string()), "{text}");
            assert!(text.contains(&place.new.id().to_string()), "{text}");
        }
        opened => panic!("{opened:?}"),
    }
}

#[tokio::test]
async fn resealing_twice_finds_nothing_to_do() {
    let place = Place::new();
    let [a] = put_all(&place.open_old().await, ["a"]).await;
    let vault = place.open_both().await;
    assert_eq!(reseal(&vault).await.sealed, 1);
    let before = fs::read(place.root().join(format!("records/{a}.json"))).unwrap();
    let again = reseal(&vault).await;
    assert_eq!((again.sealed, again.left, again.done), (0, 0, 1));
    assert_eq!(fs::read(place.root().join(format!("records/{a}.json"))).unwrap(), before);
}

#[tokio::test]
async fn a_program_that_has_only_the_old_key_loses_nothing_and_stores_nothing_in_the_end() {
    let place = Place::new();
    let old = place.open_old().await;
    let [a] = put_all(&old, ["a"]).await;
    let vault = place.open_both().await;
    // Until it is finished, records of the other key are accepted.
    let b = old.put(account("b")).await.unwrap().id;
    assert_eq!(place.sealed_with(b), place.old.id().to_string());
    assert_eq!(token(&vault, b).await, format!("{PLANTED}-b"));
    assert_eq!(reseal(&vault).await.sealed, 2);

    let before = fs::read_dir(place.root().join("records")).unwrap().count();
    for error in [
        old.put(account("c")).await.map(drop).unwrap_err(),
        old.get(&pool(), a).await.map(drop).unwrap_err(),
        old.replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("x"))
            .await
            .map(drop)
            .unwrap_err(),
    ] {
        let VaultError::Key(text) = &error else { panic!("{error:?}") };
        assert!(text.contains(&place.new.id().to_string()), "{text}");
    }
    assert_eq!(fs::read_dir(place.root().join("records")).unwrap().count(), before);
    assert_eq!(order(&place.open_new().await.unwrap()).await, ["a", "b"]);
}

#[tokio::test]
async fn a_record_that_is_added_with_the_old_key_meanwhile_is_resealed_too() {
    let place = Place::new();
    let old = place.open_old().await;
    put_all(&old, ["a", "b"]).await;
    let vault = place.open_both().await;
    let added = std::cell::Cell::new(0);
    // The last record of each of three rounds is followed by one more.
    let resealing = vault
        .reseal(|so_far| {
            if so_far.done == so_far.total && added.get() < 3 {
                added.set(added.get() + 1);
                let (old, label) = (old.clone(), format!("added-{}", added.get()));
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.unwrap().block_on(old.put(account(&label))).unwrap();
                })
                .join()
                .unwrap();
            }
        })
        .await
        .unwrap();
    assert_eq!((resealing.left, resealing.total, resealing.sealed), (0, 5, 5));
    assert!(resealing.damaged.is_empty());
    assert_eq!(place.open_new().await.unwrap().list().await.unwrap().credentials.len(), 5);
}

#[tokio::test]
async fn a_record_is_not_resealed_while_somebody_refreshes_it() {
    let place = Place::new();
    let old = place.open_old().await;
    let [a] = put_all(&old, ["a"]).await;
    let lease = old.lease_refresh(&pool(), a).await.unwrap();
    let vault = place.open_both().await;
    let mut resealing = Box::pin(vault.reseal(|_| ()));
    // Until it waits for the lease: the first steps need a thread each.
    for _ in 0..1000 {
        assert!(poll_once(resealing.as_mut()).is_pending());
        tokio::task::spawn_blocking(|| ()).await.unwrap();
    }
    assert_eq!(place.sealed_with(a), place.old.id().to_string());
    // So a process that comes back from a token endpoint can store its result with the key that it has.
    old.replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("renewed")).await.unwrap();
    drop(lease);
    assert_eq!(resealing.await.unwrap().left, 0);
    assert_eq!(token(&place.open_new().await.unwrap(), a).await, "renewed");
}

#[tokio::test]
async fn a_lease_of_this_process_is_waited_for_too() {
    let place = Place::new();
    let [a, _, _] = put_all(&place.open_old().await, ["a", "b", "c"]).await;
    let vault = place.open_both().await;
    let lease = vault.lease_refresh(&pool(), a).await.unwrap();
    let mut resealing = Box::pin(vault.reseal(|_| ()));
    for _ in 0..1000 {
        assert!(poll_once(resealing.as_mut()).is_pending());
        tokio::task::spawn_blocking(|| ()).await.unwrap();
    }
    assert_eq!(place.sealed_with(a), place.old.id().to_string());
    drop(lease);
    let done = resealing.await.unwrap();
    assert_eq!((done.sealed, done.left), (3, 0));
}

#[tokio::test]
async fn progress_is_reported_for_each_record_of_a_large_vault() {
    let place = Place::new();
    let old = place.open_old().await;
    let ids: Vec<_> = put_many(&old, 150).await;
    let path = |id| place.root().join(format!("records/{id}.json"));
    fs::write(path(ids[70]), "{").unwrap();
    let vault = place.open_both().await;
    let mut seen = Vec::new();
    let done = vault.reseal(|so_far| seen.push((so_far.done, so_far.total))).await.unwrap();
    assert_eq!(seen, (1..=150).map(|done| (done, 150)).collect::<Vec<_>>());
    assert_eq!((done.sealed, done.damaged.len(), done.left), (149, 1, 1));
    assert_eq!(done.damaged[0].record, path(ids[70]).display().to_string());
}

/// Adds this many accounts, one after another.
async fn put_many(vault: &FileVault, count: usize) -> Vec<CredentialId> {
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(vault.put(account(&number.to_string())).await.unwrap().id);
    }
    ids
}

#[tokio::test]
async fn a_damaged_record_is_named_and_keeps_the_old_key_needed() {
    let place = Place::new();
    let [a, b] = put_all(&place.open_old().await, ["a", "b"]).await;
    let path = place.root().join(format!("records/{b}.json"));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, "{").unwrap();
    let vault = place.open_both().await;
    let first = reseal(&vault).await;
    assert_eq!((first.sealed, first.left), (1, 1));
    assert_eq!(first.damaged[0].record, path.display().to_string());
    assert_eq!(place.json("key.json")["previous"][0], place.old.id().to_string());
    assert_eq!(token(&vault, a).await, format!("{PLANTED}-a"));
    // Once it is mended, it is resealed like the others.
    fs::write(&path, whole).unwrap();
    let second = reseal(&vault).await;
    assert_eq!((second.sealed, second.left), (1, 0));
    assert_eq!(token(&place.open_new().await.unwrap(), b).await, format!("{PLANTED}-b"));
}

#[tokio::test]
async fn resealing_works_over_every_backend() {
    let (old, new) = (VaultKey::generate(), VaultKey::generate());
    let backend = MemoryVault::<Sealed>::new();
    let before = Seal::new(backend.clone(), &old);
    let [a] = put_all(&before, ["a"]).await;
    let vault = SealLayer::new(&new).old_key(&old).layer(backend.clone());
    assert_eq!(vault.key_id(), new.id());
    assert_eq!(token(&vault, a).await, format!("{PLANTED}-a"));
    assert_eq!(vault.reseal(&pool(), a).await.unwrap(), Resealed::Done);
    assert_eq!(vault.reseal(&pool(), a).await.unwrap(), Resealed::Already);
    let after = Seal::new(backend.clone(), &new);
    assert_eq!(token(&after, a).await, format!("{PLANTED}-a"));
    assert!(matches!(before.get(&pool(), a).await, Err(VaultError::Key(_))));
    let stranger = Seal::new(backend, &VaultKey::generate());
    assert!(matches!(stranger.reseal(&pool(), a).await, Err(VaultError::Key(_))));
    let missing = CredentialId::random();
    assert!(
        matches!(after.reseal(&pool(), missing).await, Err(VaultError::NotFound(id)) if id == missing)
    );
}

#[tokio::test]
async fn seals_are_counted_before_they_are_made_by_every_opening() {
    let place = Place::new();
    let key = place.old.id();
    assert_eq!((place.open_old().await, place.count(key)).1, 0, "to open it seals nothing");
    let mut made = 0;
    for _ in 0..3 {
        let vault = place.open_old().await;
        let before = place.count(key);
        put_all(&vault, ["a", "b"]).await;
        made += 2;
        assert!(place.count(key) >= before + 2 && place.count(key) >= made);
    }
    let vault = place.open_old().await;
    let [id] = put_all(&vault, ["c"]).await;
    let before = place.count(key);
    for generation in 1..=1024 {
        vault
            .replace_secret(&pool(), id, Generation::new(generation), Secret::api_key("n"))
            .await
            .unwrap();
    }
    assert!(place.count(key) > before, "what was counted at once is used up");
}

#[tokio::test]
async fn a_key_seals_no_more_than_random_nonces_allow() {
    let place = Place::new();
    let vault = place.open_old().await;
    let [a] = put_all(&vault, ["a"]).await;
    // Every opening counts some seals before it makes them, so this is about an opening that has none left.
    let vault = place.open_old().await;
    place.set_count(place.old.id(), 1 << 32);
    for error in [
        vault.put(account("b")).await.map(drop).unwrap_err(),
        vault
            .replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("x"))
            .await
            .map(drop)
            .unwrap_err(),
    ] {
        let VaultError::Key(text) = &error else { panic!("{error:?}") };
        assert!(text.contains("2^32") && text.contains("another key"), "{text}");
    }
    assert_eq!(order(&vault).await, ["a"]);
    assert_eq!(token(&vault, a).await, format!("{PLANTED}-a"));
    // The way out that the error names.
    let vault = place.open_both().await;
    assert_eq!(reseal(&vault).await.left, 0);
    put_all(&vault, ["b"]).await;
    assert_eq!(place.count(place.old.id()), 1 << 32, "it stays used up");
}

#[tokio::test]
async fn two_keys_at_once_make_one_vault_with_one_key() {
    let place = Place::new();
    let opening = [&place.old, &place.new].map(|key| {
        let (root, key) = (place.root(), key.clone());
        tokio::spawn(async move { FileVault::open(root, &key).await.map(drop) })
    });
    let [first, second] = opening;
    let results = [first.await.unwrap(), second.await.unwrap()];
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(results.iter().any(|result| matches!(result, Err(VaultError::Key(_)))), "{results:?}");
}

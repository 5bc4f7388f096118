//! The vault in a directory: what its files contain, and what happens if they are not as the vault left them.

mod damaged_files;
mod key_file;
#[cfg(unix)]
mod modes;
#[cfg(target_os = "linux")]
mod queues;
mod sharing;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use base64::Engine;
use tempfile::TempDir;
use tower_credentials::standing::{Change, Health, Outcome};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{Credential, CredentialId, Generation, OAuthTokens, PoolKey, Secret};

use crate::place::Place;
use crate::vault_contract::{PLANTED, cooled, every_promise, order, pool, put_all, token, until};

async fn new() -> (FileVault, TempDir) {
    let place = TempDir::new().unwrap();
    (FileVault::open(place.path().join("vault"), &VaultKey::generate()).await.unwrap(), place)
}

every_promise!(new);

impl Place {
    fn record(&self, id: CredentialId) -> PathBuf {
        self.root().join(format!("records/{id}.json"))
    }

    fn pool(&self) -> PathBuf {
        self.root().join("pools/example+default.log")
    }

    /// Every file below the temporary directory, with its content.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut directories = vec![self.temporary.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    files.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        files
    }
}

#[tokio::test]
async fn credentials_order_and_cooldowns_survive_reopening() {
    let place = Place::new();
    let vault = place.open().await;
    let [a, b, c] = put_all(&vault, ["a", "b", "c"]).await;
    vault.move_to(&pool(), c, 0).await.unwrap();
    let health = Change::Health(Health::NeedsSignIn {
        reason: "revoked".into(),
        generation: Generation::FIRST,
        cause: None,
    });
    vault
        .record(pool(), vec![cooled(a, 5_000, 1, true), Outcome { id: b, change: health }])
        .await
        .unwrap();
    vault.replace_secret(&pool(), b, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    let before = vault.load_pool(pool()).await.unwrap();
    drop(vault);

    let vault = place.open().await;
    let after = vault.load_pool(pool()).await.unwrap();
    assert_eq!(order(&vault).await, ["c", "b", "a"]);
    assert_eq!(until(&vault, a).await, Some(5_000));
    assert_eq!(after.standings, before.standings);
    assert_eq!(after.standings.credentials[&b].failures, 0);
    assert_eq!(after.revision, before.revision);
    assert_eq!(token(&vault, b).await, "new");
    assert_eq!(vault.get(&pool(), b).await.unwrap().metadata.generation, Generation::new(2));
}

#[tokio::test]
async fn nothing_of_a_secret_is_in_any_file() {
    let place = Place::new();
    let vault = place.open().await;
    let mut tokens = OAuthTokens::new(PLANTED).refresh(format!("refresh-{PLANTED}"));
    tokens.extra.insert("id_token".into(), PLANTED.into());
    let id = vault.put(Credential::new(pool(), "a", tokens.clone())).await.unwrap().id;
    vault.replace_secret(&pool(), id, Generation::FIRST, tokens).await.unwrap();
    vault.record(pool(), vec![cooled(id, 5_000, 1, true)]).await.unwrap();
    put_all(&vault, ["b"]).await;
    let _lease = vault.lease_refresh(&pool(), id).await.unwrap();

    let files = place.files();
    assert!(files.len() >= 5, "{:?}", files.keys());
    let mut needles = vec![b"planted".to_vec()];
    for shift in 0..3 {
        // Its base64 at each of the three alignments within a longer text.
        let text = format!("{}{PLANTED}", &"xxx"[..shift]);
        for engine in
            [base64::engine::general_purpose::STANDARD, base64::engine::general_purpose::URL_SAFE]
        {
            needles.push(engine.encode(&text).as_bytes()[4..40].to_vec());
        }
    }
    needles.push(PLANTED.bytes().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
    needles.push(place.key.to_base64().expose().as_bytes()[..20].to_vec());
    for (path, bytes) in files {
        for needle in &needles {
            let found = bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!found, "{} is in {}", String::from_utf8_lossy(needle), path.display());
        }
    }
}

#[tokio::test]
async fn a_cooldown_or_a_move_never_touches_a_record() {
    let place = Place::new();
    let vault = place.open().await;
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    let contents = |id| {
        let path = place.record(id);
        (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap())
    };
    let before = [contents(a), contents(b)];
    let pool_before = fs::read(place.pool()).unwrap();
    vault.record(pool(), vec![cooled(a, 5_000, 1, true)]).await.unwrap();
    vault.move_to(&pool(), b, 1).await.unwrap();
    assert_ne!(fs::read(place.pool()).unwrap(), pool_before);
    assert_eq!([contents(a), contents(b)], before);
}

#[tokio::test]
async fn names_never_leave_the_directory() {
    let place = Place::new();
    let vault = place.open().await;
    let before = place.files().len();
    let long = "é/".repeat(60);
    let pools = [
        PoolKey::new("../../x"),
        PoolKey::new("/etc/passwd"),
        PoolKey::with_namespace("..", "../.."),
        PoolKey::with_namespace(".", "c:\\x"),
        PoolKey::with_namespace(long.as_str(), long.as_str()),
        PoolKey::new("Example"),
        PoolKey::new("example"),
    ];
    for pool in &pools {
        let id =
            vault.put(Credential::new(pool.clone(), "../l", Secret::api_key("k"))).await.unwrap().id;
        vault.record(pool.clone(), vec![cooled(id, 5_000, 1, false)]).await.unwrap();
        let loaded = vault.load_pool(pool.clone()).await.unwrap();
        assert_eq!(loaded.credentials.len(), 1, "{pool}");
        assert_eq!(&*loaded.credentials[0].metadata.label, "../l");
    }
    let files = place.files();
    assert_eq!(files.len(), before + 3 * pools.len());
    for path in files.keys() {
        let below = path.strip_prefix(place.root()).unwrap();
        assert!(below.components().count() <= 2, "{}", path.display());
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_when_the_vault_is_opened() {
    let place = Place::new();
    let vault = place.open().await;
    put_all(&vault, ["a", "b"]).await;
    let before = place.files();
    let other = VaultKey::generate();
    match FileVault::open(place.root(), &other).await {
        Err(VaultError::Key(text)) => {
            assert!(text.contains(&place.key.id().to_string()), "{text}");
            assert!(text.contains(&other.id().to_string()), "{text}");
        }
        opened => panic!("{opened:?}"),
    }
    assert_eq!(place.files(), before);
    assert_eq!(order(&place.open().await).await, ["a", "b"]);
}

#[tokio::test]
async fn a_finished_vault_leaves_no_temporary_file() {
    let place = Place::new();
    let vault = place.open().await;
    let [a, _] = put_all(&vault, ["a", "b"]).await;
    vault.replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("n")).await.unwrap();
    vault.record(pool(), vec![cooled(a, 1, 1, true)]).await.unwrap();
    let names: Vec<_> = place.files().into_keys().collect();
    assert_eq!(names.len(), 6, "two records, a log, two locks and the key's file: {names:?}");
}

#[tokio::test]
async fn debug_shows_the_directory() {
    let place = Place::new();
    let vault = place.open().await;
    assert!(format!("{vault:?}").contains("vault"));
    assert_eq!(vault.directory(), place.root());
}

//! What becomes of a vault whose files were damaged or exchanged: no secret is ever a wrong one, what can't be
//! read is named, everything else works, and nothing that was there is lost.

#![cfg(unix)]

mod edits;
mod lost_bits;
mod newer_formats;
mod not_files;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tower_credentials::standing::{Change, Cooldown, Outcome, Reason};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{Credential, CredentialId, Generation, Metadata, PoolKey, Secret, Timestamp};

/// A vault of three records: 1 and 2 are of one pool, 3 is of another.
struct Place {
    temporary: TempDir,
    key: VaultKey,
}

fn id(number: u8) -> CredentialId {
    CredentialId::from_bytes([number * 0x11; 16])
}

fn pool() -> PoolKey {
    PoolKey::new("example")
}

fn other_pool() -> PoolKey {
    PoolKey::with_namespace("example", "other")
}

fn token(number: u8) -> String {
    format!("sk-{number}")
}

fn cooled(number: u8, until: u64) -> Vec<Outcome> {
    let [until, set_at] = [until, 1].map(Timestamp::from_millis);
    let cooldown = Cooldown { until, set_at, reason: Reason::Limited, scope: None, generation: None };
    let change = Change::CooledDown { cooldown, failure: false, to_back: false };
    vec![Outcome { id: id(number), change }]
}

impl Place {
    async fn new() -> (Self, FileVault) {
        let place = Self { temporary: TempDir::new().unwrap(), key: VaultKey::generate() };
        let vault = place.open().await;
        for (number, pool) in [(1, pool()), (2, pool()), (3, other_pool())] {
            let mut credential =
                Credential::new(pool, format!("l{number}"), Secret::api_key(token(number)))
                    .attribute("host", "a.example");
            credential.metadata.id = id(number);
            vault.put(credential).await.unwrap();
        }
        vault.record(pool(), cooled(1, 5_000)).await.unwrap();
        (place, vault)
    }

    fn root(&self) -> PathBuf {
        self.temporary.path().join("vault")
    }

    async fn try_open(&self) -> Result<FileVault, VaultError> {
        FileVault::open(self.root(), &self.key).await
    }

    async fn open(&self) -> FileVault {
        self.try_open().await.unwrap()
    }

    fn record(&self, number: u8) -> PathBuf {
        self.root().join(format!("records/{}.json", id(number)))
    }

    fn log(&self) -> PathBuf {
        self.root().join("pools/example+default.log")
    }

    fn key_file(&self) -> PathBuf {
        self.root().join("key.json")
    }

    /// Every plain file of the vault, with what is in it.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let directories = ["", "records", "pools", "leases"].map(|name| self.root().join(name));
        let entries = directories.iter().flat_map(|directory| fs::read_dir(directory).unwrap());
        let paths = entries.map(|entry| entry.unwrap().path());
        let plain = paths.filter(|path| fs::symlink_metadata(path).unwrap().is_file());
        plain.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    /// Whether these bytes are in some file of the vault.
    fn keeps(&self, bytes: &[u8]) -> bool {
        let in_file = |file: &Vec<u8>| file.windows(bytes.len().max(1)).any(|part| part == bytes);
        bytes.is_empty() || self.files().values().any(in_file)
    }

    fn edit(&self, number: u8, change: impl FnOnce(&mut Value)) {
        let path = self.record(number);
        let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut json);
        fs::write(path, serde_json::to_vec(&json).unwrap()).unwrap();
    }
}

/// Puts a file with these bytes in place of the one at `path`, as another process would.
fn replace(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::rename(new, path).unwrap();
}

/// Whether the metadata is the same in all that decides where a secret goes.
fn is_same_place(one: &Metadata, other: &Metadata) -> bool {
    one.id == other.id
        && one.pool == other.pool
        && one.kind == other.kind
        && one.generation == other.generation
        && one.attributes == other.attributes
}

/// Everything but record `damaged` is as it was, for who asks for it alone and for who loads the pools.
async fn assert_others_work(vault: &FileVault, damaged: Option<u8>, what: &str) {
    for number in [1, 2, 3].into_iter().filter(|number| Some(*number) != damaged) {
        let known = vault.get(id(number)).await.unwrap();
        assert_eq!(known.secret.token().expose(), token(number), "{what}");
    }
    let loaded = vault.load_pool(other_pool()).await.unwrap();
    let labels: Vec<_> = loaded.credentials.iter().map(|known| &*known.metadata.label).collect();
    assert!(damaged == Some(3) || labels == ["l3"], "{what}: {labels:?}");
}

/// Record 1 is named as damaged by its file, with a reason that has `reason` in it, by whoever asks; it is
/// left as it is, and the others work.
async fn assert_refused(place: &Place, vault: &FileVault, reason: &str) {
    let path = place.record(1);
    let before = fs::symlink_metadata(&path).unwrap().is_file().then(|| fs::read(&path).unwrap());
    match vault.get(id(1)).await {
        Err(VaultError::Damaged(damage)) => {
            assert_eq!(damage.record, path.display().to_string(), "{damage}");
            assert!(damage.reason.contains(reason), "{damage}");
        }
        other => panic!("{reason}: {other:?}"),
    }
    let replaced = vault.replace_secret(id(1), Generation::FIRST, Secret::api_key("new")).await;
    assert!(matches!(replaced, Err(VaultError::Damaged(_))), "{reason}: {replaced:?}");
    for vault in [vault.clone(), place.open().await] {
        // The second time from what it remembers of the first.
        for _ in 0..2 {
            let loaded = vault.load_pool(pool()).await.unwrap();
            let ids: Vec<_> = loaded.credentials.iter().map(|known| known.metadata.id).collect();
            assert_eq!(ids, [id(2)], "{reason}");
            let named: Vec<_> = loaded.damaged.iter().map(|damage| &damage.record).collect();
            assert_eq!(named, [&path.display().to_string()], "{reason}: {:?}", loaded.damaged);
        }
        assert_others_work(&vault, Some(1), reason).await;
    }
    if let Some(before) = before {
        assert_eq!(fs::read(&path).unwrap(), before, "{reason}: left as it is");
    }
}

//! Vaults whose files were damaged or exchanged: no secret is ever a wrong one, what cannot be read is named,
//! everything else works, and nothing is lost.

#![cfg(unix)]

mod edits;
mod lost_bits;
mod newer_formats;
mod not_files;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{Generation, Metadata, Secret};

use crate::three_records::{Place, cooled, credential, id, other_pool};
use crate::vault_contract::pool;

fn token(number: u8) -> String {
    format!("sk-{number}")
}

/// Makes the vault, with an attribute in each record and a cooldown of the first.
async fn new() -> (Place, FileVault) {
    let place = Place { temporary: TempDir::new().unwrap(), key: VaultKey::generate() };
    let vault = place.open().await;
    for number in [1, 2, 3] {
        let credential = credential(number, token(number)).attribute("host", "a.example");
        vault.put(credential).await.unwrap();
    }
    vault.record(pool(), vec![cooled(1, 5_000)]).await.unwrap();
    (place, vault)
}

impl Place {
    fn key_json(&self) -> PathBuf {
        self.file("key.json")
    }

    /// Every regular file of the vault, with its content.
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
}

/// Whether the metadata is the same in everything that decides where a secret is sent.
fn is_same_place(one: &Metadata, other: &Metadata) -> bool {
    one.id == other.id
        && one.pool == other.pool
        && one.kind == other.kind
        && one.generation == other.generation
        && one.attributes == other.attributes
}

/// Checks that everything but record `damaged` is as it was, both for a single record and for whole pools.
async fn assert_others_work(vault: &FileVault, damaged: Option<u8>, what: &str) {
    for number in [1, 2, 3].into_iter().filter(|number| Some(*number) != damaged) {
        let of = credential(number, token(number)).metadata.pool;
        let known = vault.get(&of, id(number)).await.unwrap();
        assert_eq!(known.secret.token().expose(), token(number), "{what}");
    }
    let loaded = vault.load_pool(other_pool()).await.unwrap();
    let labels: Vec<_> = loaded.credentials.iter().map(|known| &*known.metadata.label).collect();
    assert!(damaged == Some(3) || labels == ["l3"], "{what}: {labels:?}");
}

/// Checks that every request names record 1 as damaged, by its file and with a reason that contains `reason`, that it
/// is left as it is, and that the others work.
async fn assert_refused(place: &Place, vault: &FileVault, reason: &str) {
    let path = place.record(1);
    let before = fs::symlink_metadata(&path).unwrap().is_file().then(|| fs::read(&path).unwrap());
    match vault.get(&pool(), id(1)).await {
        Err(VaultError::Damaged(damage)) => {
            assert_eq!(damage.record, path.display().to_string(), "{damage}");
            assert!(damage.reason.contains(reason), "{damage}");
        }
        other => panic!("{reason}: {other:?}"),
    }
    let replaced = vault.replace_secret(&pool(), id(1), Generation::FIRST, Secret::api_key("new")).await;
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

//! A vault's id, and what it admits: a record of another vault, of a key that was given up, or in an older format than
//! all others is reported as exactly that, whoever has the key.
#![cfg(feature = "file")]

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use tower_credentials::vault::file::{Check, FileVault, FindingKind, Report};
use tower_credentials::vault::key::{Keys, VaultKey};
use tower_credentials::vault::seal::{SealLayer, Sealed, UnboundAttributes, VaultId};
use tower_credentials::vault::{MemoryVault, VaultError, VaultExt};
use tower_credentials::{CredentialId, Generation, Secret};
use tower_layer::Layer;

use crate::place::Place;
use crate::vault_contract::{PLANTED, account, pool, put_all, token};

fn record(place: &Place, id: CredentialId) -> PathBuf {
    place.root().join(format!("records/{id}.json"))
}

fn json(path: &std::path::Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn edit(path: &std::path::Path, edit: impl FnOnce(&mut Value)) {
    let mut value = json(path);
    edit(&mut value);
    fs::write(path, serde_json::to_vec_pretty(&value).unwrap()).unwrap();
}

fn vault_id(place: &Place) -> String {
    json(&place.root().join("key.json"))["vault"]["id"].as_str().unwrap().to_owned()
}

/// A place that has the key of this one, and nothing else.
fn with_key_of(place: &Place) -> Place {
    Place { temporary: TempDir::new().unwrap(), key: place.key.clone() }
}

async fn check(place: &Place, key: &VaultKey) -> Report {
    Check::new(place.root()).keys(&Keys::new(key.clone())).run().await.unwrap()
}

/// Returns what every request reports about this credential.
async fn refused(vault: &FileVault, id: CredentialId) -> String {
    let loaded = vault.load_pool(account("x").metadata.pool).await.unwrap();
    let damage = loaded.damaged.iter().find(|damage| damage.id == Some(id)).expect("it is named");
    assert!(!damage.may_pass && damage.kind.is_some(), "{damage:?}");
    for result in [
        vault.get(&pool(), id).await.map(drop),
        vault.begin_refresh(&pool(), id, Generation::FIRST).await.map(drop),
        vault.replace_secret(&pool(), id, Generation::FIRST, Secret::api_key("x")).await.map(drop),
    ] {
        let Err(VaultError::Damaged(other)) = result else { panic!("{result:?}") };
        assert_eq!(other.reason, damage.reason);
    }
    damage.reason.clone()
}

#[tokio::test]
async fn a_record_of_another_vault_with_the_same_key_does_not_open() {
    let place = Place::new();
    let vault = place.open().await;
    put_all(&vault, ["a"]).await;
    let other = with_key_of(&place);
    let [theirs] = put_all(&other.open().await, ["b"]).await;
    fs::copy(record(&other, theirs), record(&place, theirs)).unwrap();
    let reason = refused(&vault, theirs).await;
    assert!(reason.contains("another vault") && reason.contains(&vault_id(&other)), "{reason}");
    let report = check(&place, &place.key).await;
    assert!(report.findings.iter().any(|finding| finding.kind == FindingKind::OtherVault), "{report:?}");
    // An edit of what it says does not make it one of this vault.
    edit(&record(&place, theirs), |json| json["secret"]["vault"] = vault_id(&place).into());
    assert!(refused(&vault, theirs).await.contains("does not open"));
    edit(&record(&place, theirs), |json| {
        json["secret"]["version"] = 2.into();
        json["secret"].as_object_mut().unwrap().remove("vault");
    });
    assert!(refused(&vault, theirs).await.contains("sealed in the format 2"));
}

#[tokio::test]
async fn a_whole_copy_of_a_vault_is_the_same_vault() {
    let place = Place::new();
    let [a] = put_all(&place.open().await, ["a"]).await;
    let copy = with_key_of(&place);
    let status = std::process::Command::new("cp").arg("-a").arg(place.root()).arg(copy.root()).status();
    assert!(status.unwrap().success());
    let vault = copy.open().await;
    assert_eq!(token(&vault, a).await, format!("{PLANTED}-a"));
    assert_eq!(vault_id(&copy), vault_id(&place));
    // Copies a record from one vault to the other, as from a backup.
    vault.replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("newer")).await.unwrap();
    fs::copy(record(&copy, a), record(&place, a)).unwrap();
    assert_eq!(token(&place.open().await, a).await, "newer");
}

#[tokio::test]
async fn what_a_vault_says_about_itself_cannot_be_edited() {
    let place = Place::new();
    let vault = place.open().await;
    let [a] = put_all(&vault, ["a"]).await;
    let other = with_key_of(&place);
    other.open().await;
    let path = place.root().join("key.json");
    let whole = fs::read(&path).unwrap();
    type Edit<'a> = (&'a str, &'a dyn Fn(&mut Value));
    let (random, zeros) = (VaultId::random().to_string(), "0000000000000000");
    let edits: [Edit<'_>; 7] = [
        ("the id", &|json| json["vault"]["id"] = random.clone().into()),
        ("the oldest format", &|json| json["vault"]["least"] = 1.into()),
        ("a key that was given up", &|json| json["vault"]["retired"] = vec![zeros].into()),
        ("a key that was revoked", &|json| json["vault"]["revoked"] = vec![zeros].into()),
        ("no signature", &|json| json["vault"]["signatures"] = serde_json::json!({})),
        ("another's signature", &|json| {
            json["vault"]["signatures"] = serde_json::json!({zeros: "AA=="})
        }),
        ("nothing", &|json| drop(json.as_object_mut().unwrap().remove("vault"))),
    ];
    for (what, change) in edits {
        edit(&path, change);
        let edited = fs::read(&path).unwrap();
        let report = check(&place, &place.key).await;
        let finding = report.findings.iter().find(|finding| finding.kind == FindingKind::Marker);
        assert!(
            finding.is_some_and(|finding| finding.what.contains("without the vault's key")),
            "{what}"
        );
        assert_eq!(report.opened, report.records, "{what}: what it says is not believed");
        // It is made again from what the records say, and kept under another name.
        let again = place.open().await;
        assert_eq!(token(&again, a).await, format!("{PLANTED}-a"), "{what}");
        again.put(account(what)).await.unwrap();
        assert_eq!(fs::read(place.root().join("key.damaged-1")).unwrap(), edited, "{what}");
        fs::remove_file(place.root().join("key.damaged-1")).unwrap();
        fs::write(&path, &whole).unwrap();
    }
    // Nor from somebody who writes that the key is being changed to their own.
    edit(&path, |json| {
        json["previous"] = vec![place.key.id().to_string()].into();
        json["key_id"] = zeros.into();
        json["vault"] = serde_json::json!({ "id": random, "least": 1, "signatures": {} });
    });
    let VaultError::Key(reason) = FileVault::open(place.root(), &place.key).await.unwrap_err() else {
        panic!()
    };
    assert!(reason.contains(zeros), "{reason}");
    assert_eq!(token(&vault, a).await, format!("{PLANTED}-a"));
    fs::write(&path, &whole).unwrap();
    // Another vault's file with the same key is vouched for, and opens nothing here.
    fs::copy(other.root().join("key.json"), &path).unwrap();
    let there = place.open().await;
    assert!(refused(&there, a).await.contains("another vault"));
    // A vault that was open before goes on.
    assert_eq!(token(&vault, a).await, format!("{PLANTED}-a"));
}

#[tokio::test]
async fn a_lost_vault_id_is_known_from_the_records() {
    let place = Place::new();
    let [a] = put_all(&place.open().await, ["a"]).await;
    let id = vault_id(&place);
    let path = place.root().join("key.json");
    fs::remove_file(&path).unwrap();
    assert_eq!(token(&place.open().await, a).await, format!("{PLANTED}-a"));
    assert_eq!(vault_id(&place), id);
    // Not if they are of several vaults: none of them can be taken to be the right one.
    let other = with_key_of(&place);
    let [theirs] = put_all(&other.open().await, ["b"]).await;
    fs::copy(record(&other, theirs), record(&place, theirs)).unwrap();
    fs::remove_file(&path).unwrap();
    let error = FileVault::open(place.root(), &place.key).await.unwrap_err().to_string();
    for said in [path.to_str().unwrap(), &id, &vault_id(&other)] {
        assert!(error.contains(said), "{error}");
    }
    fs::remove_file(record(&place, theirs)).unwrap();
    assert_eq!(token(&place.open().await, a).await, format!("{PLANTED}-a"));
}

#[tokio::test]
async fn a_record_of_a_key_that_was_given_up_is_admitted_only_as_restored() {
    let place = Place::new();
    let vault = place.open().await;
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    let planted = fs::read(record(&place, b)).unwrap();
    let new = VaultKey::generate();
    let both = FileVault::builder(place.root()).old_key(&place.key);
    let rotated = both.clone().open(&new).await.unwrap();
    assert_eq!(rotated.reseal(|_| ()).await.unwrap().left, 0);
    // A record that anybody with the old key could have made.
    fs::write(record(&place, b), planted).unwrap();
    let old_id = place.key.id().to_string();
    // Also by a process that still has the old key, and by one that opened the vault before the change was finished.
    for vault in [&rotated, &both.clone().open(&new).await.unwrap()] {
        let reason = refused(vault, b).await;
        assert!(reason.contains("has given up") && reason.contains(&old_id), "{reason}");
        assert_eq!(token(vault, a).await, format!("{PLANTED}-a"));
    }
    let report = check(&place, &new).await;
    assert!(report.findings.iter().any(|finding| finding.kind == FindingKind::Restored), "{report:?}");
    let resealing = both.clone().open(&new).await.unwrap().reseal(|_| ()).await.unwrap();
    assert_eq!((resealing.sealed, resealing.left, resealing.damaged.len()), (0, 1, 1));

    let restoring = both.clone().restored(true).open(&new).await.unwrap();
    assert_eq!(token(&restoring, b).await, format!("{PLANTED}-b"));
    assert_eq!(restoring.reseal(|_| ()).await.unwrap().sealed, 1);
    assert_eq!(
        token(&FileVault::open(place.root(), &new).await.unwrap(), b).await,
        format!("{PLANTED}-b")
    );
    assert!(check(&place, &new).await.is_healthy());
}

#[tokio::test]
async fn a_revoked_key_admits_nothing() {
    let place = Place::new();
    let [a] = put_all(&place.open().await, ["a"]).await;
    let planted = fs::read(record(&place, a)).unwrap();
    let new = VaultKey::generate();
    let both = FileVault::builder(place.root()).old_key(&place.key);
    let vault = both.clone().open(&new).await.unwrap();
    let VaultError::Key(reason) = vault.revoke(place.key.id()).await.unwrap_err() else { panic!() };
    assert!(reason.contains("one of the vault's own"), "{reason}");
    assert_eq!(vault.reseal(|_| ()).await.unwrap().left, 0);
    vault.revoke(place.key.id()).await.unwrap();
    vault.revoke(place.key.id()).await.unwrap();
    fs::write(record(&place, a), planted).unwrap();
    let restoring = both.restored(true).open(&new).await.unwrap();
    assert!(refused(&restoring, a).await.contains("was revoked"));
    let report = check(&place, &new).await;
    assert!(report.findings.iter().any(|finding| finding.kind == FindingKind::RevokedKey), "{report:?}");
    // Nor does a process with both keys make it the vault's again.
    let back = FileVault::builder(place.root()).old_key(&new).open(&place.key).await;
    assert!(back.unwrap_err().to_string().contains("was revoked"));
}

#[tokio::test]
async fn a_key_that_was_given_up_can_become_the_vaults_again() {
    let place = Place::new();
    let [a] = put_all(&place.open().await, ["a"]).await;
    let other = VaultKey::generate();
    for (old, new) in [(&place.key, &other), (&other, &place.key), (&place.key, &other)] {
        let vault = FileVault::builder(place.root()).old_key(old).open(new).await.unwrap();
        assert_eq!(vault.reseal(|_| ()).await.unwrap().left, 0);
        let vault = FileVault::open(place.root(), new).await.unwrap();
        assert_eq!(token(&vault, a).await, format!("{PLANTED}-a"));
    }
}

#[tokio::test]
async fn attributes_that_nothing_has_bound_are_kept_or_dropped_only_by_an_explicit_call() {
    for unbound in [UnboundAttributes::Ask, UnboundAttributes::Keep, UnboundAttributes::Drop] {
        let place = Place { temporary: TempDir::new().unwrap(), key: fixture_key() };
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vault-v1");
        let status = std::process::Command::new("cp").arg("-a").arg(fixtures).arg(place.root()).status();
        assert!(status.unwrap().success());
        let id = CredentialId::from_bytes([0x11; 16]);
        edit(&record(&place, id), |json| json["metadata"]["attributes"]["host"] = "evil.example".into());
        let builder = FileVault::builder(place.root()).unbound_attributes(unbound);
        let vault = builder.open(&place.key).await.unwrap();
        let before = vault.get(&pool(), id).await.unwrap();
        let resealing = vault.reseal(|_| ()).await.unwrap();
        let stored = vault.get(&pool(), id).await.unwrap();
        assert_eq!(stored.secret.token().expose(), before.secret.token().expose());
        let version = json(&record(&place, id))["secret"]["version"].clone();
        match unbound {
            UnboundAttributes::Ask => {
                assert_eq!((resealing.sealed, resealing.unconfirmed.len()), (3, 3));
                assert!(resealing.unconfirmed.contains(&id));
                assert_eq!((version, stored.metadata.attributes.len()), (1.into(), 2));
                // A new secret does not bind them either.
                let generation = stored.metadata.generation;
                vault.replace_secret(&pool(), id, generation, before.secret.clone()).await.unwrap();
                assert_eq!(json(&record(&place, id))["secret"]["version"], 1);
                let report = check(&place, &place.key).await;
                let is_unbound = |kind| kind == FindingKind::UnboundAttributes;
                let count = report.findings.iter().filter(|finding| is_unbound(finding.kind)).count();
                assert_eq!((count, report.older), (3, 3), "{report:?}");
            }
            UnboundAttributes::Keep => {
                assert_eq!((resealing.sealed, resealing.unconfirmed.len()), (6, 0));
                assert_eq!((version, &*stored.metadata.attributes["host"]), (3.into(), "evil.example"));
            }
            _ => {
                assert_eq!((resealing.sealed, resealing.unconfirmed.len()), (6, 0));
                assert_eq!((version, stored.metadata.attributes.len()), (3.into(), 0));
            }
        }
    }
}

fn fixture_key() -> VaultKey {
    VaultKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap()
}

#[tokio::test]
async fn once_everything_is_in_the_current_format_an_older_seal_is_admitted_only_as_restored() {
    let place = Place { temporary: TempDir::new().unwrap(), key: fixture_key() };
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vault-v2");
    let status = std::process::Command::new("cp").arg("-a").arg(fixtures).arg(place.root()).status();
    assert!(status.unwrap().success());
    let id = CredentialId::from_bytes([0x22; 16]);
    let older = fs::read(record(&place, id)).unwrap();
    let vault = place.open().await;
    let report = check(&place, &place.key).await;
    let kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!((report.older, &kinds[..]), (6, &[FindingKind::OlderFormat][..]));
    assert_eq!(vault.reseal(|_| ()).await.unwrap().sealed, 6);
    assert!(check(&place, &place.key).await.findings.is_empty());
    fs::write(record(&place, id), older).unwrap();
    let vault = place.open().await;
    let VaultError::Damaged(damage) = vault.get(&pool(), id).await.unwrap_err() else { panic!() };
    assert!(damage.reason.contains("the format 2"), "{damage}");
    let restoring = FileVault::builder(place.root()).restored(true).open(&place.key).await.unwrap();
    assert_eq!(restoring.reseal(|_| ()).await.unwrap().sealed, 1);
    assert_eq!(token(&place.open().await, id).await, "sk-2");
}

#[tokio::test]
async fn a_backend_of_ones_own_can_have_an_id() {
    let key = VaultKey::generate();
    let (one, two) = (VaultId::random(), VaultId::random());
    assert_eq!(one.to_string().parse::<VaultId>().unwrap(), one);
    for text in ["", "0", "G".repeat(32).as_str(), one.to_string().to_uppercase().as_str()] {
        assert!(text.parse::<VaultId>().is_err() || text == one.to_string(), "{text}");
    }
    let backend = MemoryVault::<Sealed>::new();
    let vault = SealLayer::new(&key).vault(one).layer(backend.clone());
    let [a] = put_all(&vault, ["a"]).await;
    assert_eq!(token(&vault, a).await, format!("{PLANTED}-a"));
    for layer in [SealLayer::new(&key).vault(two), SealLayer::new(&key)] {
        let error = layer.layer(backend.clone()).get(&pool(), a).await.unwrap_err().to_string();
        assert!(error.contains("another vault") && error.contains(&one.to_string()), "{error}");
    }
}

//! The vault's key: its file, `key.json`, and a change of the key.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;
use tower_credentials::vault::file::Severity::{Error, Note, Warning};
use tower_credentials::vault::file::{Check, FileVault, FindingKind as Kind};
use tower_credentials::vault::key::{FileKey, KeyServiceExt, Keys, VaultKey};

use super::{assert_tells_no_secret, finds, kinds, new, put, wrong};
use crate::vault_contract::PLANTED;

#[tokio::test]
async fn a_key_other_than_the_vaults_is_found_and_never_shown() {
    let place = new().await;
    let other = VaultKey::generate();
    let report = place.check().keys(&Keys::new(other.clone())).fix(true).run().await.unwrap();
    assert_eq!(kinds(&report), [Kind::WrongKey, Kind::OtherKey, Kind::OtherKey, Kind::OtherKey]);
    let text = &report.findings[0].to_string();
    for id in [place.key.id(), other.id()] {
        assert!(text.contains(&id.to_string()), "{text}");
    }
    assert_eq!((report.records, report.opened), (3, 0));
    assert_eq!(report.key, Some(place.key.id()));
    assert_eq!((report.sealed[0].key, report.sealed[0].records), (place.key.id(), 3));

    let without = Check::new(place.root()).run().await.unwrap();
    assert_eq!(kinds(&without), [Kind::NoKey]);
    assert!(without.findings[0].what.contains(&place.key.id().to_string()));
    assert_eq!((without.records, without.opened), (3, 0));
    assert!(!without.is_healthy(), "records that nobody opened are not known to open");
}

#[tokio::test]
async fn key_json_is_checked() {
    finds("key.json is gone", async |place| {
        fs::remove_file(place.file("key.json")).unwrap();
        vec![wrong(Kind::Marker, Warning, place.file("key.json"))]
    })
    .await;
    finds("key.json is damaged", async |place| {
        put(&place.file("key.json"), "{");
        vec![wrong(Kind::Marker, Error, place.file("key.json"))]
    })
    .await;
    for (seals, severity) in [(1_u64 << 31, Warning), (1 << 32, Error)] {
        finds(&format!("{seals} seals"), async |place| {
            let key = place.key.id().to_string();
            place.edit(&place.file("key.json"), |json| json["seals"][key] = json!(seals));
            vec![wrong(Kind::ManySeals, severity, place.file("key.json"))]
        })
        .await;
    }
}

#[tokio::test]
async fn the_key_file_is_checked() {
    finds("it is gone", async |place| {
        fs::remove_file(place.key_file()).unwrap();
        vec![wrong(Kind::KeyFile, Error, place.key_file())]
    })
    .await;
    finds("it holds no key", async |place| {
        put(&place.key_file(), PLANTED);
        vec![wrong(Kind::KeyFile, Error, place.key_file())]
    })
    .await;
    finds("it is a link", async |place| {
        let elsewhere = place.temporary.path().join("elsewhere");
        fs::rename(place.key_file(), &elsewhere).unwrap();
        symlink(elsewhere, place.key_file()).unwrap();
        vec![wrong(Kind::KeyFile, Error, place.key_file())]
    })
    .await;
    // A key file in the vault's own directory is not an unknown file.
    let place = new().await;
    let inside = place.file("vault.key");
    fs::rename(place.key_file(), &inside).unwrap();
    let report = place.check().key_file(&inside).run().await.unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[tokio::test]
async fn a_change_of_the_key_that_is_not_finished_is_found() {
    let place = new().await;
    let file = FileKey::new(place.key_file());
    let rotation = file.rotate().await.unwrap();
    let check = async || {
        let keys = file.load_keys().await.unwrap().unwrap();
        let report = place.check().keys(&keys).run().await.unwrap();
        assert_tells_no_secret(&report, &place.key);
        let found: Vec<_> =
            report.findings.iter().map(|finding| (finding.kind, finding.severity)).collect();
        (found, report.opened)
    };
    // As long as somebody is changing the key, this is not a problem.
    assert_eq!(check().await, (vec![(Kind::UnfinishedKeyChange, Note)], 3));
    let keys = rotation.keys().clone();
    let vault = FileVault::builder(place.root()).open_with(&keys).await.unwrap();
    assert_eq!(check().await, (vec![(Kind::UnfinishedKeyChange, Note)], 3));
    drop(rotation);
    assert_eq!(check().await, (vec![(Kind::UnfinishedKeyChange, Warning)], 3));
    vault.reseal(|_| ()).await.unwrap();
    assert_eq!(check().await, (vec![(Kind::UnfinishedKeyChange, Warning)], 3), "the old key is kept");
    file.rotate().await.unwrap().finish().await.unwrap();
    assert_eq!(check().await, (Vec::new(), 3));
}

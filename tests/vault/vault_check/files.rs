//! Files and directories: who may touch them, what is left over, what is missing.

use std::fs;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tower_credentials::vault::VaultError;
use tower_credentials::vault::file::Severity::{Error, Note, Warning};
use tower_credentials::vault::file::{Check, FileVault, FindingKind as Kind};
use tower_credentials::vault::key::Keys;

use super::{finds, fixable, kinds, new, put, wrong};
use crate::children;
use crate::three_records::set_mode;
use crate::vault_contract::PLANTED;

#[tokio::test]
async fn files_that_others_may_touch_are_found() {
    let files = ["key.json", "lock", "pools/example+default.log", "pools/example+default.lock"];
    for name in files.into_iter().chain(["", "records", "pools", "leases"]) {
        finds(&format!("mode of {name}"), async |place| {
            let path = if name.is_empty() { place.root() } else { place.file(name) };
            set_mode(&path, if path.is_dir() { 0o755 } else { 0o640 });
            vec![fixable(Kind::OpenToOthers, Warning, path)]
        })
        .await;
    }
    finds("mode of a record", async |place| {
        set_mode(&place.record(1), 0o604);
        vec![fixable(Kind::OpenToOthers, Warning, place.record(1))]
    })
    .await;
    // If somebody keeps other things there, the mode may be intended.
    finds("mode of a directory with other things", async |place| {
        put(&place.file("other"), "");
        set_mode(&place.root(), 0o755);
        vec![
            wrong(Kind::OpenToOthers, Warning, place.root()),
            wrong(Kind::UnknownFile, Note, place.file("other")),
        ]
    })
    .await;
    finds("mode of the key's file", async |place| {
        set_mode(&place.key_file(), 0o644);
        vec![fixable(Kind::OpenToOthers, Error, place.key_file())]
    })
    .await;
    finds("mode of a key that is kept", async |place| {
        let kept = place.key_file().with_extension("key.0123456789abcdef");
        fs::copy(place.key_file(), &kept).unwrap();
        set_mode(&kept, 0o644);
        vec![fixable(Kind::OpenToOthers, Warning, kept)]
    })
    .await;
}

#[tokio::test]
async fn files_of_another_user_are_found() {
    let place = new().await;
    if std::os::unix::fs::chown(place.record(1), Some(4711), None).is_err() {
        println!("NOT RUN: only root can give a file to another user");
        return;
    }
    let report = place.check().fix(true).run().await.unwrap();
    assert_eq!(kinds(&report), [Kind::ForeignOwner]);
    assert_eq!(report.findings[0].path, place.record(1).display().to_string());
    assert!(report.findings[0].what.contains("4711"), "{:?}", report.findings);
    assert!(!report.findings[0].can_fix);
    for path in children::all_below(&place.root()) {
        std::os::unix::fs::chown(path, Some(4711), None).unwrap();
    }
    let report = Check::new(place.root()).keys(&Keys::new(place.key.clone())).run().await.unwrap();
    assert_eq!(kinds(&report), [Kind::ForeignOwner], "the whole vault is one finding");
    assert_eq!(report.findings[0].path, place.root().display().to_string());
}

#[tokio::test]
async fn files_that_a_killed_process_has_left_are_found() {
    for directory in ["", "records", "pools", "leases"] {
        finds(&format!("left in {directory:?}"), async |place| {
            let path = place.file(directory).join(".0123456789abcdef.tmp");
            put(&path, PLANTED);
            vec![fixable(Kind::Leftover, Warning, path)]
        })
        .await;
    }
    finds("left beside the key", async |place| {
        let directory = place.temporary.path().join("keys");
        let path = directory.join(".0123456789abcdef.tmp");
        put(&path, PLANTED);
        // Somebody may be using it, so only an old one is found.
        let report = place.check().run().await.unwrap();
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        // It is another program's, so it must not be removed.
        let other = directory.join(".settings.tmp");
        put(&other, "");
        for path in [&path, &other] {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(600)).unwrap();
        }
        vec![fixable(Kind::Leftover, Warning, path)]
    })
    .await;
}

#[tokio::test]
async fn files_that_do_not_belong_to_the_vault_are_found() {
    for name in ["records/notes", "records/a.json", "pools/x", "leases/x.lock", "leases/y"] {
        finds(name, async |place| {
            put(&place.file(name), PLANTED);
            vec![wrong(Kind::UnknownFile, Warning, place.file(name))]
        })
        .await;
    }
    finds("in the vault's directory itself", async |place| {
        put(&place.file("README"), "");
        vec![wrong(Kind::UnknownFile, Note, place.file("README"))]
    })
    .await;
    finds("what was set aside", async |place| {
        put(&place.file("key.damaged-1"), "");
        put(&place.file("pools/example+default.damaged-12"), PLANTED);
        vec![
            wrong(Kind::SetAside, Note, place.file("key.damaged-1")),
            wrong(Kind::SetAside, Note, place.file("pools/example+default.damaged-12")),
        ]
    })
    .await;
}

#[tokio::test]
async fn a_missing_vault_is_distinguished_from_a_broken_one() {
    finds("without pools", async |place| {
        fs::remove_dir_all(place.file("pools")).unwrap();
        vec![
            fixable(Kind::MissingDirectory, Warning, place.file("pools")),
            fixable(Kind::Unnamed, Warning, place.log()),
            fixable(Kind::Unnamed, Warning, place.file("pools/example+other.log")),
        ]
    })
    .await;
    finds("without leases", async |place| {
        fs::remove_dir_all(place.file("leases")).unwrap();
        vec![fixable(Kind::MissingDirectory, Warning, place.file("leases"))]
    })
    .await;
    let place = new().await;
    fs::remove_dir_all(place.file("records")).unwrap();
    let report = place.check().run().await.unwrap();
    assert_eq!(report.findings[0].kind, Kind::MissingDirectory);
    assert_eq!(report.findings[0].severity, Error);

    let other = TempDir::new().unwrap();
    let report = Check::new(other.path()).run().await.unwrap();
    assert_eq!(kinds(&report), [Kind::NoVault]);
    assert!(!FileVault::is_at(other.path()) && FileVault::is_at(place.root()));
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0, "none was made");
    match Check::new(other.path().join("none")).fix(true).run().await {
        Err(VaultError::DirectoryGone(path)) => assert_eq!(path, other.path().join("none")),
        other => panic!("{other:?}"),
    }
}

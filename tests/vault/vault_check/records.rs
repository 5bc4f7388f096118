//! Records and logs: each can be read, and they agree.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tower_credentials::vault::file::Severity::{Error, Note, Warning};
use tower_credentials::vault::file::{FileVault, FindingKind as Kind};
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{FailedRefresh, VaultExt};
use tower_credentials::{Generation, Secret};

use super::{account, finds, fixable, new, put, wrong};
use crate::three_records::{Place, id};
use crate::vault_contract::{PLANTED, pool};

#[tokio::test]
async fn a_record_that_does_not_open_is_found() {
    let error = |place: &Place| vec![wrong(Kind::Record, Error, place.record(1))];
    finds("cut short", async |place| {
        let bytes = fs::read(place.record(1)).unwrap();
        put(&place.record(1), &bytes[..bytes.len() / 2]);
        error(place)
    })
    .await;
    finds("a plain text", async |place| {
        put(&place.record(1), PLANTED);
        error(place)
    })
    .await;
    finds("edited", async |place| {
        place.edit(&place.record(1), |json| json["metadata"]["kind"] = json!("oauth"));
        error(place)
    })
    .await;
    finds("a copy of another", async |place| {
        fs::copy(place.record(2), place.record(1)).unwrap();
        error(place)
    })
    .await;
    finds("a link", async |place| {
        let elsewhere = place.temporary.path().join("elsewhere");
        fs::rename(place.record(1), &elsewhere).unwrap();
        symlink(elsewhere, place.record(1)).unwrap();
        error(place)
    })
    .await;
    finds("of a newer version", async |place| {
        place.edit(&place.record(1), |json| json["version"] = json!(99));
        error(place)
    })
    .await;
    finds("moved to another pool", async |place| {
        // A pool that the log names, under a key that opens the record.
        place.edit(&place.record(1), |json| json["metadata"]["pool"]["namespace"] = json!("other"));
        vec![
            wrong(Kind::Record, Error, place.record(1)),
            wrong(Kind::Record, Error, place.record(1)),
            fixable(Kind::Unnamed, Warning, place.file("pools/example+other.log")),
        ]
    })
    .await;
}

#[tokio::test]
async fn a_record_of_another_key_is_found() {
    finds("a record of another vault", async |place| {
        let other = TempDir::new().unwrap();
        let vault = FileVault::open(other.path().join("v"), &VaultKey::generate()).await.unwrap();
        vault.put(account(4)).await.unwrap();
        let name = format!("records/{}.json", id(4));
        fs::copy(other.path().join("v").join(&name), place.file(&name)).unwrap();
        vec![wrong(Kind::OtherKey, Error, place.record(4)), fixable(Kind::Unnamed, Warning, place.log())]
    })
    .await;
}

#[tokio::test]
async fn a_finding_about_a_record_names_its_account_and_whether_removing_that_is_a_way_out() {
    type Damage = fn(&Place);
    // Whether it may be removed, and whether a list finds it, which opens no secret.
    let cases: [(Damage, bool, bool); 5] = [
        (|place| put(&place.record(1), "{"), true, true),
        (|place| place.edit(&place.record(1), |json| json["metadata"]["label"] = json!("")), true, true),
        (
            |place| place.edit(&place.record(1), |json| json["metadata"]["kind"] = json!("oauth")),
            true,
            false,
        ),
        (|place| place.edit(&place.record(1), |json| json["version"] = json!(99)), false, true),
        (
            |place| place.edit(&place.record(1), |json| json["secret"]["version"] = json!(99)),
            false,
            false,
        ),
    ];
    for (damage, is_removable, is_listed) in cases {
        let place = new().await;
        damage(&place);
        let report = place.check().run().await.unwrap();
        let [finding] = &report.findings[..] else { panic!("{:#?}", report.findings) };
        assert_eq!((finding.id, finding.is_removable), (Some(id(1)), is_removable), "{finding}");
        let damaged = place.open().await.list().await.unwrap().damaged;
        assert_eq!(damaged.len(), usize::from(is_listed), "{damaged:?}");
        assert!(damaged.iter().all(|damage| damage.is_removable == is_removable), "{damaged:?}");
    }
    let (place, key) = (new().await, VaultKey::generate());
    let other = TempDir::new().unwrap();
    FileVault::open(other.path().join("v"), &key).await.unwrap().put(account(4)).await.unwrap();
    let name = format!("records/{}.json", id(4));
    fs::copy(other.path().join("v").join(&name), place.file(&name)).unwrap();
    let report = place.check().run().await.unwrap();
    let finding = report.findings.iter().find(|finding| finding.kind == Kind::OtherKey).unwrap();
    assert_eq!((finding.id, finding.sealed_with), (Some(id(4)), Some(key.id())));
    assert!(finding.is_removable, "{finding}");
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_found() {
    finds("a line is damaged", async |place| {
        let mut bytes = fs::read(place.log()).unwrap();
        let lines: Vec<_> =
            bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
        // A line that no member depends on.
        bytes[lines[lines.len() - 2] - 3] ^= 1;
        put(&place.log(), bytes);
        vec![fixable(Kind::Log, Warning, place.log())]
    })
    .await;
    finds("a torn end", async |place| {
        let mut bytes = fs::read(place.log()).unwrap();
        bytes.extend_from_slice(b"12ab");
        put(&place.log(), bytes);
        Vec::new()
    })
    .await;
    finds("no log at all", async |place| {
        put(&place.log(), format!("{PLANTED}\n"));
        vec![fixable(Kind::Log, Warning, place.log()), fixable(Kind::Unnamed, Warning, place.log())]
    })
    .await;
    finds("another pool's", async |place| {
        fs::copy(place.file("pools/example+other.log"), place.log()).unwrap();
        vec![fixable(Kind::Log, Warning, place.log()), fixable(Kind::Unnamed, Warning, place.log())]
    })
    .await;
    finds("a log of no pool", async |place| {
        put(&place.file("pools/stray.log"), PLANTED);
        vec![wrong(Kind::Log, Error, place.file("pools/stray.log"))]
    })
    .await;
    finds("a log by another pool's name", async |place| {
        fs::copy(place.log(), place.file("pools/stray+default.log")).unwrap();
        vec![wrong(Kind::Log, Error, place.file("pools/stray+default.log"))]
    })
    .await;
    finds("a link", async |place| {
        let elsewhere = place.temporary.path().join("elsewhere");
        fs::rename(place.log(), &elsewhere).unwrap();
        symlink(elsewhere, place.log()).unwrap();
        vec![wrong(Kind::Log, Error, place.log())]
    })
    .await;
}

#[tokio::test]
async fn a_disagreement_between_a_log_and_the_records_is_found() {
    finds("the log is gone", async |place| {
        fs::remove_file(place.log()).unwrap();
        vec![fixable(Kind::Unnamed, Warning, place.log())]
    })
    .await;
    finds("a label is another one", async |place| {
        place.edit(&place.record(1), |json| json["metadata"]["label"] = json!("x"));
        vec![fixable(Kind::Unnamed, Warning, place.log())]
    })
    .await;
    finds("a record is gone", async |place| {
        fs::remove_file(place.record(2)).unwrap();
        vec![fixable(Kind::MissingRecord, Warning, place.log())]
    })
    .await;
    // The next process finds it mended.
    let place = new().await;
    fs::remove_file(place.log()).unwrap();
    assert!(place.check().fix(true).run().await.unwrap().is_healthy());
    let loaded = place.open().await.load_pool(pool()).await.unwrap();
    assert_eq!(loaded.standings.order, [id(1), id(2)]);
}

#[tokio::test]
async fn a_refresh_that_did_not_finish_is_found_and_one_in_progress_is_not() {
    let begin = async |place: &Place| {
        let vault = place.open().await;
        let lease = vault.lease_refresh(&pool(), id(1)).await.unwrap();
        vault.begin_refresh(&pool(), id(1), Generation::FIRST).await.unwrap();
        (vault, lease)
    };
    finds("one that did not end", async |place| {
        begin(place).await;
        let path = place.file(&format!("leases/{}.begun", id(1)));
        vec![wrong(Kind::UnfinishedRefresh, Note, path)]
    })
    .await;
    let failed = FailedRefresh { wait: Duration::ZERO, in_a_row: 1, reason: "503 for now".into() };
    finds("one that failed", async |place| {
        let (vault, _lease) = begin(place).await;
        vault.refresh_failed(&pool(), id(1), Generation::FIRST, failed.clone()).await.unwrap();
        let unfinished = place.check().unfinished_refreshes().await.unwrap();
        assert!(unfinished.is_empty(), "it is leased");
        vec![wrong(Kind::FailedRefresh, Note, place.file(&format!("leases/{}.begun", id(1))))]
    })
    .await;
    let place = new().await;
    for (is_failed, failure) in [(true, Some("503 for now")), (false, None)] {
        let (vault, lease) = begin(&place).await;
        if is_failed {
            vault.refresh_failed(&pool(), id(1), Generation::FIRST, failed.clone()).await.unwrap();
        }
        drop((vault, lease));
        let unfinished = place.check().unfinished_refreshes().await.unwrap();
        assert_eq!((unfinished.len(), unfinished[0].id), (1, id(1)));
        assert_eq!(unfinished[0].failure.as_deref(), failure);
    }
    let place = new().await;
    let (vault, lease) = begin(&place).await;
    let report = place.check().run().await.unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    vault.replace_secret(&pool(), id(1), Generation::FIRST, Secret::api_key("new")).await.unwrap();
    drop(lease);
    let report = place.check().run().await.unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

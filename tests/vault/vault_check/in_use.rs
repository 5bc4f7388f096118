//! A vault that other processes use is checked without getting in their way.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use tempfile::TempDir;
use tower_credentials::standing::{Change, Health, Outcome};
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::{Check, FindingKind as Kind};
use tower_credentials::{Credential, Generation, PoolKey, Secret};

use super::{kinds, new, put};
use crate::children::{self, Job, hear, say};
use crate::three_records::{cooled, set_mode};
use crate::vault_contract::{PLANTED, pool};

#[test]
fn a_child_does_its_job() {
    let Some(job) = children::job() else { return };
    assert_eq!(job, "work");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let vault = children::vault().await;
        let own = PoolKey::new(format!("worker-{}", std::process::id()));
        say("ready");
        let parent = tokio::task::spawn_blocking(hear);
        let mut generation = Generation::FIRST;
        for round in 0.. {
            if parent.is_finished() {
                break;
            }
            let label = format!("r{round}");
            let added = Credential::new(own.clone(), label.as_str(), Secret::api_key(PLANTED));
            let added = vault.put(added).await.unwrap().id;
            vault.relabel(&own, added, format!("{label}-2")).await.unwrap();
            let lease = vault.lease_refresh(&own, added).await.unwrap();
            vault.begin_refresh(&own, added, Generation::FIRST).await.unwrap();
            vault.replace_secret(&own, added, Generation::FIRST, Secret::api_key("new")).await.unwrap();
            drop(lease);
            // Fills the log, so that it is compacted now and then.
            let reason = "x".repeat(3000);
            let health = Change::Health(Health::NeedsSignIn { reason, generation, cause: None });
            let outcome = Outcome { id: added, change: health };
            vault.record(own.clone(), vec![outcome, cooled(1, 5_000)]).await.unwrap();
            vault.record(pool(), vec![cooled(2, round)]).await.unwrap();
            vault.move_to(&own, added, 0).await.unwrap();
            vault.remove(&own, added).await.unwrap();
            generation = generation.next();
            if round == 3 {
                say("busy");
            }
        }
    });
}

#[tokio::test]
async fn a_vault_that_others_work_on_has_no_findings() {
    let place = new().await;
    let job = || Job::new(module_path!(), "work").vault(&place.root(), &place.key).start();
    let mut workers = [job(), job()];
    workers.iter_mut().for_each(|worker| worker.wait_for("busy"));
    let (mut records, mut looked) = (0, 0);
    for round in 0..60 {
        let report = place.check().fix(round % 2 == 1).run().await.unwrap();
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        assert_eq!(report.opened, report.records);
        records = records.max(report.records);
        looked += 1;
    }
    for mut worker in workers {
        worker.tell("enough");
        worker.hang_up();
        worker.succeed();
    }
    assert!(records > 3, "they were seen at work");
    assert_eq!(looked, 60);
    let report = place.check().run().await.unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[tokio::test]
async fn a_vault_that_stays_locked_is_checked_all_the_same() {
    let place = new().await;
    put(&place.file("records/.0123456789abcdef.tmp"), "somebody is writing it");
    put(&place.record(1), "{");
    let lock = fs::File::options().write(true).open(place.file("lock")).unwrap();
    lock.lock().unwrap();
    let before = place.all();
    let check = place.check().lock_timeout(Duration::from_millis(20)).fix(true);
    let report = check.run().await.unwrap();
    assert_eq!(kinds(&report), [Kind::Locked, Kind::Record], "nothing that may be somebody's work");
    assert_eq!(place.all(), before, "nothing is mended while somebody works");
    if cfg!(target_os = "linux") {
        let process = format!("process {}", std::process::id());
        assert!(report.findings[0].what.contains(&process), "{:?}", report.findings);
    }
    drop(lock);
    let report = place.check().run().await.unwrap();
    assert_eq!(kinds(&report), [Kind::Record, Kind::Leftover]);
}

#[tokio::test]
async fn nothing_is_mended_without_the_lock_which_is_made_if_it_is_missing() {
    let place = new().await;
    let (lock, leftover) = (place.file("lock"), place.file("records/.0123456789abcdef.tmp"));
    put(&leftover, "somebody may be writing it");
    fs::remove_file(&lock).unwrap();
    let before = place.all();
    let report = place.check().run().await.unwrap();
    assert!(report.findings.is_empty(), "nobody was kept out: {:#?}", report.findings);
    assert_eq!(place.all(), before);
    let report = place.check().fix(true).run().await.unwrap();
    assert_eq!(kinds(&report), [Kind::Leftover]);
    assert!(report.is_healthy() && !leftover.exists(), "{:#?}", report.findings);
    assert_eq!(fs::metadata(&lock).unwrap().mode() & 0o777, 0o600);
    // A directory cannot be locked.
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    set_mode(&place.record(1), 0o644);
    let report = place.check().fix(true).run().await.unwrap();
    assert!(!report.is_healthy() && report.findings.iter().all(|finding| !finding.is_fixed));
    // No vault is made where there is none.
    let empty = TempDir::new().unwrap();
    let report = Check::new(empty.path()).fix(true).run().await.unwrap();
    assert_eq!(kinds(&report)[0], Kind::NoVault);
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}

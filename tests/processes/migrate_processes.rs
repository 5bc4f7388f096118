//! Several processes that migrate the same files into one vault at once.
#![cfg(feature = "migrate")]

use tower_credentials::migrate::{Action, Source, apply, read};
use tower_credentials::registry::Registry;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;

use crate::children::{self, Job, hear, say};
use crate::legacy::{Home, fixture};

const PROCESSES: usize = 4;
const RECORDS: usize = 14;

#[test]
fn a_child_does_its_job() {
    let Some(job) = children::job() else { return };
    assert_eq!(job, "migrates");
    children::on_two_threads(migrates());
}

/// Migrates all files whenever it is told to, and says how many records it has added.
async fn migrates() {
    let vault = children::vault().await;
    let home = children::path("HOME");
    let registry = Registry::builder().build().unwrap();
    say("ready");
    while hear() == "go" {
        let places = Source::ALL.map(|source| (source, source.place(&home, |_| None)));
        let found = places.map(|(source, path)| read(source, path).unwrap());
        let report = apply(&vault, &registry, &found).await.unwrap();
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        say(report.steps.iter().filter(|step| step.action == Action::Add).count());
    }
}

#[tokio::test]
async fn processes_that_migrate_at_once_add_nothing_twice() {
    let home = Home::new();
    for source in Source::ALL {
        home.write(source, fixture(source));
    }
    let (directory, key) = (home.path().join("vault"), VaultKey::generate());
    let vault = FileVault::open(&directory, &key).await.unwrap();
    let job = || Job::new(module_path!(), "migrates").vault(&directory, &key).set("HOME", home.path());
    let mut children: Vec<_> = (0..PROCESSES).map(|_| job().start()).collect();
    children.iter_mut().for_each(|child| child.wait_for("ready"));
    for _ in 0..5 {
        children.iter_mut().for_each(|child| child.tell("go"));
        let added = children.iter_mut().map(|child| child.next().unwrap().parse::<usize>().unwrap());
        assert_eq!(added.sum::<usize>(), RECORDS);
        let known = vault.list().await.unwrap();
        assert_eq!(known.damaged, []);
        assert_eq!(known.credentials.len(), RECORDS);
        for record in known.credentials {
            vault.remove(&record.pool, record.id).await.unwrap();
        }
    }
    for mut child in children {
        child.tell("stop");
        child.succeed();
    }
}

//! Resealing that is killed, beside a process that still uses the old key.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tower_credentials::CredentialId;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{VaultError, VaultExt};

use super::{PLANTED, account, job, pool};
use crate::children::{self, hear, say};
use crate::place::Place;

/// Reseals the vault, and waits for its parent after each record.
pub(super) async fn resealer() {
    let vault = FileVault::builder(children::path("VAULT")).old_key(&children::key("OLD"));
    let vault = vault.open(&children::key("KEY")).await.unwrap();
    let progress = |so_far: &tower_credentials::vault::file::Resealing| {
        say(format_args!("looked at {}", so_far.done));
        hear();
    };
    let resealing = vault.reseal(progress).await.unwrap();
    assert!(resealing.damaged.is_empty(), "{:?}", resealing.damaged);
    say(format_args!("left {}", resealing.left));
}

/// Has the vault open with the old key the whole time.
pub(super) async fn old_hand() {
    let vault = children::vault().await;
    say("ready");
    loop {
        let label = hear();
        match vault.put(account(&label)).await {
            Ok(stored) => say(format_args!("put {}", stored.id)),
            Err(VaultError::Key(reason)) => say(format_args!("refused {reason}")),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_resealing_that_is_killed_after_any_record_is_resumed() {
    const RECORDS: usize = 5;
    let place = Place::new();
    let (old, new) = (place.key.clone(), VaultKey::generate());
    let mut secrets = BTreeMap::new();
    let vault = place.open().await;
    for number in 0..RECORDS {
        let label = format!("a{number}");
        secrets.insert(vault.put(account(&label)).await.unwrap().id, format!("{PLANTED}-{label}"));
    }
    drop(vault);
    let mut old_hand = place.job("old hand").start();
    old_hand.wait_for("ready");

    let all_open = async |vault: &FileVault, secrets: &BTreeMap<CredentialId, String>| {
        let loaded = vault.load_pool(pool()).await.unwrap();
        assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
        let found: BTreeMap<_, _> = loaded
            .credentials
            .iter()
            .map(|stored| (stored.metadata.id, stored.secret.token().expose().to_owned()))
            .collect();
        assert_eq!(found, *secrets);
    };
    let resealed = || {
        let new = new.id().to_string();
        let files = fs::read_dir(place.root().join("records")).unwrap();
        files
            .filter(|file| fs::read_to_string(file.as_ref().unwrap().path()).unwrap().contains(&new))
            .count()
    };
    let resealer = || job("resealer").vault(&place.root(), &new).key("OLD", &old).start();
    let mut most = 0;
    for stop_after in 1..=RECORDS {
        let mut child = resealer();
        for done in 1..stop_after {
            child.wait_for(&format!("looked at {done}"));
            child.tell("go on");
        }
        child.wait_for(&format!("looked at {stop_after}"));
        child.kill();
        let both = FileVault::builder(place.root()).old_key(&old).open(&new).await.unwrap();
        all_open(&both, &secrets).await;
        assert!(resealed() >= most, "what is done stays done");
        most = resealed();
        // Meanwhile another process goes on with the old key.
        let label = format!("late{stop_after}");
        old_hand.tell(&label);
        let id = old_hand.wait_for_one_of("put").parse().unwrap();
        secrets.insert(id, format!("{PLANTED}-{label}"));
        all_open(&both, &secrets).await;
    }
    assert!(most >= 1, "some record was resealed before the end");
    // The first run also reseals what is added meanwhile; the second finds nothing to do.
    for round in 0..2 {
        let mut left = usize::MAX;
        let mut child = resealer();
        let mut has_added = false;
        while let Some(said) = child.next() {
            if let Some(said) = said.strip_prefix("left ") {
                left = said.parse().unwrap();
                break;
            }
            if round == 0 && !std::mem::replace(&mut has_added, true) {
                old_hand.tell("last");
                let id = old_hand.wait_for_one_of("put").parse().unwrap();
                secrets.insert(id, format!("{PLANTED}-last"));
            }
            child.tell("go on");
        }
        child.succeed();
        assert_eq!(left, 0, "what came with the old key while it ran is taken up, in round {round}");
    }

    let vault = FileVault::open(place.root(), &new).await.unwrap();
    all_open(&vault, &secrets).await;
    let Err(VaultError::Key(reason)) = FileVault::open(place.root(), &old).await else {
        panic!("the old key opens nothing any more");
    };
    let names_both =
        |reason: &str| [&old, &new].iter().all(|key| reason.contains(&key.id().to_string()));
    assert!(names_both(&reason), "{reason}");
    let before = contents(&place.root());
    old_hand.tell("too late");
    let reason = old_hand.wait_for_one_of("refused");
    assert!(names_both(&reason), "{reason}");
    assert_eq!(contents(&place.root()), before, "nothing was written");
    all_open(&vault, &secrets).await;
}

/// Every file below this directory, with its content.
fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = children::all_below(root).into_iter().filter(|path| path.is_file());
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

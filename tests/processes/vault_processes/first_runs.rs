//! First runs that begin at once.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;

use super::{PLANTED, account, job, pool, token};
use crate::children::{self, hear, say};

/// Opens one new vault after another as a program does on its first run, and puts something into it.
pub(super) async fn newcomer() {
    say("ready");
    loop {
        let place = hear();
        let Some((key, vault)) = place.split_once('\t') else { panic!("{place:?}") };
        let key = VaultKey::load_or_create(key).await.unwrap();
        let vault = FileVault::open(vault, &key).await.unwrap();
        let id = vault.put(account("work")).await.unwrap().id;
        assert_eq!(token(&vault, id).await, format!("{PLANTED}-work"));
        say(format_args!("{} {id}", key.id()));
    }
}

#[tokio::test]
async fn first_runs_at_once_agree_on_the_key_and_keep_what_each_has_put() {
    let mut children: Vec<_> = (0..8).map(|_| job("newcomer").start()).collect();
    children.iter_mut().for_each(|child| child.wait_for("ready"));
    for round in 0..24 {
        let place = TempDir::new().unwrap();
        let parent = place.path().join("a").join("b");
        // The key beside the vault, far from it, or in it.
        let (key, root) = match round % 3 {
            0 => (parent.join("vault.key"), parent.join("vault")),
            1 => (parent.join("keys/c/vault.key"), parent.join("vaults/d/vault")),
            _ => (parent.join("vault/vault.key"), parent.join("vault")),
        };
        let is_over = Arc::new(AtomicBool::new(false));
        // Now and then another program makes the same directories at the same time.
        let maker = (round % 2 == 0).then(|| {
            let (is_over, directories) = (is_over.clone(), [place.path().join("a"), parent.clone()]);
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    directories.iter().for_each(|directory| drop(fs::create_dir(directory)));
                    std::thread::yield_now();
                }
            })
        });
        let line = format!("{}\t{}", key.display(), root.display());
        children.iter_mut().for_each(|child| child.tell(&line));
        let said: Vec<_> = children.iter_mut().map(|child| child.next()).collect();
        is_over.store(true, Ordering::Relaxed);
        maker.into_iter().for_each(|maker| maker.join().unwrap());
        let said: Vec<_> =
            said.into_iter().map(|said| said.expect("it has not failed; see stderr")).collect();

        let key = VaultKey::load_or_create(&key).await.unwrap();
        let vault = FileVault::open(&root, &key).await.unwrap();
        let mut labels = BTreeSet::new();
        for said in &said {
            let (key_id, id) = said.split_once(' ').unwrap();
            assert_eq!(key_id, key.id().to_string(), "one key for all");
            labels.insert(
                vault.get(&pool(), id.parse().unwrap()).await.unwrap().metadata.label.to_string(),
            );
        }
        assert_eq!(labels.len(), children.len(), "each has a label of its own: {labels:?}");
        assert_eq!(children::temporary_files(place.path()), Vec::<PathBuf>::new());
    }
}

//! A child's side: the deed that it does, and how it gets ahead of other threads.

use std::fs;
use std::io::Write;

use tokio::task::spawn_blocking;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::{CredentialId, Generation, Secret};

use super::{MARKER, account, failed, pool};
use crate::children::{self, setting};

/// How many calls of each kind the thread makes in advance. strace counts per thread, so the other threads must never
/// get that far.
const AHEAD: usize = 150;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    FirstRun,
    Put,
    Swap,
    Outcome,
    Compaction,
    Relabel,
    Move,
    Remove,
    Reseal,
}

pub(super) const DEEDS: [Deed; 9] = [
    Deed::FirstRun,
    Deed::Put,
    Deed::Swap,
    Deed::Outcome,
    Deed::Compaction,
    Deed::Relabel,
    Deed::Move,
    Deed::Remove,
    Deed::Reseal,
];

/// Makes calls, so that this thread is ahead of all others in each call that others make, too.
pub(super) fn get_ahead() {
    use std::io::{Read, Seek};
    for _ in 0..AHEAD {
        let mut null = fs::File::options().read(true).write(true).open("/dev/null").unwrap();
        null.metadata().unwrap();
        null.write_all(b"-").unwrap();
        null.rewind().unwrap();
        assert_eq!(null.read(&mut [0]).unwrap(), 0);
        assert!(fs::read_dir(children::path("PLACE")).unwrap().all(|entry| entry.is_ok()));
    }
}

pub(super) async fn begin() {
    spawn_blocking(|| drop(fs::metadata(MARKER))).await.unwrap();
}

pub(super) async fn do_it(deed: Deed) {
    let place = children::path("PLACE");
    let root = place.join("vault");
    match deed {
        Deed::FirstRun => {
            begin().await;
            let key = VaultKey::load_or_create(place.join("keys/vault.key")).await.unwrap();
            let vault = FileVault::open(root, &key).await.unwrap();
            vault.put(account("first", "secret")).await.unwrap();
            return;
        }
        Deed::Reseal => {
            begin().await;
            let vault = FileVault::builder(root).old_key(&children::key("KEY"));
            let vault = vault.open(&children::key("NEW")).await.unwrap();
            assert_eq!(vault.reseal(|_| {}).await.unwrap().left, 0);
            return;
        }
        _ => {}
    }
    let vault = FileVault::open(root, &children::key("KEY")).await.unwrap();
    let id: CredentialId = setting("ID").unwrap().parse().unwrap();
    begin().await;
    match deed {
        Deed::Put => drop(vault.put(account("a", "secret of a-2")).await.unwrap()),
        Deed::Swap => {
            let secret = Secret::api_key("swapped");
            drop(vault.replace_secret(&pool(), id, Generation::FIRST, secret).await.unwrap());
        }
        Deed::Outcome | Deed::Compaction => drop(vault.record(pool(), vec![failed(id)]).await.unwrap()),
        Deed::Relabel => drop(vault.relabel(&pool(), id, "z").await.unwrap()),
        Deed::Move => vault.move_to(&pool(), id, 0).await.unwrap(),
        Deed::Remove => vault.remove(&pool(), id).await.unwrap(),
        Deed::FirstRun | Deed::Reseal => unreachable!(),
    }
}

//! An engine that has forgotten is given back what hosts have seen, unless it was restored on purpose.

mod emptied;
mod missing_pools;
mod standings;

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;
use tower_credentials::standing::Standings;
use tower_credentials::vault::{Vault, VaultExt};
use tower_credentials::{CredentialId, Generation, Secret};

use crate::hosts::{hosts, once_it_is_back};
use crate::server::Server;
use crate::vault_contract::{cooled, order, pool, put_all, token};

const FILES: &str = "appendonlydir";

const SOON: Duration = Duration::from_secs(30);

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Keeps the engine's files of now, and returns what starts it again from them.
fn backup(server: &Server) -> impl FnOnce() {
    let kept = tempfile::tempdir().unwrap();
    let place = kept.path().join(FILES);
    copy(&server.files().join(FILES), &place);
    move || {
        server.kill();
        copy(&place, &server.files().join(FILES));
        server.start_again();
        drop(kept);
    }
}

async fn standings(vault: &impl Vault) -> Standings {
    once_it_is_back(async || vault.load_pool(pool()).await).await.unwrap().standings
}

/// Stores a new secret, and returns its generation.
async fn renew(vault: &impl Vault, id: CredentialId, secret: &str) -> Generation {
    let before = vault.get(&pool(), id).await.unwrap().metadata.generation;
    vault.replace_secret(&pool(), id, before, Secret::api_key(secret)).await.unwrap();
    before.next()
}

#[tokio::test]
async fn an_engine_that_was_emptied_is_given_back_all_accounts_in_their_order() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    let [a, _, c] = put_all(&one, ["a", "b", "c"]).await;
    renew(&one, a, "new").await;
    one.move_to(&pool(), c, 0).await.unwrap();
    one.load_pool(pool()).await.unwrap();
    server.tell::<()>(&["FLUSHALL"]);
    assert_eq!(order(&one).await, ["c", "a", "b"]);
    assert_eq!(order(&other).await, ["c", "a", "b"]);
    assert_eq!(token(&other, a).await, "new");
    assert_eq!(other.list().await.unwrap().credentials.len(), 3);
}

#[tokio::test]
async fn a_newer_secret_than_an_older_file_has_is_given_back_before_the_old_one_is_presented() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    let [a, b] = put_all(&one, ["a", "b"]).await;
    let restore = backup(&server);
    let newest = renew(&one, a, "newest").await;
    one.record(pool(), vec![cooled(b, 5_000, 1, false)]).await.unwrap();
    one.load_pool(pool()).await.unwrap();
    restore();
    // Others make the log as long as it was, so its length shows nothing.
    for set_at in 0..5 {
        let record = async || other.record(pool(), vec![cooled(b, 6_000, set_at, false)]).await;
        once_it_is_back(record).await.unwrap();
    }
    let begin = async || one.begin_refresh(&pool(), a, newest).await;
    let begun = once_it_is_back(begin).await.unwrap();
    assert_eq!(begun.record.metadata.generation, newest);
    assert_eq!(begun.record.secret.token().expose(), "newest");
    assert_eq!(token(&other, a).await, "newest");
}

#[tokio::test]
async fn a_pool_that_is_loaded_from_an_older_file_has_the_newest_secret() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    let [a, b] = put_all(&one, ["a", "b"]).await;
    let restore = backup(&server);
    renew(&one, a, "newest").await;
    let known = one.load_pool(pool()).await.unwrap().revision;
    restore();
    let record = async || other.record(pool(), vec![cooled(b, 6_000, 1, false)]).await;
    once_it_is_back(record).await.unwrap();
    let changes = async || one.changes(pool(), known).await;
    assert!(once_it_is_back(changes).await.unwrap().is_none(), "the log is another one");
    let loaded = one.load_pool(pool()).await.unwrap();
    let tokens: Vec<_> =
        loaded.credentials.iter().map(|one| one.secret.token().expose().to_owned()).collect();
    assert!(tokens.contains(&"newest".to_owned()), "{tokens:?}");
    assert_eq!(token(&other, a).await, "newest");
}

#[tokio::test]
async fn an_engine_that_was_restored_on_purpose_is_given_nothing() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    let [a] = put_all(&one, ["a"]).await;
    let old = token(&one, a).await;
    let restore = backup(&server);
    renew(&one, a, "newest").await;
    put_all(&one, ["b"]).await;
    one.load_pool(pool()).await.unwrap();
    restore();
    let backend = server.builder().build().unwrap();
    once_it_is_back(async || backend.restored().await).await.unwrap();
    let loaded = once_it_is_back(async || one.load_pool(pool()).await).await.unwrap();
    assert_eq!(loaded.credentials.len(), 1);
    assert_eq!(token(&one, a).await, old);
    assert_eq!(token(&other, a).await, old);
}

#[tokio::test]
async fn a_removed_account_does_not_come_back() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    let [a, _] = put_all(&one, ["a", "b"]).await;
    other.load_pool(pool()).await.unwrap();
    one.remove(&pool(), a).await.unwrap();
    // The log is another one, of which the other host has seen nothing.
    let key = |part: &str| format!("tower-credentials:{{example/default}}:{part}");
    server.tell::<u8>(&["DEL", &key("log"), &key("revision"), &key("snapshot")]);
    let loaded = other.load_pool(pool()).await.unwrap();
    assert!(loaded.credentials.iter().all(|known| known.metadata.id != a));
}

#[tokio::test]
async fn those_who_watch_are_told_that_an_engine_has_forgotten() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    put_all(&one, ["a"]).await;
    one.load_pool(pool()).await.unwrap();
    let mut watch = one.watch(pool()).await.unwrap().unwrap();
    assert!(timeout(SOON, watch.changed()).await.expect("the first notice"));
    server.tell::<()>(&["FLUSHALL"]);
    assert!(timeout(SOON, watch.changed()).await.expect("nobody notices"));
    assert_eq!(order(&one).await, ["a"]);
    assert_eq!(order(&other).await, ["a"]);
}

#[tokio::test]
async fn a_log_with_a_gap_is_not_taken_for_a_pool() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    put_all(&one, ["a"]).await;
    server.tell::<u8>(&["DEL", "tower-credentials:{example/default}:log"]);
    let error = other.load_pool(pool()).await.unwrap_err().to_string();
    assert!(error.contains("example/default") && error.contains("gap"), "{error}");
}

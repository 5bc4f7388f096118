//! A restore on purpose counts for pools, too, that the backup has not got or does not list.

use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::seal::Seal;
use tower_credentials::{Credential, PoolKey};

use super::*;

const POOLS: &str = "tower-credentials:pools";
const RESTORES: &str = "tower-credentials:restores";

/// A pool that is younger than the backup.
fn later() -> PoolKey {
    PoolKey::new("later")
}

async fn put_later(host: &Seal<RedisBackend>) {
    host.put(Credential::new(later(), "b", Secret::api_key("b-key"))).await.unwrap();
}

/// Returns how many accounts the younger pool has, as this host sees it.
async fn count_later(host: &Seal<RedisBackend>) -> usize {
    let loaded = once_it_is_back(async || host.load_pool(later()).await).await.unwrap();
    loaded.credentials.len()
}

async fn restored(server: &Server) {
    once_it_is_back(async || server.builder().build().unwrap().restored().await).await.unwrap();
}

#[tokio::test]
async fn a_pool_that_the_backup_has_not_got_is_given_back_by_nobody() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other, third] = hosts(&server).await;
    put_all(&one, ["a"]).await;
    let restore = backup(&server);
    put_later(&one).await;
    // One has loaded it, one has only put into it, and one has read on.
    third.load_pool(later()).await.unwrap();
    put_later(&other).await;
    let known = third.load_pool(later()).await.unwrap().revision;
    restore();
    restored(&server).await;
    let changes = once_it_is_back(async || third.changes(later(), known).await).await.unwrap();
    assert!(changes.is_none(), "the pool is another one");
    for host in [&one, &other, &third] {
        assert_eq!(count_later(host).await, 0);
        assert_eq!(once_it_is_back(async || host.list().await).await.unwrap().credentials.len(), 1);
    }
    assert_eq!(server.tell::<Vec<String>>(&["SMEMBERS", POOLS]).len(), 1);
    let report = server.builder().build().unwrap().check(false).await.unwrap();
    assert!(report.findings.is_empty(), "{report:?}");
}

/// In a cluster another node may have them than the pool.
#[tokio::test]
async fn a_new_secret_is_saved_if_the_restores_of_the_vault_cannot_be_read() {
    let Some(server) = Server::start(&[]) else { return };
    let [host] = hosts(&server).await;
    let [a] = put_all(&host, ["a"]).await;
    let all_but_restores =
        ["~tower-credentials:{*", "~tower-credentials:pools", "~tower-credentials:vault"];
    let rules = [&["ACL", "SETUSER", "default", "resetkeys"], &all_but_restores[..]].concat();
    server.tell::<()>(&rules);
    renew(&host, a, "new").await;
    assert_eq!(token(&host, a).await, "new");
}

#[tokio::test]
async fn a_pool_that_the_backup_does_not_list_is_given_nothing() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    let [a] = put_all(&one, ["a"]).await;
    let old = token(&one, a).await;
    let restore = backup(&server);
    renew(&one, a, "undone").await;
    one.load_pool(pool()).await.unwrap();
    other.load_pool(pool()).await.unwrap();
    restore();
    // A backup that was made by hand, of the pools' own keys.
    server.tell::<u8>(&["DEL", POOLS]);
    restored(&server).await;
    for host in [&one, &other] {
        once_it_is_back(async || host.load_pool(pool()).await).await.unwrap();
        assert_eq!(token(host, a).await, old);
    }
}

#[tokio::test]
async fn an_engine_that_was_emptied_is_given_back_a_pool_that_was_put_into_since_the_restore() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    put_all(&one, ["a"]).await;
    restored(&server).await;
    put_later(&one).await;
    let restores: String = server.tell(&["GET", RESTORES]);
    server.tell::<()>(&["FLUSHALL"]);
    assert_eq!(count_later(&one).await, 1);
    assert_eq!(count_later(&other).await, 1);
    assert_eq!(server.tell::<String>(&["GET", RESTORES]), restores);
}

#[tokio::test]
async fn an_older_file_from_before_the_restore_and_the_pool_is_no_restore() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    put_all(&one, ["a"]).await;
    // The engine has seen no restore, then one.
    for _ in 0..2 {
        let restore = backup(&server);
        restored(&server).await;
        put_later(&one).await;
        let count = count_later(&one).await;
        restore();
        assert_eq!(count_later(&one).await, count);
        assert_eq!(count_later(&other).await, count);
    }
}

#[tokio::test]
async fn a_secret_that_is_renewed_in_a_pool_that_was_empty_at_the_restore_is_given_back() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    let empty = one.load_pool(pool()).await.unwrap().revision;
    restored(&server).await;
    let [a] = put_all(&other, ["a"]).await;
    assert!(one.changes(pool(), empty).await.unwrap().is_none(), "it is loaded");
    one.load_pool(pool()).await.unwrap();
    let restore = backup(&server);
    renew(&one, a, "newest").await;
    restore();
    once_it_is_back(async || one.load_pool(pool()).await).await.unwrap();
    assert_eq!(token(&one, a).await, "newest");
}

#[tokio::test]
async fn a_secret_that_is_renewed_after_a_restore_that_the_host_has_not_noticed_is_given_back() {
    let Some(server) = Server::start(&[]) else { return };
    let [one] = hosts(&server).await;
    let [a] = put_all(&one, ["a"]).await;
    one.load_pool(pool()).await.unwrap();
    restored(&server).await;
    let restore = backup(&server);
    renew(&one, a, "newest").await;
    restore();
    once_it_is_back(async || one.load_pool(pool()).await).await.unwrap();
    assert_eq!(token(&one, a).await, "newest");
}

//! Changes that others make in the vault are in the pool within a second. If nothing has changed, the pool asks only
//! for the revision.

use std::time::Duration;

use tower_credentials::vault::VaultExt;
use tower_credentials::*;

use crate::support::*;

async fn limit(pool: &Pool, label: &str) {
    let upstream = Upstream::new().answers(label, [Canned::limited(3000)]);
    ask(&stack(four(pool, &no_refresh()), upstream), post()).await;
}

#[tokio::test(start_paused = true)]
async fn a_cooldown_that_another_pool_set_is_known_within_a_second() {
    let vault = keys(["a", "b"]).await;
    let first = builder(vault.clone()).clock(tokio_clock()).open().await.unwrap();
    let second = builder(vault.clone()).clock(tokio_clock()).open().await.unwrap();
    limit(&first, "a").await;
    assert_eq!(order(&second), ["a", "b"]);
    tokio::time::sleep(Duration::from_millis(1001)).await;
    assert_eq!(order(&second), ["b", "a"]);
    assert!(cools(&second, "a") > seconds(2990));

    vault.put(account("c")).await.unwrap();
    let [id] = [id_of(&second, "a")];
    first.reset(id).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1001)).await;
    assert_eq!(cools(&second, "a"), Duration::ZERO);
    assert_eq!(second.status().len(), 3);
}

/// A success that only clears a failure is not saved at once, so that a rotation is saved once.
#[tokio::test(start_paused = true)]
async fn a_recovery_is_saved_within_a_second() {
    let spy = Planned::spy(&keys(["a", "b"]).await);
    let pool = builder(spy.clone()).clock(tokio_clock()).open().await.unwrap();
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(1), Canned::ok()])
        .answers("b", [Canned::ok(), Canned::limited(3000)]);
    let client = stack(four(&pool, &no_refresh()), upstream.clone());
    ask(&client, post()).await;
    tokio::time::sleep(seconds(2)).await;
    let saves = spy.count("record");
    ask(&client, post()).await;
    assert_eq!(upstream.tokens(), ["a", "b", "b", "a"]);
    assert_eq!(spy.count("record") - saves, 1, "the limit of b");
    let failures = async || {
        let key = pool.key().clone();
        spy.load_pool(key).await.unwrap().standings.credentials[&id_of(&pool, "a")].failures
    };
    assert_eq!((failures().await, status_of(&pool, "a").standing.failures), (1, 0));
    tokio::time::sleep(Duration::from_millis(1001)).await;
    assert_eq!(failures().await, 0);
}

#[tokio::test(start_paused = true)]
async fn without_syncing_the_vault_is_not_asked() {
    let spy = Planned::spy(&keys(["a", "b"]).await);
    let pool = builder(spy.clone()).sync_every(None).open().await.unwrap();
    tokio::time::sleep(seconds(100)).await;
    assert_eq!(spy.count("revision"), 0);
    drop(pool);
}

#[tokio::test(start_paused = true)]
async fn if_nothing_has_changed_only_the_revision_is_asked_for() {
    let spy = Planned::spy(&keys(["a", "b"]).await);
    let pool = builder(spy.clone()).sync_every(seconds(2)).open().await.unwrap();
    tokio::time::sleep(seconds(101)).await;
    assert_eq!((spy.count("revision"), spy.count("load")), (50, 1));
    assert_eq!(pool.status().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn syncing_ends_with_the_last_clone_of_the_pool() {
    let spy = Planned::spy(&keys(["a", "b"]).await);
    let pool = builder(spy.clone()).open().await.unwrap();
    let clone = pool.clone();
    drop(pool);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(spy.count("revision"), 1);
    drop(clone);
    tokio::time::sleep(seconds(100)).await;
    assert_eq!(spy.count("revision"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failing_vault_leaves_the_pool_unchanged_and_is_asked_again() {
    let vault = keys(["a", "b"]).await;
    let spy = Planned::new(&vault, |kind, before| match kind {
        "revision" if before < 5 => Plan::Fail,
        _ => Plan::Pass,
    });
    let pool = builder(spy.clone()).clock(tokio_clock()).open().await.unwrap();
    limit(&builder(vault).clock(tokio_clock()).open().await.unwrap(), "a").await;
    tokio::time::sleep(Duration::from_millis(5500)).await;
    assert_eq!(order(&pool), ["a", "b"]);
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(order(&pool), ["b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_being_saved_while_the_pool_is_loaded_counts_once() {
    let vault = keys(["a", "b", "c"]).await;
    // The vault has it at once, but the pool knows that only later.
    let (spy, release) = Planned::holding(&vault, "record", 0);
    let pool = builder(spy.clone()).clock(tokio_clock()).sync_every(None).open().await.unwrap();
    limit(&pool, "a").await;
    pool.sync().await.unwrap();
    assert_eq!(status_of(&pool, "a").standing.failures, 1);
    release.notify_one();
    pool.save().await.unwrap();
    settle(&pool).await;
    pool.sync().await.unwrap();
    assert_eq!(status_of(&pool, "a").standing.failures, 1);
    assert_eq!((spy.count("load"), spy.count("changes")), (1, 1));
}

/// Waits until the pool's saving task is done.
async fn settle(pool: &Pool) {
    tokio::time::sleep(seconds(60)).await;
    pool.save().await.unwrap();
}

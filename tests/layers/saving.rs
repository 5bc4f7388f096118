//! What a pool saves, and what requests see of a vault that fails or hangs.

use std::io::ErrorKind;
use std::time::Duration;

use tower::ServiceExt;
use tower_credentials::vault::VaultExt;
use tower_credentials::*;

use crate::support::*;

#[tokio::test]
async fn a_success_writes_nothing() {
    let spy = Planned::spy(&keys(["a", "b"]).await);
    let pool = builder(spy.clone()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), Upstream::new());
    let before = spy.calls.all();
    for _ in 0..10 {
        assert_eq!(ask(&service, post()).await.0, 200);
    }
    assert_eq!(spy.calls.all(), before, "nor reads");
}

#[tokio::test]
async fn a_cooldown_write_touches_no_secret() {
    let spy = Planned::spy(&keys(["a", "b"]).await);
    let pool = builder(spy.clone()).open().await.unwrap();
    let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
    ask(&stack(four(&pool, &no_refresh()), upstream), post()).await;
    assert_eq!(spy.calls.all(), ["load", "record"]);
}

async fn is_saved(vault: &vault::MemoryVault, pool: &Pool, label: &str) -> bool {
    let standings = vault.load_pool(key()).await.unwrap().standings;
    standings.credentials.get(&status_of(pool, label).credential.id)
        == Some(&status_of(pool, label).standing)
}

#[tokio::test(start_paused = true)]
async fn a_failing_vault_fails_no_response_is_reported_and_gets_the_outcome_in_the_end() {
    let vault = keys(["a", "b"]).await;
    let spy = Planned::new(&vault, |kind, before| match kind {
        "record" if before < 5 => Plan::Fail,
        _ => Plan::Pass,
    });
    let events = Journal::new();
    let pool =
        builder(spy.clone()).clock(tokio_clock()).on_event(events.observer()).open().await.unwrap();
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    let service = stack(four(&pool, &no_refresh()), upstream);
    let start = tokio::time::Instant::now();
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
    assert_eq!(start.elapsed(), Duration::ZERO, "it is not waited for");
    assert_eq!(events.count("SaveFailed"), 1);
    assert!(!is_saved(&vault, &pool, "a").await);
    assert_eq!(ask(&service, post()).await.0, 200);

    events.has("Saved").await;
    assert!(is_saved(&vault, &pool, "a").await);
    assert_eq!((spy.count("record"), events.count("SaveFailed")), (6, 5));
    assert!(start.elapsed() > seconds(1), "the tries have been further and further apart");
    pool.save().await.unwrap();
    assert_eq!(spy.count("record"), 7, "the response that came while the first batch was sent again");
    pool.save().await.unwrap();
    assert_eq!(spy.count("record"), 7, "nothing is left to be saved");
}

#[tokio::test(start_paused = true)]
async fn a_save_that_fails_says_whether_the_vault_can_be_reached() {
    for (plan, expected) in [(Plan::Away, "unreachable: true"), (Plan::Fail, "unreachable: false")] {
        let vault = keys(["a", "b"]).await;
        let spy = Planned::new(&vault, move |kind, before| match kind {
            "record" if before == 0 => plan.clone(),
            _ => Plan::Pass,
        });
        let events = Journal::new();
        let pool = builder(spy).clock(tokio_clock()).on_event(events.observer()).open().await.unwrap();
        let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
        let service = stack(four(&pool, &no_refresh()), upstream);
        assert_eq!(ask(&service, post()).await, (200, "b".into()));
        events.has("Saved").await;
        let all = events.all();
        let failed: Vec<_> = all.iter().filter(|event| event.starts_with("SaveFailed")).collect();
        assert!(failed.len() == 1 && failed[0].contains(expected), "{failed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_vault_delays_no_response_for_long_and_is_reported() {
    let vault = keys(["a", "b", "c"]).await;
    let (spy, release) = Planned::holding(&vault, "record", 0);
    let events = Journal::new();
    let pool =
        builder(spy.clone()).clock(tokio_clock()).on_event(events.observer()).open().await.unwrap();
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(3000)])
        .answers("b", [Canned::ok(), Canned::limited(3000)]);
    let service = stack(four(&pool, &no_refresh()), upstream);
    let start = tokio::time::Instant::now();
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(start.elapsed(), seconds(1));
    assert_eq!(events.count("SaveFailed"), 1);
    assert_eq!(ask(&service, post()).await, (200, "c".into()), "another outcome while it hangs");
    assert_eq!(start.elapsed(), seconds(1), "from now on nobody waits");

    release.notify_one();
    events.until(|events| events.iter().filter(|event| event.starts_with("Saved")).count() == 2).await;
    assert!(is_saved(&vault, &pool, "a").await && is_saved(&vault, &pool, "b").await);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_a_vault_that_hangs_forever_is_enough() {
    let vault = keys(["a", "b"]).await;
    let spy = Planned::new(&vault, |kind, before| match kind {
        "record" if before == 0 => Plan::Hang,
        _ => Plan::Pass,
    });
    let guarded = tower::timeout::Timeout::new(spy, seconds(5));
    let events = Journal::new();
    let pool = builder(guarded).clock(tokio_clock()).on_event(events.observer()).open().await.unwrap();
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    let service = stack(four(&pool, &no_refresh()), upstream);
    assert_eq!(ask(&service, post()).await.0, 200);
    events.has("Saved").await;
    assert!(is_saved(&vault, &pool, "a").await);
}

#[tokio::test]
async fn outcomes_before_a_network_error_are_saved_in_any_order_of_layers() {
    let upstream = || {
        Upstream::new()
            .answers("a", [Canned::limited(3000)])
            .answers("b", [Canned::fails(ErrorKind::ConnectionReset)])
    };
    type Stacked = fn(&Pool, Upstream) -> Stack;
    let orders: [(&str, Stacked); 3] = [
        ("persist inside", |pool, upstream| stack(four(pool, &no_refresh()), upstream)),
        ("persist outside", |pool, upstream| {
            let (rotate, refresh, auth, persist) = four(pool, &no_refresh());
            stack((persist, rotate, refresh, auth), upstream)
        }),
        ("as one", |pool, upstream| stack(CredentialsLayer::new(pool.clone()), upstream)),
    ];
    for (order, stacked) in orders {
        let vault = keys(["a", "b"]).await;
        let events = Journal::new();
        let pool = builder(vault.clone()).on_event(events.observer()).open().await.unwrap();
        stacked(&pool, upstream()).oneshot(post()).await.unwrap_err();
        // A task that has been started by now does the saving.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        assert!(is_saved(&vault, &pool, "a").await, "{order}");
    }
}

#[tokio::test]
async fn a_save_during_a_sync_does_not_lose_the_cooldown() {
    let vault = keys(["a", "b"]).await;
    let (spy, release) = Planned::holding(&vault, "changes", 0);
    let pool = builder(spy.clone()).open().await.unwrap();
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    let service = stack(four(&pool, &no_refresh()), upstream);
    // Another process renames b, so that there is something to read.
    vault.relabel(&key(), id_of(&pool, "b"), "bee").await.unwrap();
    let syncing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.sync().await.unwrap() }
    });
    spy.calls.until(|calls| calls.contains(&"changes")).await;
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
    assert!(is_saved(&vault, &pool, "a").await);
    release.notify_one();
    syncing.await.unwrap();
    assert_ne!(cools(&pool, "a"), Duration::ZERO);
}

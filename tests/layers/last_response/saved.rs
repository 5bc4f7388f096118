//! Last responses are saved once a minute at most, and no request waits for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use tokio::sync::Notify;
use tower_credentials::vault::VaultExt;

use super::*;
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn good_responses_are_saved_once_a_minute_and_not_by_a_request() {
    for order in ORDERS {
        let vault = keys(["a", "b"]).await;
        let spy = Planned::spy(&vault);
        let pool = builder(spy.clone()).clock(tokio_clock()).open().await.unwrap();
        let service = order(&pool, Upstream::new());
        tokio::time::sleep(Duration::from_millis(500)).await;
        for minute in 1..=3 {
            for _ in 0..59 {
                ask(&service, post()).await;
                tokio::time::sleep(seconds(1)).await;
                assert_eq!(spy.count("record"), minute - 1);
            }
            tokio::time::sleep(seconds(1)).await;
            assert_eq!(spy.count("record"), minute);
            assert_eq!(saved(&vault, "a").await, Some(200));
        }
        tokio::time::sleep(MINUTE * 10).await;
        assert_eq!(spy.count("record"), 3, "nothing was asked, nothing is saved");
        assert_eq!(saved(&vault, "b").await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn the_program_sets_how_often_they_are_saved() {
    for (every, expected) in [(Some(seconds(5)), 20), (Some(seconds(1)), 100), (None, 0)] {
        let spy = Planned::spy(&keys(["a"]).await);
        let open = builder(spy.clone()).clock(tokio_clock()).save_last_responses_every(every);
        let pool = open.open().await.unwrap();
        let service = stack(four(&pool, &no_refresh()), Upstream::new());
        tokio::time::sleep(Duration::from_millis(500)).await;
        for _ in 0..100 {
            ask(&service, post()).await;
            tokio::time::sleep(seconds(1)).await;
        }
        assert_eq!(spy.count("record"), expected, "{every:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_layer_that_saves_only_an_explicit_save_saves_them() {
    let vault = keys(["a"]).await;
    let spy = Planned::spy(&vault);
    let pool = builder(spy.clone()).clock(tokio_clock()).open().await.unwrap();
    let (rotate, refresh, auth, _) = four(&pool, &no_refresh());
    let service: Stack = stack((rotate, refresh, auth), Upstream::new());
    ask(&service, post()).await;
    tokio::time::sleep(MINUTE * 10).await;
    assert_eq!(spy.count("record"), 0);
    for _ in 0..2 {
        pool.save().await.unwrap();
        assert_eq!(spy.count("record"), 1, "once is enough");
    }
    assert_eq!(saved(&vault, "a").await, Some(200));
}

#[tokio::test(start_paused = true)]
async fn last_responses_are_saved_along_with_other_changes() {
    let vault = keys(["a", "b"]).await;
    let spy = Planned::spy(&vault);
    let upstream = Upstream::new().answers("a", [Canned::ok(), Canned::limited(10)]);
    let pool = builder(spy.clone()).clock(tokio_clock()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream);
    ask(&service, post()).await;
    assert_eq!(spy.count("record"), 0);
    ask(&service, post()).await;
    assert_eq!(spy.count("record"), 1);
    assert_eq!(saved(&vault, "a").await, Some(429));
    pool.pause(id_of(&pool, "a")).await.unwrap();
    assert_eq!(spy.count("record"), 2);
    assert_eq!(saved(&vault, "b").await, Some(200));
    tokio::time::sleep(MINUTE * 2).await;
    assert_eq!(spy.count("record"), 2, "all of it was saved");
}

#[tokio::test(start_paused = true)]
async fn no_request_waits_for_a_save_and_a_failed_one_is_repeated() {
    let vault = keys(["a"]).await;
    let release = Arc::new(Notify::new());
    let hold = release.clone();
    let spy = Planned::new(&vault, move |kind, before| match kind {
        "record" if before == 0 => Plan::Fail,
        "record" => Plan::Hold(hold.clone()),
        _ => Plan::Pass,
    });
    let pool = builder(spy.clone()).clock(tokio_clock()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), Upstream::new());
    ask(&service, post()).await;
    tokio::time::sleep(MINUTE).await;
    spy.calls.until(|calls| calls.iter().filter(|call| **call == "record").count() == 2).await;
    let before = pool.now();
    ask(&service, post()).await;
    assert_eq!(pool.now(), before, "though it is being saved just now");
    release.notify_one();
    tokio::time::sleep(MINUTE).await;
    release.notify_one();
    pool.save().await.unwrap();
    assert_eq!(saved(&vault, "a").await, Some(200));
    tokio::time::sleep(MINUTE * 10).await;
    assert_eq!(spy.count("record"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_sync_during_a_save_takes_over_what_others_have_changed() {
    let vault = keys(["a"]).await;
    let release = Arc::new(Notify::new());
    let hold = release.clone();
    let spy = Planned::new(&vault, move |kind, _| match kind {
        "record" => Plan::Hold(hold.clone()),
        _ => Plan::Pass,
    });
    let pool = builder(spy.clone()).clock(tokio_clock()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), Upstream::new());
    ask(&service, post()).await;
    tokio::time::sleep(MINUTE - seconds(1)).await;
    spy.calls.until(|calls| calls.contains(&"record")).await;
    vault.put(account("b")).await.unwrap();
    release.notify_one();
    pool.sync().await.unwrap();
    assert_eq!(pool.status().len(), 2);
}

/// Counts how often a task would run.
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn another_pools_responses_wake_no_waiting_request() {
    let vault = keys(["a"]).await;
    let release = Arc::new(Notify::new());
    let slow = Canned::ok().after_notify(&release);
    let upstream = Upstream::new().answers("a", [slow, Canned::ok()]);
    let open = builder(vault.clone()).clock(tokio_clock()).sync_every(None);
    let pool = open.max_in_flight(std::num::NonZeroU32::MIN).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let first = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(1).await;

    let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
    let waker = wakes.clone().into();
    let mut waiting = Box::pin(ask(&service, post()));
    let mut poll = || waiting.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(poll().is_pending());
    let id = id_of(&pool, "a");
    vault.record(key(), vec![answered(id, pool.now().as_millis() + 1, 299)]).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(last(&pool, "a").unwrap().0, 299, "it was taken over");
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
    release.notify_one();
    first.await.unwrap();
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    assert!(matches!(poll(), Poll::Ready((200, _))));
}

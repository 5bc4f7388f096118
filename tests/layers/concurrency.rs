//! Many requests at once over an account that becomes limited, and requests that are dropped.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tower_credentials::vault::VaultExt;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_100_requests_at_once_none_fails_and_the_limited_account_is_moved_once() {
    let upstream = Upstream::new().answers("a", [Canned::limited(3000).together(100)]);
    let (events, vault) = (Journal::new(), keys(["a", "b", "c"]).await);
    let pool = builder(vault.clone()).on_event(events.observer()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let requests: Vec<_> = (0..100).map(|_| tokio::spawn(ask(&service, post()))).collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), (200, "b".into()));
    }
    assert_eq!((upstream.count("a"), upstream.count("b")), (100, 100));
    assert_eq!(order(&pool), ["b", "c", "a"]);
    assert_eq!(status_of(&pool, "a").standing.failures, 1);
    let id = id_of(&pool, "a");
    let stored = vault.load_pool(key()).await.unwrap().standings;
    assert_eq!(learnt(&stored.credentials[&id]), learnt(&status_of(&pool, "a").standing));
    assert_eq!(stored.order.last(), Some(&id));
    assert_eq!(pool.counters().rotations, 100);
}

#[tokio::test]
async fn no_attempt_goes_to_an_account_after_its_429_was_seen() {
    // One request meets the limit while 30 others are already with the upstream; all that
    // begin later use the next account at once.
    let gate = Arc::new(Semaphore::new(0));
    let slow = Canned::limited(3000).gated(&gate);
    let script = (0..30).map(|_| slow.clone()).chain([Canned::limited(3000)]);
    let upstream = Upstream::new().answers("a", script);
    let pool = builder(keys(["a", "b"]).await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let early: Vec<_> = (0..30).map(|_| tokio::spawn(ask(&service, post()))).collect();
    upstream.seen.reaches(30).await;
    assert_eq!(ask(&service, post()).await.0, 200);
    let late: Vec<_> = (0..69).map(|_| tokio::spawn(ask(&service, post()))).collect();
    for request in late {
        assert_eq!(request.await.unwrap().0, 200);
    }
    gate.add_permits(30);
    for request in early {
        assert_eq!(request.await.unwrap().0, 200);
    }
    let tokens = upstream.tokens();
    assert!(tokens[..31].iter().all(|token| token == "a"));
    assert!(tokens[31..].iter().all(|token| token == "b"));
    assert_eq!(tokens.len(), 131);
    assert_eq!(status_of(&pool, "a").standing.failures, 1);
}

#[tokio::test]
async fn a_dropped_request_loses_nothing_that_was_recorded() {
    let gate = Arc::new(Semaphore::new(0));
    for outside in [false, true] {
        let upstream = Upstream::new()
            .answers("a", [Canned::limited(3000)])
            .answers("b", [Canned::ok().gated(&gate)]);
        let (vault, events) = (keys(["a", "b"]).await, Journal::new());
        let pool = builder(vault.clone()).on_event(events.observer()).open().await.unwrap();
        let (rotate, refresh, auth, persist) = four(&pool, &no_refresh());
        let service = if outside {
            stack((persist, rotate, refresh, auth), upstream.clone())
        } else {
            stack((rotate, refresh, auth, persist), upstream.clone())
        };
        let request = tokio::spawn(ask(&service, post()));
        upstream.seen.reaches(2).await;
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        events.has("Saved").await;
        let stored = vault.load_pool(key()).await.unwrap().standings;
        let id = id_of(&pool, "a");
        assert_eq!(stored.credentials[&id].failures, 1);
        assert_eq!(stored.order.last(), Some(&id));
    }
}

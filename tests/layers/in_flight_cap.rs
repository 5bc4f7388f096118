//! The cap on the requests that one account serves at once.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_credentials::*;

use crate::support::*;

async fn capped<const N: usize>(labels: [&str; N], cap: u32) -> (Pool, Stack, Upstream, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = labels
        .iter()
        .fold(Upstream::new(), |upstream, label| upstream.answers(label, [Canned::ok().gated(&gate)]));
    let cap = NonZeroU32::new(cap).unwrap();
    let pool = builder(keys(labels).await).max_in_flight(cap).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    (pool, service, upstream, gate)
}

#[tokio::test]
async fn no_account_serves_more_requests_at_once_than_its_cap_and_the_others_wait() {
    let (_pool, service, upstream, gate) = capped(["a", "b"], 3).await;
    let requests: Vec<_> = (0..20).map(|_| tokio::spawn(ask(&service, post()))).collect();
    settle().await;
    assert_eq!((upstream.count("a"), upstream.count("b")), (3, 3));
    gate.add_permits(1);
    settle().await;
    assert_eq!(upstream.tokens().len(), 7, "one has come free");
    gate.add_permits(20);
    for request in requests {
        assert_eq!(request.await.unwrap().0, 200);
    }
    assert_eq!(upstream.tokens().len(), 20);
}

#[tokio::test]
async fn a_dropped_request_frees_its_place_whether_it_was_sent_or_waited() {
    let (_pool, service, upstream, gate) = capped(["a"], 1).await;
    let sent = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(1).await;
    let waiting = tokio::spawn(ask(&service, post()));
    let last = tokio::spawn(ask(&service, post()));
    settle().await;
    waiting.abort();
    sent.abort();
    upstream.seen.reaches(2).await;
    gate.add_permits(1);
    assert_eq!(last.await.unwrap().0, 200);
}

#[tokio::test]
async fn a_request_that_fails_frees_its_place() {
    let (_pool, service, upstream, gate) = capped(["a"], 1).await;
    upstream.set("a", [Canned::fails(std::io::ErrorKind::BrokenPipe)]);
    for _ in 0..3 {
        service.clone().oneshot(post()).await.unwrap_err();
    }
    upstream.set("a", [Canned::ok()]);
    assert_eq!(ask(&service, post()).await.0, 200);
    drop(gate);
}

#[tokio::test]
async fn what_is_sent_again_after_a_refresh_counts_against_the_cap() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = Upstream::new()
        .answers("a-1", [Canned::status(401)])
        .answers("a-2", [Canned::ok().gated(&gate)]);
    let pool = builder(accounts(["a"]).await).max_in_flight(NonZeroU32::MIN).open().await.unwrap();
    let service = stack(four(&pool, &renewing(&Journal::new())), upstream.clone());
    let first = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(2).await;
    let second = tokio::spawn(ask(&service, post()));
    settle().await;
    assert_eq!(upstream.tokens(), ["a-1", "a-2"], "the second one waits");
    gate.add_permits(2);
    assert_eq!((first.await.unwrap().0, second.await.unwrap().0), (200, 200));
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_again_after_a_short_limit_counts_against_the_cap() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = Upstream::new().answers("a", [Canned::limited(1), Canned::ok().gated(&gate)]);
    let pool = builder(keys(["a"]).await)
        .clock(tokio_clock())
        .max_in_flight(NonZeroU32::MIN)
        .open()
        .await
        .unwrap();
    let (rotate, refresh, auth, persist) = four(&pool, &no_refresh());
    let service = stack((rotate.wait_up_to(seconds(5)), refresh, auth, persist), upstream.clone());
    let first = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(2).await;
    let second = tokio::spawn(ask(&service, post()));
    settle().await;
    assert_eq!(upstream.tokens(), ["a", "a"], "the second one waits");
    gate.add_permits(2);
    assert_eq!((first.await.unwrap().0, second.await.unwrap().0), (200, 200));
}

#[tokio::test]
async fn two_requests_that_change_accounts_under_a_cap_do_not_wait_for_each_other() {
    // Each request's account is limited, and the other's is the next one.
    let limited = Canned::limited(0).together(2);
    let upstream = Upstream::new()
        .answers("a", [limited.clone(), Canned::ok()])
        .answers("b", [limited, Canned::ok()]);
    let pool = builder(keys(["a", "b"]).await).max_in_flight(NonZeroU32::MIN).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let requests = [(); 2].map(|()| tokio::spawn(ask(&service, post())));
    settle().await;
    for request in requests {
        assert!(request.is_finished(), "it hangs: {:?}", upstream.tokens());
        assert_eq!(request.await.unwrap().0, 200);
    }
}

#[tokio::test]
async fn if_cooling_down_is_an_error_nobody_waits_for_a_busy_account() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = Upstream::new().answers("a", [Canned::ok().gated(&gate)]);
    let vault = keys(["a"]).await;
    let pool = builder(vault.clone())
        .max_in_flight(NonZeroU32::MIN)
        .when_all_cooling_down(WhenAllCoolingDown::Fail)
        .open()
        .await
        .unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let busy = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(1).await;
    // Another process finds it limited.
    let other = builder(vault).open().await.unwrap();
    let limited = Upstream::new().answers("a", [Canned::limited(3000)]);
    ask(&stack(four(&other, &no_refresh()), limited), post()).await;
    pool.sync().await.unwrap();
    let asked = tokio::spawn(service.clone().oneshot(post()));
    settle().await;
    assert!(asked.is_finished(), "it hangs");
    let error = asked.await.unwrap().unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::AllCoolingDown { .. })), "{error:?}");
    gate.add_permits(1);
    busy.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_from_many_threads_keep_to_the_cap_and_all_succeed() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counter, maximum) = (now.clone(), most.clone());
    let counted = Canned::ok().after(move || {
        let (counter, maximum) = (counter.clone(), maximum.clone());
        async move {
            maximum.fetch_max(counter.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            counter.fetch_sub(1, Ordering::SeqCst);
        }
    });
    let upstream = Upstream::new().answers("a", [counted]);
    let pool =
        builder(keys(["a"]).await).max_in_flight(NonZeroU32::new(4).unwrap()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let requests: Vec<_> = (0..300).map(|_| tokio::spawn(ask(&service, post()))).collect();
    for request in requests {
        assert_eq!(request.await.unwrap().0, 200);
    }
    assert!(most.load(Ordering::SeqCst) <= 4, "{most:?}");
}

//! Waiting instead of rotating, and what happens when all accounts cool down.

use std::time::Duration;

use tokio::time::Instant;
use tower::ServiceExt;
use tower_credentials::*;

use super::Rig;
use crate::support::*;

async fn patient(upstream: Upstream, bound: Duration) -> (Pool, Stack) {
    let pool = builder(keys(["a", "b"]).await).clock(tokio_clock()).open().await.unwrap();
    let (rotate, refresh, auth, persist) = four(&pool, &no_refresh());
    let service = stack((rotate.wait_up_to(bound), refresh, auth, persist), upstream);
    (pool, service)
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_short_limit_and_rotates_away_from_a_long_one() {
    let upstream = Upstream::new().answers("a", [Canned::limited(2), Canned::ok(), Canned::limited(6)]);
    let (_pool, service) = patient(upstream.clone(), seconds(5)).await;
    let start = Instant::now();
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!((upstream.tokens(), start.elapsed()), (vec!["a".into(), "a".into()], seconds(2)));
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
    assert_eq!(start.elapsed(), seconds(2), "a longer one is not waited for");
}

#[tokio::test(start_paused = true)]
async fn each_limit_is_waited_for_once_and_all_waits_together_keep_to_the_bound() {
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(2)])
        .answers("b", [Canned::limited(4), Canned::ok()]);
    let (_pool, service) = patient(upstream.clone(), seconds(5)).await;
    let start = Instant::now();
    assert_eq!(ask(&service, post()).await.0, 429);
    assert_eq!(upstream.tokens(), ["a", "a", "b"], "with 2 of 5 seconds gone, 4 are too many");
    assert_eq!(start.elapsed(), seconds(2));
}

// All cooling down

async fn all_cooling(then: WhenAllCoolingDown, first: [u64; 2]) -> Rig {
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(first[0]), Canned::ok()])
        .answers("b", [Canned::limited(first[1]), Canned::ok()]);
    let rig = Rig::new(builder(keys(["a", "b"]).await).when_all_cooling_down(then), upstream).await;
    assert_eq!(rig.ask().await, 429);
    rig
}

#[tokio::test(start_paused = true)]
async fn when_all_cool_down_the_soonest_is_tried() {
    let rig = all_cooling(WhenAllCoolingDown::TrySoonest, [3000, 60]).await;
    assert_eq!(rig.tokens(1).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn when_all_cool_down_it_can_be_an_error_that_says_how_long() {
    let rig = all_cooling(WhenAllCoolingDown::Fail, [3000, 60]).await;
    tokio::time::advance(seconds(10)).await;
    let error = rig.service.clone().oneshot(post()).await.unwrap_err();
    let Some(Error::AllCoolingDown { retry_after, .. }) = error.downcast_ref() else {
        panic!("{error:?}")
    };
    assert_eq!(*retry_after, seconds(50));
    assert_eq!(rig.upstream.tokens().len(), 2, "nothing was sent");
    tokio::time::advance(seconds(50)).await;
    assert_eq!(rig.ask().await, 200);
}

#[tokio::test(start_paused = true)]
async fn error_response_layer_makes_it_a_429_with_retry_after() {
    let rig = all_cooling(WhenAllCoolingDown::Fail, [3000, 60]).await;
    tokio::time::advance(Duration::from_millis(500)).await;
    let layered = tower::Layer::layer(&ErrorResponseLayer::new(), rig.service.clone());
    let response = layered.clone().oneshot(post()).await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "60", "whole seconds, never too few");
    assert_eq!(response.headers()["retry-after-ms"], "59500");
    let pinned = pinned("nobody");
    let error = layered.oneshot(pinned).await.unwrap_err();
    assert!(error.is::<Error>(), "other errors pass");
}

#[tokio::test(start_paused = true)]
async fn when_all_cool_down_a_request_can_wait_for_the_first_up_to_a_bound() {
    let rig = all_cooling(WhenAllCoolingDown::WaitUpTo(seconds(90)), [3000, 60]).await;
    let start = Instant::now();
    assert_eq!(rig.tokens(1).await, ["b"]);
    assert_eq!(start.elapsed(), seconds(60));

    let rig = all_cooling(WhenAllCoolingDown::WaitUpTo(seconds(30)), [3000, 60]).await;
    let start = Instant::now();
    let error = rig.service.clone().oneshot(post()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::AllCoolingDown { .. })), "{error:?}");
    assert_eq!(start.elapsed(), Duration::ZERO, "a wait that would not do is not begun");
}

//! A user's own layers above, below and between ours: timeouts, traces, permits and buffers.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode, header};
use http_body_util::Full;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower::buffer::BufferLayer;
use tower::limit::ConcurrencyLimitLayer;
use tower::timeout::TimeoutLayer;
use tower::timeout::error::Elapsed;
use tower::{Layer, Service, ServiceExt};
use tower_credentials::standing::Standing;
use tower_credentials::*;
use tower_http::sensitive_headers::SetSensitiveHeadersLayer;
use tower_http::trace::{ResponseBody, TraceLayer};

use crate::support::*;

/// A pool of three accounts, and an upstream that limits the first.
pub(super) async fn ours() -> (Pool, Upstream) {
    let pool = builder(keys(["a", "b", "c"]).await).clock(tokio_clock()).open().await.unwrap();
    (pool, Upstream::new().answers("a", [Canned::limited(3000)]))
}

// Timeouts

#[tokio::test(start_paused = true)]
async fn a_timeout_under_rotate_bounds_an_attempt() {
    let (pool, _) = ours().await;
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(3000).after_time(Duration::from_millis(800))])
        .answers("b", [Canned::ok().after_time(Duration::from_millis(800))]);
    let service =
        between(1, four(&pool, &no_refresh()), TimeoutLayer::new(seconds(1)), boxed(&upstream));
    let start = Instant::now();
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(start.elapsed(), Duration::from_millis(1600), "together they took longer than one may");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_over_rotate_bounds_the_whole_and_loses_no_outcome() {
    let (pool, _) = ours().await;
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(3000).after_time(Duration::from_millis(800))])
        .answers("b", [Canned::ok().after_time(Duration::from_millis(800))]);
    let service =
        between(0, four(&pool, &no_refresh()), TimeoutLayer::new(seconds(1)), boxed(&upstream));
    let start = Instant::now();
    let error = service.clone().oneshot(post()).await.unwrap_err();
    assert!(error.is::<Elapsed>(), "{error:?}");
    assert_eq!(start.elapsed(), seconds(1));
    assert_eq!(upstream.tokens(), ["a", "b"]);
    assert_ne!(cools(&pool, "a"), Duration::ZERO);
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens()[2], "b");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_timed_out_is_sent_again_only_if_the_user_says_so() {
    let (pool, _) = ours().await;
    let slow = Canned::ok().after_time(seconds(10));
    let upstream = Upstream::new().answers("a", [slow, Canned::ok()]);
    let (rotate, _, auth, _) = four(&pool, &no_refresh());
    let timeout = TimeoutLayer::new(seconds(1));
    let service = stack((rotate.clone(), timeout.clone(), auth.clone()), upstream.clone());
    let error = service.oneshot(post()).await.unwrap_err();
    assert!(error.is::<Elapsed>(), "{error:?}");
    assert_eq!(upstream.tokens(), ["a"]);
    assert_eq!(learnt(&status_of(&pool, "a").standing), Standing::default());

    upstream.set("a", [Canned::ok().after_time(seconds(10)), Canned::ok()]);
    let rotate = rotate.network(NetworkRetry::default().when(|error| error.is::<Elapsed>()));
    let service = stack((rotate, timeout, auth), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens(), ["a", "a", "a"]);
}

// tower-http

#[tokio::test]
async fn trace_and_sensitive_headers_layers_in_between_change_nothing() {
    for place in 0..5 {
        let (pool, upstream) = ours().await;
        let sensitive = SetSensitiveHeadersLayer::new([header::COOKIE]);
        // The helper knows one type of body, so the trace's is turned back into it.
        let plain = tower::util::AndThenLayer::new(|response: Response<ResponseBody<_, _>>| async {
            let (parts, body) = response.into_parts();
            let body = http_body_util::BodyExt::collect(body).await;
            Ok::<_, BoxError>(Response::from_parts(parts, Full::new(body?.to_bytes())))
        });
        let users = (plain, TraceLayer::new_for_http(), sensitive);
        let service = between(place, four(&pool, &no_refresh()), users, boxed(&upstream));
        assert_eq!(ask(&service, post()).await, (200, "b".into()), "at place {place}");
        assert_eq!(upstream.tokens(), ["a", "b"]);
        assert_eq!(order(&pool), ["b", "c", "a"]);
        assert_eq!(status_of(&pool, "a").standing.failures, 1, "recorded once");
    }
}

#[tokio::test]
async fn the_body_of_a_trace_layer_passes_through_ours() {
    let (pool, upstream) = ours().await;
    let (rotate, refresh, auth, persist) = four(&pool, &no_refresh());
    let layers = (rotate, refresh, auth, persist, TraceLayer::new_for_http());
    let response = layers.layer(upstream.clone()).oneshot(post()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(upstream.tokens(), ["a", "b"]);
}

// Permits that run out

#[tokio::test]
async fn a_concurrency_limit_of_one_between_any_two_layers_never_deadlocks() {
    let upstream = Upstream::new()
        .answers("a-1", [Canned::limited(3000)])
        .answers("b-1", [Canned::status(401)])
        .answers("b-2", [Canned::ok()]);
    for place in 0..5 {
        let pool = builder(accounts(["a", "b"]).await).open().await.unwrap();
        let layers = four(&pool, &renewing(&Journal::new()));
        let service = between(place, layers, ConcurrencyLimitLayer::new(1), boxed(&upstream));
        let requests: Vec<_> = (0..10).map(|_| tokio::spawn(ask(&service, post()))).collect();
        for request in requests {
            assert_eq!(request.await.unwrap().0, 200, "at place {place}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_keeps_the_service_while_a_request_waits_blocks_nobody() {
    let pool = builder(keys(["a"]).await)
        .clock(tokio_clock())
        .when_all_cooling_down(WhenAllCoolingDown::WaitUpTo(seconds(60)))
        .open()
        .await
        .unwrap();
    let upstream = Upstream::new().answers("a", [Canned::limited(30), Canned::ok()]);
    let limit = ConcurrencyLimitLayer::new(1);
    let mut service = between(4, four(&pool, &no_refresh()), limit, boxed(&upstream));
    let first = service.ready().await.unwrap().call(post()).await.unwrap();
    assert_eq!(first.status(), StatusCode::TOO_MANY_REQUESTS);
    // The caller's service is ready, so it holds the only permit.
    let second = service.ready().await.unwrap().call(post());
    let second = tokio::time::timeout(seconds(3600), second).await.expect("it must not wait forever");
    assert_eq!(second.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_concurrency_limit_and_a_cap_per_account_do_not_block_each_other() {
    // One request changes from a to b while another, which has waited for the only permit, can use nothing
    // but b: it must not keep the permit that the first one needs.
    for place in 0..5 {
        let release = Arc::new(Notify::new());
        let limited = Canned::limited(3000).after_notify(&release);
        let upstream = Upstream::new().answers("a", [limited]);
        let pool = builder(keys(["a", "b"]).await).max_in_flight(NonZeroU32::MIN).open().await.unwrap();
        let limit = ConcurrencyLimitLayer::new(1);
        let service = between(place, four(&pool, &no_refresh()), limit, boxed(&upstream));
        let requests: Vec<_> = (0..10).map(|_| tokio::spawn(ask(&service, post()))).collect();
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        release.notify_one();
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        for request in requests {
            assert!(request.is_finished(), "it hangs at place {place}: {:?}", upstream.tokens());
            assert_eq!(request.await.unwrap().0, 200);
        }
    }
}

// Buffers

#[tokio::test]
async fn a_buffer_between_any_two_layers_changes_nothing() {
    for place in 0..5 {
        let upstream = Upstream::new()
            .answers("a-1", [Canned::limited(3000)])
            .answers("b-1", [Canned::status(401)]);
        let vault = accounts(["a", "b"]).await;
        let pool = builder(vault.clone()).open().await.unwrap();
        let refreshes = Journal::new();
        let layers = four(&pool, &renewing(&refreshes));
        let service = between(place, layers, BufferLayer::new(1), boxed(&upstream));
        assert_eq!(ask(&service, post()).await, (200, "b-2".into()), "at place {place}");
        assert_eq!(upstream.tokens(), ["a-1", "b-1", "b-2"]);
        assert_eq!(refreshes.all(), ["b"]);
        assert_eq!(status_of(&pool, "a").standing.failures, 1);
        assert_eq!(order(&pool), ["b", "a"]);
        let stored = vault::VaultExt::load_pool(&vault, key()).await.unwrap().standings;
        let id = id_of(&pool, "a");
        assert_eq!(stored.credentials[&id], status_of(&pool, "a").standing);
    }
}

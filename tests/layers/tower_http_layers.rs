//! Layers of tower-http and tower above, below and between ours. `user_layers.rs`, `layers_that_resend.rs` and
//! `redirects.rs` have others.

use std::time::Duration;

use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tokio::sync::watch;
use tokio::time::Instant;
use tower::buffer::BufferLayer;
use tower::hedge::{Hedge, Policy};
use tower::limit::ConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::load_shed::error::Overloaded;
use tower::util::{AndThenLayer, BoxCloneSyncService, MapRequestLayer};
use tower::{Layer, ServiceExt};
use tower_credentials::provider::{
    Assessment, GenericProvider, Provider, ResponseView as Read, Verdict,
};
use tower_credentials::standing::{Health, Standing};
use tower_credentials::*;
use tower_http::compression::CompressionLayer;
use tower_http::decompression::DecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::timeout::TimeoutLayer;

use crate::support::*;

async fn ours() -> (Pool, Upstream) {
    let pool = builder(keys(["a", "b"]).await).clock(tokio_clock()).open().await.unwrap();
    (pool, Upstream::new().answers("a", [Canned::limited(3000)]))
}

/// Turns a layer's body into the one of the tests' stacks.
macro_rules! collected {
    () => {
        AndThenLayer::new(|response: Response<_>| async {
            let (head, body) = response.into_parts();
            let body = BodyExt::collect(body).await.map_err(BoxError::from)?;
            Ok::<_, BoxError>(Response::from_parts(head, Full::new(body.to_bytes())))
        })
    };
}

// tower-http's timeout, which is a response

#[tokio::test(start_paused = true)]
async fn a_timeouts_own_response_is_returned_and_blames_no_account() {
    for place in 0..5 {
        let (pool, _) = ours().await;
        let upstream = Upstream::new().answers("a", [Canned::ok().after_time(seconds(10))]);
        let timeout = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, seconds(1));
        let service = between(place, four(&pool, &no_refresh()), timeout, boxed(&upstream));
        let start = Instant::now();
        assert_eq!(ask(&service, post()).await.0, 504, "at place {place}");
        assert_eq!(start.elapsed(), seconds(1));
        assert_eq!(upstream.tokens(), ["a"], "it is not sent again");
        assert_eq!(learnt(&status_of(&pool, "a").standing), Standing::default());
    }
}

// Compression

/// An upstream that compresses its responses on request.
fn compressing(upstream: &Upstream) -> Stack {
    stack((collected!(), CompressionLayer::new().compress_when(true_always)), upstream.clone())
}

fn true_always(_: StatusCode, _: http::Version, _: &http::HeaderMap, _: &http::Extensions) -> bool {
    true
}

#[tokio::test]
async fn decompression_works_anywhere_in_the_stack_even_after_a_rotation() {
    for place in 0..5 {
        let (pool, upstream) = ours().await;
        let users = (collected!(), DecompressionLayer::new());
        let service = between(place, four(&pool, &no_refresh()), users, compressing(&upstream));
        assert_eq!(ask(&service, post()).await, (200, "b".into()), "at place {place}");
        assert_eq!(upstream.tokens(), ["a", "b"]);
        let asked = &upstream.seen.all()[1].headers;
        assert!(asked["accept-encoding"].to_str().unwrap().contains("gzip"), "it has been asked for");
        assert_eq!(status_of(&pool, "a").standing.failures, 1, "recorded once");
    }
}

/// A provider that stops an account after a 403 whose body says so.
struct ReadsBodies(GenericProvider);

impl Provider for ReadsBodies {
    as_the_generic_one!();

    fn body_prefix(&self, status: StatusCode) -> usize {
        if status == StatusCode::FORBIDDEN { 1024 } else { 0 }
    }

    fn read(&self, response: &Read<'_>) -> Assessment {
        match response.body {
            b"suspended" => {
                Assessment::default().verdict(Verdict::Stopped { reason: "suspended".into() })
            }
            _ => Assessment::default(),
        }
    }
}

#[tokio::test]
async fn a_compressed_error_is_read_above_and_below_decompression() {
    for over in [true, false] {
        let provider = ReadsBodies(GenericProvider::bearer("x").origin(ORIGIN).unwrap());
        let pool = Pool::builder(provider, keys(["a"]).await).open().await.unwrap();
        let upstream = Upstream::new().answers("a", [Canned::status(403).body("suspended")]);
        let (read, plain) = (ErrorBodyLayer::new(pool.clone()), DecompressionLayer::new());
        let inner = if over {
            stack((collected!(), read, plain), compressing(&upstream))
        } else {
            stack((collected!(), plain, read), compressing(&upstream))
        };
        let service = stack(CredentialsLayer::new(pool.clone()), inner);
        assert_eq!(ask(&service, post()).await, (403, "suspended".into()));
        let health = status_of(&pool, "a").standing.health;
        assert!(matches!(health, Health::NeedsSignIn { .. }), "over: {over}");
    }
}

// Limits of bodies

#[tokio::test]
async fn a_body_over_the_limit_is_413_anywhere_in_the_stack_and_blames_no_account() {
    for place in 0..5 {
        for (limit, status) in [(10, 200), (9, 413)] {
            let (pool, upstream) = ours().await;
            // The layers below need the body's original type.
            let back = MapRequestLayer::new(
                |request: Request<tower_http::body::Limited<Full<bytes::Bytes>>>| {
                    request.map(|_| Full::from("a question"))
                },
            );
            let users = (collected!(), RequestBodyLimitLayer::new(limit), back);
            let service = between(place, four(&pool, &no_refresh()), users, boxed(&upstream));
            let mut request = post();
            request.headers_mut().insert(header::CONTENT_LENGTH, 10.into());
            assert_eq!(ask(&service, request).await.0, status, "at place {place}");
            let expected: &[&str] = if status == 200 { &["a", "b"] } else { &[] };
            assert_eq!(upstream.tokens(), expected);
            if status == 413 {
                assert_eq!(learnt(&status_of(&pool, "a").standing), Standing::default());
            }
        }
    }
}

#[tokio::test]
async fn a_length_limited_body_is_sent_again_with_a_replay_layer_in_between() {
    let (pool, upstream) = ours().await;
    let layers = (RequestBodyLimitLayer::new(10), ReplayLayer::new(), CredentialsLayer::new(pool));
    let response = layers.layer(upstream.clone()).oneshot(post()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(upstream.tokens(), ["a", "b"]);
    assert!(upstream.seen.all().iter().all(|seen| seen.body == "a question"));
}

// Sensitive headers

#[tokio::test]
async fn the_callers_sensitive_headers_stay_sensitive_on_each_attempt() {
    for place in 0..5 {
        let (pool, upstream) = ours().await;
        let users = SetSensitiveRequestHeadersLayer::new([header::COOKIE, header::AUTHORIZATION]);
        let service = between(place, four(&pool, &no_refresh()), users, boxed(&upstream));
        let mut request = post();
        request.headers_mut().insert(header::COOKIE, "a=b".parse().unwrap());
        assert_eq!(ask(&service, request).await.0, 200);
        let seen = upstream.seen.all();
        assert_eq!(seen.len(), 2);
        for seen in seen {
            assert!(seen.headers["cookie"].is_sensitive(), "at place {place}");
            assert!(seen.headers["authorization"].is_sensitive(), "at place {place}");
        }
    }
}

// Load shedding

#[tokio::test]
async fn a_shed_request_is_an_error_for_its_caller_only() {
    for place in 0..5 {
        let (pool, _) = ours().await;
        let (open, gate) = watch::channel(false);
        let waits = move || {
            let mut gate = gate.clone();
            async move {
                gate.wait_for(|is_open| *is_open).await.unwrap();
            }
        };
        let upstream = Upstream::new()
            .answers("a", [Canned::limited(3000)])
            .answers("b", [Canned::ok().body("b").after(waits)]);
        let users = (LoadShedLayer::new(), ConcurrencyLimitLayer::new(1));
        let service = between(place, four(&pool, &no_refresh()), users, boxed(&upstream));
        let first = tokio::spawn(ask(&service, post()));
        upstream.seen.reaches(2).await;
        let error = service.clone().oneshot(post()).await.unwrap_err();
        assert!(error.is::<Overloaded>(), "at place {place}: {error:?}");
        open.send(true).unwrap();
        assert_eq!(first.await.unwrap(), (200, "b".into()));
        assert_eq!(upstream.tokens(), ["a", "b"], "at place {place}");
        assert_eq!(learnt(&status_of(&pool, "b").standing), Standing::default());
        assert_eq!(ask(&service, post()).await, (200, "b".into()));
    }
}

// Hedging

#[derive(Clone)]
struct Always;

impl Policy<Asked> for Always {
    fn clone_request(&self, request: &Asked) -> Option<Asked> {
        Some(request.clone())
    }

    fn can_retry(&self, _: &Asked) -> bool {
        true
    }
}

/// Sends a request once more if it takes longer than a second.
fn hedged(to: Stack) -> Stack {
    let latencies = [1000; 20];
    let hedge = Hedge::new_with_mock_latencies(to, Always, 10, 0.9, seconds(60), &latencies);
    BoxCloneSyncService::new(BufferLayer::new(8).layer(hedge))
}

#[tokio::test(start_paused = true)]
async fn a_hedge_anywhere_gets_the_faster_response_from_the_same_account() {
    for over in [true, false] {
        let (pool, _) = ours().await;
        let upstream = Upstream::new().answers(
            "a",
            [Canned::ok().body("slow").after_time(seconds(100)), Canned::ok().body("fast")],
        );
        let layer = CredentialsLayer::new(pool.clone());
        let service = match over {
            true => hedged(stack(layer, boxed(&upstream))),
            false => stack(layer, hedged(boxed(&upstream))),
        };
        let start = Instant::now();
        assert_eq!(ask(&service, post()).await, (200, "fast".into()));
        assert!(start.elapsed() < seconds(10), "it has waited for the slow one");
        assert_eq!(upstream.tokens(), ["a", "a"]);
        // Above the layers there are two requests; below them the layers see one.
        assert_eq!(pool.counters().requests, if over { 2 } else { 1 });
        assert_eq!(learnt(&status_of(&pool, "a").standing), Standing::default());
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_both_requests_of_a_hedge_meet_counts_once() {
    let (pool, _) = ours().await;
    let limited = || Canned::limited(3000).after_time(Duration::from_millis(1500));
    let upstream = Upstream::new().answers("a", [limited(), limited()]);
    let service = hedged(stack(CredentialsLayer::new(pool.clone()), boxed(&upstream)));
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
    assert_eq!(status_of(&pool, "a").standing.failures, 1);
    assert_eq!(order(&pool), ["b", "a"]);
}

//! A limited account cools down, and the next one answers the same request.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_credentials::*;

use super::rig::rig;
use crate::support::*;

#[tokio::test]
async fn a_429_with_retry_after_cools_the_credential_and_the_next_answers_the_same_request() {
    let rig = rig(keys(["a", "b"]).await, Upstream::new().answers("a", [Canned::limited(30)])).await;

    assert_eq!(rig.ask().await, (200, "b".into()));

    assert_eq!(rig.upstream.tokens(), ["a", "b"]);
    let seen = rig.upstream.seen.all();
    assert_eq!((&seen[0].method, &seen[0].uri), (&seen[1].method, &seen[1].uri));
    assert_eq!(seen[1].body, "a question");
    assert_eq!(cools(&rig.pool, "a"), seconds(30));
    assert_eq!(order(&rig.pool), ["b", "a"], "it went to the back");
    let connections = rig.server.connections.load(Ordering::SeqCst);
    assert_eq!(connections, 1, "the refused response's connection was used again");
}

#[tokio::test]
async fn a_credential_answers_again_when_its_retry_after_is_over() {
    let upstream = Upstream::new().answers("a", [Canned::limited(30), Canned::ok().body("a")]);
    let rig = rig(keys(["a"]).await, upstream).await;
    assert_eq!(rig.ask().await.0, 429);
    rig.clock.advance(seconds(30));
    assert_eq!(rig.ask().await, (200, "a".into()));
    assert_eq!(cools(&rig.pool, "a"), Duration::ZERO);
    assert_eq!(status_of(&rig.pool, "a").standing.failures, 0, "a success forgives");
}

#[tokio::test]
async fn a_402_rotates() {
    let rig = rig(keys(["a", "b"]).await, Upstream::new().answers("a", [Canned::status(402)])).await;
    assert_eq!(rig.ask().await, (200, "b".into()));
    assert!(cools(&rig.pool, "a") >= seconds(30));
}

#[tokio::test]
async fn a_402_does_not_rotate_if_the_cooldowns_say_so() {
    let upstream = Upstream::new().answers("a", [Canned::status(402)]);
    let server = Server::start(&upstream).await;
    let only_429 = exact().limited_statuses(|status| status == 429);
    let pool = server.builder(keys(["a", "b"]).await).cooldowns(only_429).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), client());
    assert_eq!(ask(&service, server.post()).await.0, 402);
    assert_eq!(upstream.tokens(), ["a"]);
    assert_eq!(cools(&pool, "a"), Duration::ZERO);
}

#[tokio::test]
async fn the_active_credential_is_kept_until_it_is_limited() {
    let ok = Canned::ok;
    let upstream = Upstream::new().answers("a", [ok(), ok(), ok(), Canned::limited(30), ok()]);
    let rig = rig(keys(["a", "b", "c"]).await, upstream).await;
    for _ in 0..5 {
        assert_eq!(rig.ask().await.0, 200);
    }
    assert_eq!(rig.upstream.tokens(), ["a", "a", "a", "a", "b", "b"]);
    rig.clock.advance(seconds(31));
    rig.ask().await;
    assert_eq!(rig.upstream.tokens()[6], "b", "one that is ready again waits for its turn");
}

#[tokio::test]
async fn a_body_that_cannot_be_sent_again_is_sent_once_and_the_next_request_takes_the_next() {
    let upstream = Upstream::new().answers("a", [Canned::limited(30).body("too much")]);
    let server = Server::start(&upstream).await;
    let pool = server.builder(keys(["a", "b"]).await).open().await.unwrap();
    let client: hyper_util::client::legacy::Client<_, SendOnce<Full<Bytes>>> =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let service = four(&pool, &no_refresh()).layer(client);
    let request = || server.post().map(SendOnce::new);
    let response = service.clone().oneshot(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert_eq!(body, "too much");
    assert_eq!(upstream.tokens(), ["a"]);
    assert_eq!(service.oneshot(request()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(upstream.tokens(), ["a", "b"]);
}

#[tokio::test]
async fn if_every_credential_is_limited_the_last_response_is_returned_whole() {
    let long = "the last word ".repeat(100_000);
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(30).body("first")])
        .answers("b", [Canned::status(402).body("second")])
        .answers("c", [Canned::limited(20).header("x-request-id", "7").body(long.clone())]);
    let rig = rig(keys(["a", "b", "c"]).await, upstream).await;
    let response = rig.service.clone().oneshot(rig.server.post()).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["x-request-id"], "7");
    let next = response.extensions().get::<NextReady>().expect("it says when to ask again");
    assert_eq!(next.at().since(rig.pool.now()), seconds(20));
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert_eq!(body.len(), long.len());
    assert_eq!(rig.upstream.tokens(), ["a", "b", "c"]);
    for label in ["a", "b", "c"] {
        assert_eq!(status_of(&rig.pool, label).standing.failures, 1, "of {label}");
    }
}

#[tokio::test]
async fn a_retry_after_date_ends_the_cooldown_at_exactly_that_time() {
    let date = httpdate::fmt_http_date(SystemTime::now() + seconds(4000));
    let meant = Timestamp::from(httpdate::parse_http_date(&date).unwrap());
    let upstream = Upstream::new().answers("a", [Canned::status(429).header("retry-after", &date)]);
    let server = Server::start(&upstream).await;
    let pool = server.builder(keys(["a"]).await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), client());
    assert_eq!(ask(&service, server.post()).await.0, 429);
    assert_eq!(pool.status()[0].standing.cooldowns[0].until, meant);
}

#[tokio::test]
async fn two_requests_at_once_that_both_get_a_429_move_the_credential_once() {
    let limited = Canned::limited(30).together(2);
    let rig = rig(keys(["a", "b"]).await, Upstream::new().answers("a", [limited])).await;
    let (one, two) = tokio::join!(rig.ask(), rig.ask());
    assert_eq!((one.0, two.0), (200, 200));
    assert_eq!(rig.upstream.count("a"), 2);
    assert_eq!(status_of(&rig.pool, "a").standing.failures, 1);
    assert_eq!(order(&rig.pool), ["b", "a"]);
    assert_eq!(cools(&rig.pool, "a"), seconds(30));
    assert_eq!(rig.events.count("CooledDown"), 1);
}

#[tokio::test]
async fn retry_after_ms_comes_before_retry_after_with_fractions_clamped_and_never_negative() {
    let cases: [(&[(&'static str, &str)], u64); 8] = [
        (&[("retry-after-ms", "1500"), ("retry-after", "60")], 1_500),
        (&[("retry-after-ms", "1500.2"), ("retry-after", "60")], 1_501),
        (&[("retry-after", "0.25")], 250),
        (&[("retry-after", "-5")], 0),
        (&[("retry-after-ms", "-1")], 0),
        (&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], 0),
        (&[("retry-after", "99999999999")], 8 * 24 * 3600 * 1000),
        (&[("retry-after-ms", "soon"), ("retry-after", "2")], 2_000),
    ];
    for (headers, expected) in cases {
        let response = headers
            .iter()
            .fold(Canned::status(429), |response, (name, value)| response.header(name, value));
        let rig = rig(keys(["a", "b"]).await, Upstream::new().answers("a", [response])).await;
        assert_eq!(rig.ask().await, (200, "b".into()));
        assert_eq!(cools(&rig.pool, "a"), Duration::from_millis(expected), "{headers:?}");
        assert_eq!(order(&rig.pool), ["b", "a"], "{headers:?}");
    }
}

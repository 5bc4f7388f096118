//! The response that callers who know nothing of this crate get if every account is limited.

use std::time::Duration;

use http::HeaderMap;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_credentials::*;

use crate::support::*;

/// A pool whose accounts are limited for this many seconds each, and the response to its first request.
async fn first_response(
    layer: ErrorResponseLayer,
    limits: [Canned; 2],
) -> (impl AsyncFn() -> HeaderMap, (u16, HeaderMap, String)) {
    let [a, b] = limits;
    let upstream = Upstream::new().answers("a", [a]).answers("b", [b]);
    let pool = builder(keys(["a", "b"]).await).clock(tokio_clock());
    let pool = pool.when_all_cooling_down(WhenAllCoolingDown::Fail).open().await.unwrap();
    let service = layer.layer(stack(CredentialsLayer::new(pool), upstream));
    let response = service.clone().oneshot(post()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let again = async move || {
        let response = service.clone().oneshot(post()).await.unwrap();
        assert_eq!(response.status(), 429);
        response.headers().clone()
    };
    (again, (head.status.as_u16(), head.headers, body))
}

fn retry_headers(headers: &HeaderMap) -> [Option<&str>; 3] {
    ["retry-after", "retry-after-ms", "x-should-retry"]
        .map(|name| headers.get(name).map(|value| value.to_str().unwrap()))
}

fn limited(seconds: u64) -> Canned {
    Canned::limited(seconds).header("x-should-retry", "true").body("of the last one")
}

#[tokio::test(start_paused = true)]
async fn by_default_the_last_429_is_returned_unchanged() {
    let (_, (status, headers, _)) =
        first_response(ErrorResponseLayer::new(), [limited(7), limited(3000)]).await;
    assert_eq!(status, 429);
    assert_eq!(retry_headers(&headers), [Some("3000"), None, Some("true")]);
}

#[tokio::test(start_paused = true)]
async fn the_last_429_can_name_the_soonest_account_and_keeps_its_body() {
    let layer = ErrorResponseLayer::new().restate_limits().no_retry_beyond(seconds(60));
    let (again, (status, headers, body)) = first_response(layer, [limited(7), limited(3000)]).await;
    assert_eq!((status, &*body), (429, "of the last one"));
    assert_eq!(retry_headers(&headers), [Some("7"), Some("7000"), None]);
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(retry_headers(&again().await), [Some("7"), Some("6500"), None], "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn callers_are_told_not_to_retry_if_the_soonest_account_is_beyond_the_bound() {
    for (soonest, says) in [(60, None), (61, Some("false"))] {
        let layer = ErrorResponseLayer::new().restate_limits().no_retry_beyond(seconds(60));
        let (again, (_, headers, _)) = first_response(layer, [limited(3000), limited(soonest)]).await;
        assert_eq!(retry_headers(&headers)[2], says);
        assert_eq!(retry_headers(&again().await)[2], says);
    }
}

#[tokio::test(start_paused = true)]
async fn other_responses_are_unchanged() {
    let layer = ErrorResponseLayer::new().restate_limits().no_retry_beyond(seconds(0));
    let refused = || Canned::status(401).header("retry-after", "9");
    let (_, (status, headers, _)) = first_response(layer, [refused(), refused()]).await;
    assert_eq!(status, 401);
    assert_eq!(retry_headers(&headers), [Some("9"), None, None]);
}

#[tokio::test(start_paused = true)]
async fn a_guessed_time_is_not_passed_on_and_a_stated_one_is() {
    let guessed = || Canned::status(429).body("slow down");
    for (limits, says) in [
        // The soonest time is a guess of 30 s, whatever the last response states.
        ([guessed(), limited(3000)], [None; 3]),
        ([limited(3000), guessed()], [None; 3]),
        ([guessed(), guessed()], [None; 3]),
        // The soonest time is stated.
        ([guessed(), limited(25)], [Some("25"), Some("25000"), None]),
        ([limited(25), guessed()], [Some("25"), Some("25000"), None]),
    ] {
        let layer = ErrorResponseLayer::new().restate_limits().no_retry_beyond(seconds(60));
        let (again, (status, headers, _)) = first_response(layer, limits).await;
        assert_eq!((status, retry_headers(&headers)), (429, says));
        assert_eq!(retry_headers(&again().await), says, "nothing was sent");
    }
}

#[tokio::test(start_paused = true)]
async fn callers_are_told_not_to_retry_a_guess_beyond_the_bound_either() {
    let guessed = || Canned::status(429).body("slow down");
    for (bound, says) in [(20, Some("false")), (60, None)] {
        let layer = ErrorResponseLayer::new().restate_limits().no_retry_beyond(seconds(bound));
        let (again, (_, headers, _)) = first_response(layer, [guessed(), guessed()]).await;
        assert_eq!(retry_headers(&headers), [None, None, says]);
        assert_eq!(retry_headers(&again().await), [None, None, says]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stated_time_that_was_wrong_again_and_again_becomes_a_guess() {
    let layer = ErrorResponseLayer::new().restate_limits();
    let upstream = Upstream::new().answers("a", [limited(0)]);
    let pool = builder(keys(["a"]).await).clock(tokio_clock()).open().await.unwrap();
    let service = layer.layer(stack(CredentialsLayer::new(pool), upstream));
    for says in [Some("0"), None, None] {
        let response = service.clone().oneshot(post()).await.unwrap();
        assert_eq!(retry_headers(response.headers())[0], says);
        tokio::time::advance(seconds(40)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_that_was_stated_to_another_process_is_passed_on_too_and_its_guess_is_not() {
    for (limit, says) in [(limited(25), Some("25")), (Canned::status(429).body("slow down"), None)] {
        let (upstream, vault) = (Upstream::new().answers("a", [limit]), keys(["a"]).await);
        let pool = async || {
            let pool = builder(vault.clone()).clock(tokio_clock());
            pool.when_all_cooling_down(WhenAllCoolingDown::Fail).open().await.unwrap()
        };
        let first = pool().await;
        stack(CredentialsLayer::new(first.clone()), upstream.clone()).oneshot(post()).await.unwrap();
        first.save().await.unwrap();

        let layer = ErrorResponseLayer::new().restate_limits();
        let service = layer.layer(stack(CredentialsLayer::new(pool().await), upstream.clone()));
        let response = service.oneshot(post()).await.unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(retry_headers(response.headers())[0], says);
        assert_eq!(upstream.count("a"), 1, "nothing was sent");
    }
}

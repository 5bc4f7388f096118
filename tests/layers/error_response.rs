//! What callers who know nothing of this crate are told when every account is limited.

use std::time::Duration;

use http::HeaderMap;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_credentials::*;

use crate::support::*;

/// A pool whose accounts are limited for so many seconds each, and what a first request is answered.
async fn first_answer(
    layer: ErrorResponseLayer,
    limits: [Answer; 2],
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

fn told(headers: &HeaderMap) -> [Option<&str>; 3] {
    ["retry-after", "retry-after-ms", "x-should-retry"]
        .map(|name| headers.get(name).map(|value| value.to_str().unwrap()))
}

fn limited(seconds: u64) -> Answer {
    Answer::limited(seconds).header("x-should-retry", "true").body("of the last one")
}

#[tokio::test(start_paused = true)]
async fn unless_asked_for_the_last_429_comes_as_it_is() {
    let (_, (status, headers, _)) =
        first_answer(ErrorResponseLayer::new(), [limited(7), limited(3000)]).await;
    assert_eq!(status, 429);
    assert_eq!(told(&headers), [Some("3000"), None, Some("true")]);
}

#[tokio::test(start_paused = true)]
async fn the_last_429_can_name_the_soonest_account_with_its_body_as_it_came() {
    let layer = ErrorResponseLayer::new().restate_limits().no_retry_beyond(seconds(60));
    let (again, (status, headers, body)) = first_answer(layer, [limited(7), limited(3000)]).await;
    assert_eq!((status, &*body), (429, "of the last one"));
    assert_eq!(told(&headers), [Some("7"), Some("7000"), None]);
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(told(&again().await), [Some("7"), Some("6500"), None], "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn callers_are_told_not_to_retry_where_the_soonest_account_is_further_than_the_bound() {
    for (soonest, says) in [(60, None), (61, Some("false"))] {
        let layer = ErrorResponseLayer::new().restate_limits().no_retry_beyond(seconds(60));
        let (again, (_, headers, _)) = first_answer(layer, [limited(3000), limited(soonest)]).await;
        assert_eq!(told(&headers)[2], says);
        assert_eq!(told(&again().await)[2], says);
    }
}

#[tokio::test(start_paused = true)]
async fn other_answers_are_left_alone() {
    let layer = ErrorResponseLayer::new().restate_limits().no_retry_beyond(seconds(0));
    let refused = || Answer::status(401).header("retry-after", "9");
    let (_, (status, headers, _)) = first_answer(layer, [refused(), refused()]).await;
    assert_eq!(status, 401);
    assert_eq!(told(&headers), [Some("9"), None, None]);
}

//! Every response is recorded, by whatever layers it went through.

use std::time::Duration;

use tower::ServiceExt;
use tower_credentials::standing::Standing;

use super::*;
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn every_attempts_status_is_recorded_in_every_order_of_the_layers() {
    for order in ORDERS {
        let upstream = Upstream::new()
            .answers("a", [Canned::limited(10), Canned::ok()])
            .answers("b", [Canned::status(401), Canned::status(503), Canned::status(204)]);
        let pool = builder(keys(["a", "b", "c", "d"]).await).clock(tokio_clock()).open().await.unwrap();
        let service = order(&pool, upstream);
        assert_eq!(["a", "b", "c", "d"].map(|label| last(&pool, label)), [None; 4]);
        assert_eq!(ask(&service, post()).await.1, "c");
        let at_once = |status| Some((status, Duration::ZERO));
        assert_eq!(last(&pool, "a"), at_once(429));
        assert_eq!(last(&pool, "b"), at_once(401));
        assert_eq!(last(&pool, "c"), at_once(200));
        assert_eq!(last(&pool, "d"), None);
        tokio::time::sleep(seconds(7)).await;
        assert_eq!(last(&pool, "a"), Some((429, seconds(7))));
        for expected in [503, 204] {
            let pinned = pinned("b");
            assert_eq!(ask(&service, pinned).await.0, expected);
            assert_eq!(last(&pool, "b"), at_once(expected));
        }
        assert_eq!(last(&pool, "a"), Some((429, seconds(7))));
    }
}

#[tokio::test(start_paused = true)]
async fn the_response_to_a_renewed_token_replaces_the_refusal() {
    let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
    let pool = builder(accounts(["a", "b"]).await).clock(tokio_clock()).open().await.unwrap();
    let service = stack(four(&pool, &renewing(&Journal::new())), upstream.clone());
    assert_eq!(ask(&service, post()).await.1, "a-2");
    assert_eq!(last(&pool, "a"), Some((200, Duration::ZERO)));
    upstream.set("a-2", [Canned::status(418)]);
    ask(&service, post()).await;
    assert_eq!(last(&pool, "a"), Some((418, Duration::ZERO)), "of a later generation, too");
}

#[tokio::test(start_paused = true)]
async fn a_network_error_leaves_the_last_response() {
    for order in ORDERS {
        let refused = || Canned::fails(std::io::ErrorKind::ConnectionRefused);
        let upstream = Upstream::new().answers("a", [Canned::ok(), refused()]);
        let pool = builder(keys(["a"]).await).clock(tokio_clock()).open().await.unwrap();
        let service = order(&pool, upstream);
        ask(&service, post()).await;
        tokio::time::sleep(seconds(5)).await;
        service.clone().oneshot(post()).await.unwrap_err();
        // The second try comes after a pause.
        let (status, ago) = last(&pool, "a").unwrap();
        assert_eq!(status, 200);
        assert!(ago >= seconds(5), "{ago:?}");
    }
}

#[tokio::test]
async fn by_the_systems_clock_its_time_is_about_when_it_came_and_stays() {
    let pool = builder(keys(["a"]).await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), Upstream::new());
    let before = pool.now();
    ask(&service, post()).await;
    let first = status_of(&pool, "a").standing.last_response.unwrap();
    assert!((before..=pool.now()).contains(&first.at), "{first:?}");
    assert_eq!(status_of(&pool, "a").standing.last_response, Some(first), "it does not move");
}

#[tokio::test(start_paused = true)]
async fn a_reset_and_a_success_of_another_account_leave_the_last_response() {
    let vault = keys(["a", "b"]).await;
    let upstream = Upstream::new().answers("a", [Canned::limited(10)]);
    let pool = builder(vault.clone()).clock(tokio_clock()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream);
    ask(&service, post()).await;
    pool.reset(id_of(&pool, "a")).await.unwrap();
    assert_eq!(last(&pool, "a"), Some((429, Duration::ZERO)));
    assert_eq!(saved(&vault, "a").await, Some(429));
    assert_eq!(learnt(&status_of(&pool, "a").standing), Standing::default());
}

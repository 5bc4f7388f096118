//! A token that has expired is renewed before it is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use tower::ServiceExt;
use tower_credentials::vault::MemoryVault;
use tower_credentials::*;

use super::refresh_ahead::{HOUR, Server, put};
use crate::support::*;

/// A request that can be sent only once.
fn once() -> Request<SendOnce<http_body_util::Full<bytes::Bytes>>> {
    post().map(SendOnce::new)
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_renewed_before_the_request_is_sent_in_any_order_of_layers() {
    let clock = tokio_clock();
    for order in 0..4 {
        let vault = MemoryVault::new();
        put(&vault, "a", &clock, HOUR).await;
        tokio::time::advance(2 * HOUR).await;
        let server = Server::new(&clock, HOUR);
        let pool = builder(vault).clock(clock.clone()).open().await.unwrap();
        let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
        let refresher = server.refresher();
        let (rotate, refresh, auth, persist) = four(&pool, &refresher);
        let nothing = tower::util::MapRequestLayer::new(|request: Request<_>| request);
        let inner = upstream.clone();
        let status = match order {
            0 => {
                let layers = (rotate, refresh, auth, persist);
                tower::Layer::layer(&layers, inner).oneshot(once()).await.unwrap().status()
            }
            1 => {
                let layers = (auth, persist, refresh, rotate);
                tower::Layer::layer(&layers, inner).oneshot(once()).await.unwrap().status()
            }
            2 => {
                let layers = (auth, nothing, refresh, rotate);
                tower::Layer::layer(&layers, inner).oneshot(once()).await.unwrap().status()
            }
            _ => {
                let all = CredentialsLayer::new(pool.clone()).refresher(refresher);
                tower::Layer::layer(&all, inner).oneshot(once()).await.unwrap().status()
            }
        };
        assert_eq!(status, 200);
        assert_eq!(upstream.tokens(), ["a-2"], "order {order}");
        assert_eq!(server.asked.all().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn for_200_requests_at_once_an_expired_token_is_renewed_once_and_never_sent() {
    let clock = tokio_clock();
    let vault = MemoryVault::new();
    put(&vault, "a", &clock, HOUR).await;
    tokio::time::advance(HOUR).await;
    let server = Server::new(&clock, HOUR);
    let pool = builder(vault).clock(clock.clone()).open().await.unwrap();
    let upstream = Upstream::new();
    let all = CredentialsLayer::new(pool).refresher(server.refresher());
    let service = stack(all, upstream.clone());
    let requests: Vec<_> = (0..200).map(|_| tokio::spawn(ask(&service, post()))).collect();
    for request in requests {
        assert_eq!(request.await.unwrap().0, 200);
    }
    assert_eq!(server.asked.all().len(), 1);
    assert_eq!(upstream.count("a-2"), 200);
}

#[tokio::test(start_paused = true)]
async fn if_it_cannot_be_renewed_the_old_token_is_tried_since_the_clock_may_be_wrong() {
    let clock = tokio_clock();
    let vault = MemoryVault::new();
    put(&vault, "a", &clock, HOUR).await;
    tokio::time::advance(2 * HOUR).await;
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let refresher = Refresher::new(move |_: Credential| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Err::<Secret, _>(BoxError::from("no network")) }
    });
    let pool = builder(vault).clock(clock.clone()).open().await.unwrap();
    let upstream = Upstream::new();
    let service = stack(CredentialsLayer::new(pool).refresher(refresher), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens(), ["a-1"]);
    // The token endpoint is not asked again for each request either.
    for _ in 0..10 {
        assert_eq!(ask(&service, post()).await.0, 200);
    }
    assert_eq!(tries.load(Ordering::SeqCst), 1);
    tokio::time::advance(seconds(1)).await;
    ask(&service, post()).await;
    assert_eq!(tries.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_token_is_used_for_half_a_minute_whatever_its_expiry() {
    for life in [Duration::ZERO, seconds(1), seconds(29)] {
        let clock = tokio_clock();
        let vault = MemoryVault::new();
        put(&vault, "a", &clock, HOUR).await;
        tokio::time::advance(2 * HOUR).await;
        let server = Server::new(&clock, life);
        // The vault dates its changes by the system's clock.
        let pool = builder(vault).clock(clock.clone()).sync_every(None).open().await.unwrap();
        let upstream = Upstream::new().answers("a-3", [Canned::status(200), Canned::status(401)]);
        let layer = CredentialsLayer::new(pool).refresher(server.refresher());
        let service = stack(layer, upstream.clone());
        for _ in 0..5 {
            assert_eq!(ask(&service, post()).await.0, 200);
            tokio::time::advance(seconds(5)).await;
        }
        assert_eq!(upstream.tokens(), ["a-2"; 5], "{life:?}");
        assert_eq!(server.asked.all().len(), 1, "{life:?}");
        // After that it is renewed before it is sent, and for a 401 at once.
        tokio::time::advance(seconds(5)).await;
        assert_eq!(ask(&service, post()).await.0, 200);
        assert_eq!(ask(&service, post()).await.0, 200);
        assert_eq!(upstream.tokens()[5..], ["a-3", "a-3", "a-4"], "{life:?}");
        assert_eq!(server.asked.all().len(), 3, "{life:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_stored_after_its_expiry_is_renewed_before_it_is_sent() {
    let clock = tokio_clock();
    let vault = MemoryVault::new();
    put(&vault, "a", &clock, Duration::ZERO).await;
    let server = Server::new(&clock, HOUR);
    let pool = builder(vault).clock(clock.clone()).open().await.unwrap();
    let upstream = Upstream::new();
    let service = stack(CredentialsLayer::new(pool).refresher(server.refresher()), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens(), ["a-2"]);
}

//! The layers over reqwest, as a service and as either middleware, against real servers.

#![cfg(feature = "reqwest-middleware")]

use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt};
use tower_credentials::reqwest_client::{HttpService, RequestBody};
use tower_credentials::{AnsweredBy, CredentialsLayer, NextReady, Pin};

use crate::reqwest_rig::*;
use crate::support::{self, Canned, Journal, Upstream, accounts, cools, keys, order, renewing, seconds};

/// Runs a test with each kind of client, over each version of HTTP.
pub(crate) async fn each_way(test: impl AsyncFn(usize, reqwest::ClientBuilder, Version)) {
    for way in 0..CLIENTS {
        test(way, client(), Version::HTTP_11).await;
        test(way, client().http2_prior_knowledge(), Version::HTTP_2).await;
    }
}

#[tokio::test]
async fn a_response_says_which_account_it_came_from_if_attempts_are_exposed() {
    each_way(async |way, builder, _| {
        let plain = builder.build().unwrap();
        for exposes in [true, false] {
            let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
            let site = Site::of(&upstream).await;
            let pool = site.builder(keys(["a", "b"]).await).expose_attempts(exposes);
            let layer = CredentialsLayer::new(pool.open().await.unwrap());
            let client = &clients!(layer, plain.clone())[way];
            let response = client.execute(site.post("a question")).await.unwrap();
            let by = response.extensions().get::<AnsweredBy>();
            let by = by.map(|by| (by.credential().label.to_string(), by.attempts()));
            assert_eq!(by, exposes.then(|| ("b".to_owned(), 2)));
        }
    })
    .await;
}

#[tokio::test]
async fn a_layer_may_change_where_a_request_goes() {
    each_way(async |way, builder, _| {
        let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
        let site = Site::of(&upstream).await;
        let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
        let elsewhere = tower::util::MapRequestLayer::new(|mut request: Request<RequestBody>| {
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = Some("/elsewhere?now=1".parse().unwrap());
            *request.uri_mut() = http::Uri::from_parts(parts).unwrap();
            request
        });
        let layers = ServiceBuilder::new().layer(CredentialsLayer::new(pool)).layer(elsewhere);
        let client = &clients!(layers, builder.build().unwrap())[way];

        let response = client.execute(site.post("a question")).await.unwrap();

        assert_eq!(response.url().path(), "/elsewhere");
        let paths: Vec<_> = upstream.seen.all().iter().map(|seen| seen.uri.to_string()).collect();
        assert!(
            paths.len() == 2 && paths.iter().all(|path| path.ends_with("/elsewhere?now=1")),
            "{paths:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_limited_request_is_sent_again_with_the_next_account() {
    each_way(async |way, builder, version| {
        let upstream = Upstream::new().answers("a", [Canned::limited(30).body("slow down")]);
        let site = Site::of(&upstream).await;
        let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
        let client = &clients!(CredentialsLayer::new(pool.clone()), builder.build().unwrap())[way];
        let mut request = site.post("a question");
        request.url_mut().set_query(Some("beta=true&q=a%20b|c"));
        request.headers_mut().insert("x-mark", "mine".parse().unwrap());
        let url = request.url().clone();

        let response = client.execute(request).await.unwrap();

        assert_eq!(response.status(), 200);
        assert_eq!(response.version(), version);
        assert_eq!(*response.url(), url);
        assert_eq!(response.remote_addr(), Some(site.address));
        assert_eq!(response.content_length(), Some(1));
        assert_eq!(response.text().await.unwrap(), "b");
        assert_eq!(upstream.tokens(), ["a", "b"]);
        for seen in upstream.seen.all() {
            assert_eq!(seen.body, "a question");
            assert_eq!(seen.uri.query(), url.query());
            assert_eq!(seen.headers["x-mark"], "mine");
            assert_eq!(seen.headers.get("content-length").unwrap(), "10");
        }
        assert!(cools(&pool, "a") > seconds(29));
        assert_eq!(site.connections(), 1, "the 429 was read to its end");
    })
    .await;
}

#[tokio::test]
async fn a_429_is_drained_so_that_its_connection_serves_the_next_attempt() {
    each_way(async |way, builder, _| {
        let upstream = Upstream::new().answers("a", [Canned::limited(30).body(vec![b'x'; 40_000])]);
        let site = Site::of(&upstream).await;
        let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
        let client = &clients!(CredentialsLayer::new(pool.clone()), builder.build().unwrap())[way];
        for _ in 0..3 {
            assert_eq!(client.ask(site.post("hi")).await, (200, "b".into()));
        }
        assert_eq!(upstream.tokens(), ["a", "b", "b", "b"]);
        assert_eq!(site.connections(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_refused_token_is_renewed_and_the_request_sent_again() {
    each_way(async |way, builder, _| {
        let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
        let site = Site::of(&upstream).await;
        let refreshes = Journal::new();
        let pool = site.builder(accounts(["a", "b"]).await).open().await.unwrap();
        let layers = support::four(&pool, &renewing(&refreshes));
        let client = &clients!(layers, builder.build().unwrap())[way];

        assert_eq!(client.ask(site.post("hi")).await, (200, "a-2".into()));

        assert_eq!(upstream.tokens(), ["a-1", "a-2"]);
        assert_eq!(refreshes.all(), ["a"]);
    })
    .await;
}

#[tokio::test]
async fn a_cooldown_is_saved_for_the_next_client() {
    each_way(async |way, builder, _| {
        let upstream = Upstream::new().answers("a", [Canned::limited(3600)]);
        let site = Site::of(&upstream).await;
        let vault = keys(["a", "b"]).await;
        let builder = builder.build().unwrap();
        let pool = site.builder(vault.clone()).open().await.unwrap();
        let client = &clients!(CredentialsLayer::new(pool.clone()), builder.clone())[way];
        assert_eq!(client.ask(site.post("hi")).await, (200, "b".into()));

        let later = site.builder(vault).open().await.unwrap();
        assert_eq!(order(&later), order(&pool));
        let client = &clients!(CredentialsLayer::new(later.clone()), builder)[way];
        assert_eq!(client.ask(site.post("hi")).await, (200, "b".into()));
        assert_eq!(upstream.tokens(), ["a", "b", "b"]);
    })
    .await;
}

#[tokio::test]
async fn a_streaming_upload_is_sent_once_and_its_response_returned() {
    each_way(async |way, builder, _| {
        let upstream = Upstream::new().answers("a", [Canned::limited(30).body("slow down")]);
        let site = Site::of(&upstream).await;
        let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
        let client = &clients!(CredentialsLayer::new(pool.clone()), builder.build().unwrap())[way];
        let stream = reqwest::Body::wrap(Full::new(bytes::Bytes::from("streamed")));
        let request = site.post(stream);
        assert!(request.try_clone().is_none());

        assert_eq!(client.ask(request).await, (429, "slow down".into()));
        assert_eq!(client.ask(site.post("whole")).await, (200, "b".into()));

        let bodies: Vec<_> = upstream.seen.all().into_iter().map(|seen| seen.body).collect();
        assert_eq!(bodies, ["streamed", "whole"]);
    })
    .await;
}

#[tokio::test]
async fn an_exhausted_pool_returns_the_last_response_with_the_time_to_come_back() {
    each_way(async |way, builder, _| {
        let limited = || [Canned::limited(30).body("slow down")];
        let upstream = Upstream::new().answers("a", limited()).answers("b", limited());
        let site = Site::of(&upstream).await;
        let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
        let client = &clients!(CredentialsLayer::new(pool.clone()), builder.build().unwrap())[way];

        let response = client.execute(site.post("hi")).await.unwrap();

        assert_eq!(response.status(), 429);
        assert!(response.extensions().get::<NextReady>().is_some());
        assert_eq!(response.headers()["retry-after"], "30");
        assert_eq!(response.text().await.unwrap(), "slow down");
    })
    .await;
}

#[tokio::test]
async fn a_pin_in_the_extensions_of_a_request_reaches_the_layers() {
    let upstream = Upstream::new();
    let site = Site::of(&upstream).await;
    let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
    for client in clients!(CredentialsLayer::new(pool.clone()), client().build().unwrap()) {
        let request = Request::post(site.url().as_str()).extension(Pin::label("b")).body("hi").unwrap();
        let request = reqwest::Request::try_from(request).unwrap();
        assert_eq!(client.ask(request).await, (200, "b".into()));
    }
}

#[tokio::test]
async fn a_stack_over_a_client_also_takes_http_requests() {
    let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
    let site = Site::of(&upstream).await;
    let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
    let service = ServiceBuilder::new()
        .layer(CredentialsLayer::new(pool))
        .service(HttpService::new(client().build().unwrap()));
    let head = || Request::post(site.url().as_str());

    let whole = head().body(Full::new(bytes::Bytes::from("full"))).unwrap();
    let response = service.clone().oneshot(whole).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "b");
    let response = service.clone().oneshot(head().body(String::from("text")).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = RequestBody::from(bytes::Bytes::from("bytes"));
    let response = service.clone().oneshot(head().body(body).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = reqwest::Body::from("reqwest's");
    let response = service.oneshot(head().body(body).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);

    let seen = upstream.seen.all();
    let bodies: Vec<_> = seen.iter().map(|seen| &*seen.body).collect();
    assert_eq!(bodies, [&b"full"[..], b"full", b"text", b"bytes", b"reqwest's"]);
    let lengths: Vec<_> = seen.iter().map(|seen| seen.headers["content-length"].clone()).collect();
    assert_eq!(lengths, ["4", "4", "4", "5", "9"], "they are in memory to reqwest, too");
}

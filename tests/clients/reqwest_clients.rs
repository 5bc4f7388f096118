//! The layers over reqwest, as a service and as either middleware, against real servers.

#![cfg(feature = "reqwest-middleware")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Version};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_credentials::provider::GenericProvider;
use tower_credentials::reqwest_client::{HttpService, LayerError, RequestBody, ReqwestLayer};
use tower_credentials::{
    AnsweredBy, BoxError, CredentialsLayer, Error, ErrorBodyLayer, NextReady, Pin, Pool, TryCloneBody,
    is_connect_error,
};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::DecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::trace::TraceLayer;

use crate::reqwest_rig::{self, *};
use crate::support::{self, Canned, Journal, Upstream, accounts, cools, keys, order, renewing, seconds};

/// Each kind of client, over each version of HTTP.
async fn each_way(test: impl AsyncFn(usize, reqwest::ClientBuilder, Version)) {
    for way in 0..CLIENTS {
        test(way, client(), Version::HTTP_11).await;
        test(way, client().http2_prior_knowledge(), Version::HTTP_2).await;
    }
}

#[tokio::test]
async fn a_response_says_which_account_has_answered_if_it_is_asked_to() {
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
async fn what_was_learnt_is_saved_for_the_next_client() {
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
async fn an_upload_that_streams_is_sent_once_and_its_response_returned() {
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
async fn the_response_of_a_used_up_pool_is_the_last_one_and_says_when_to_come_back() {
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
async fn a_stack_over_a_client_takes_requests_of_http_as_well() {
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

/// Fails once, then finds the host.
struct FailsOnce(AtomicUsize);

impl Resolve for FailsOnce {
    fn resolve(&self, _: Name) -> Resolving {
        let is_first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move {
            if is_first {
                return Err("no such host, for now".into());
            }
            let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
            Ok(Box::new([address].into_iter()) as Addrs)
        })
    }
}

#[tokio::test]
async fn an_error_of_connecting_is_tried_again_with_the_same_account() {
    for way in 0..CLIENTS {
        let upstream = Upstream::new();
        let site = Site::of(&upstream).await;
        let origin = format!("http://localhost:{}", site.address.port());
        let provider = GenericProvider::bearer("x").origin(&origin).unwrap();
        let events = Journal::new();
        let pool = Pool::builder(provider, keys(["a", "b"]).await).on_event(events.observer());
        let pool = pool.open().await.unwrap();
        let resolver = Arc::new(FailsOnce(AtomicUsize::new(0)));
        let reqwest = client().no_proxy().dns_resolver(resolver).build().unwrap();
        let client = &clients!(CredentialsLayer::new(pool.clone()), reqwest)[way];
        let request = reqwest::Request::new(reqwest::Method::GET, origin.parse().unwrap());

        assert_eq!(client.ask(request).await, (200, "a".into()));

        assert_eq!(events.count("Repeated"), 1);
        assert_eq!(upstream.tokens(), ["a"]);
    }
}

#[tokio::test]
async fn an_error_after_the_request_was_sent_is_the_callers() {
    let upstream = Upstream::new().answers("a", [Canned::fails(std::io::ErrorKind::Other)]);
    let site = Site::of(&upstream).await;
    let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
    let clients = clients!(CredentialsLayer::new(pool.clone()), client().build().unwrap());
    for (sent, client) in clients.into_iter().enumerate() {
        let error = client.execute(site.post("hi")).await.unwrap_err();
        let is_reqwest = error.is::<reqwest::Error>()
            || matches!(error.downcast_ref(), Some(reqwest_middleware::Error::Reqwest(_)));
        assert!(is_reqwest, "{error:?}");
        assert!(!is_connect_error(&error));
        assert_eq!(upstream.tokens().len(), sent + 1);
    }
}

#[tokio::test]
async fn what_a_layer_fails_with_can_be_told() {
    let upstream = Upstream::new();
    let site = Site::of(&upstream).await;
    let pool = site.builder(keys(["a"]).await).open().await.unwrap();
    let [service, middlewares @ ..] =
        clients!(CredentialsLayer::new(pool.clone()), client().build().unwrap());
    let elsewhere =
        || reqwest::Request::new(reqwest::Method::GET, "https://evil.test/v1".parse().unwrap());

    let error = service.execute(elsewhere()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::UntrustedOrigin { .. })), "{error:?}");
    for middleware in middlewares {
        let error = middleware.execute(elsewhere()).await.unwrap_err();
        let Some(reqwest_middleware::Error::Middleware(error)) = error.downcast_ref() else {
            panic!("{error:?}");
        };
        assert!(matches!(error.downcast_ref(), Some(Error::UntrustedOrigin { .. })), "{error:?}");
    }

    let refuses = tower::filter::FilterLayer::new(|_: Request<RequestBody>| {
        Err::<Request<RequestBody>, _>(std::io::Error::other("as planned"))
    });
    let [service, middleware, _] = clients!(refuses, client().build().unwrap());
    let error = service.execute(site.post("hi")).await.unwrap_err();
    assert!(error.is::<std::io::Error>(), "{error:?}");
    let error = middleware.execute(site.post("hi")).await.unwrap_err();
    let Some(reqwest_middleware::Error::Middleware(error)) = error.downcast_ref() else {
        panic!("{error:?}");
    };
    let error = error.downcast_ref::<LayerError>().unwrap();
    assert!(error.get_ref().is::<std::io::Error>());
    assert_eq!(error.to_string(), "as planned");
    assert!(upstream.tokens().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_reqwests_bounds_each_attempt() {
    for way in 0..CLIENTS {
        let slow = Canned::ok().body("slow").after_time(seconds(10));
        let upstream = Upstream::new().answers("a", [slow]);
        let site = Site::of(&upstream).await;
        let pool = site.builder(keys(["a"]).await).open().await.unwrap();
        let layer = CredentialsLayer::new(pool);
        let is_timeout = |error: BoxError| {
            let middleware = error.downcast_ref::<reqwest_middleware::Error>();
            let reqwest = error.downcast_ref::<reqwest::Error>();
            middleware.is_some_and(|error| error.is_timeout())
                || reqwest.is_some_and(|error| error.is_timeout())
        };

        let client = &clients!(layer.clone(), reqwest_rig::client().build().unwrap())[way];
        let mut request = site.post("hi");
        *request.timeout_mut() = Some(seconds(5));
        assert!(is_timeout(client.execute(request).await.unwrap_err()), "the request's");
        let mut request = site.post("hi");
        *request.timeout_mut() = Some(seconds(20));
        assert_eq!(client.ask(request).await, (200, "slow".into()));

        let patient = reqwest_rig::client().timeout(seconds(5)).build().unwrap();
        let client = &clients!(layer.clone(), patient)[way];
        assert!(is_timeout(client.execute(site.post("hi")).await.unwrap_err()), "the client's");
        let mut request = site.post("hi");
        *request.timeout_mut() = Some(seconds(20));
        assert_eq!(client.ask(request).await, (200, "slow".into()), "the request's goes before it");
    }
}

#[tokio::test]
async fn a_proxy_of_the_clients_gets_the_requests() {
    for way in 0..CLIENTS {
        let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
        let proxy = Site::of(&upstream).await;
        // Nobody listens there: what comes from it comes from the proxy.
        let origin = "http://127.0.0.1:9";
        let provider = GenericProvider::bearer("x").origin(origin).unwrap();
        let pool = Pool::builder(provider, keys(["a", "b"]).await).open().await.unwrap();
        let through = reqwest::Proxy::http(proxy.origin()).unwrap();
        let reqwest = client().proxy(through).build().unwrap();
        let client = &clients!(CredentialsLayer::new(pool.clone()), reqwest)[way];
        let request =
            reqwest::Request::new(reqwest::Method::GET, format!("{origin}/v1").parse().unwrap());

        assert_eq!(client.ask(request).await, (200, "b".into()));

        for seen in upstream.seen.all() {
            assert_eq!(seen.uri.to_string(), "http://127.0.0.1:9/v1");
        }
        assert_eq!(upstream.tokens(), ["a", "b"]);
    }
}

#[tokio::test]
async fn a_compressed_response_is_decompressed_by_the_client() {
    each_way(async |way, builder, _| {
        let text = "over and over again, ".repeat(100);
        let upstream = Upstream::new()
            .answers("a", [Canned::limited(30).body(text.clone())])
            .answers("b", [Canned::ok().body(text.clone())]);
        let compressing = ServiceBuilder::new().layer(CompressionLayer::new()).service(upstream.clone());
        let site = Site::start(move |request| {
            let response = compressing.clone().oneshot(request);
            async move { response.await.unwrap().map(body_of) }
        })
        .await;
        let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
        let client = &clients!(CredentialsLayer::new(pool.clone()), builder.build().unwrap())[way];

        let response = client.execute(site.post("hi")).await.unwrap();

        assert!(response.headers().get("content-encoding").is_none());
        assert_eq!(response.text().await.unwrap(), text);
        assert_eq!(upstream.seen.all()[1].headers["accept-encoding"], "gzip");
        assert_eq!(site.connections(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_layer_that_looks_into_the_response_leaves_its_url() {
    let upstream = Upstream::new();
    let site = Site::of(&upstream).await;
    let pool = site.builder(keys(["a"]).await).open().await.unwrap();
    let layers = (CredentialsLayer::new(pool.clone()), ErrorBodyLayer::new(pool));
    for client in clients!(layers, client().build().unwrap()) {
        let response = client.execute(site.post("hi")).await.unwrap();
        assert_eq!(*response.url(), site.url());
        assert_eq!(response.remote_addr(), Some(site.address));
        assert_eq!(response.text().await.unwrap(), "a");
    }
    // A response that a layer makes by itself has the request's URL.
    let made_up = tower::util::MapResponseLayer::new(|_| http::Response::new(String::from("made up")));
    for client in clients!(made_up, client().build().unwrap()) {
        let response = client.execute(site.post("hi")).await.unwrap();
        assert_eq!(*response.url(), site.url());
        assert_eq!(response.text().await.unwrap(), "made up");
    }
}

#[tokio::test]
async fn layers_of_tower_https_stand_above_and_below() {
    let text = "over and over again, ".repeat(100);
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(30)])
        .answers("b", [Canned::ok().body(text.clone())]);
    let compressing = ServiceBuilder::new().layer(CompressionLayer::new()).service(upstream.clone());
    let site = Site::start(move |request| {
        let response = compressing.clone().oneshot(request);
        async move { response.await.unwrap().map(body_of) }
    })
    .await;
    let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
    let layers = ServiceBuilder::new()
        .layer(SetSensitiveRequestHeadersLayer::new([http::header::COOKIE]))
        .layer(TraceLayer::new_for_http())
        .layer(CredentialsLayer::new(pool))
        .layer(RequestBodyLimitLayer::new(100))
        .layer(DecompressionLayer::new().no_br())
        .layer(TraceLayer::new_for_http());
    let plain = client().no_gzip().build().unwrap();
    for client in clients!(layers, plain) {
        let response = client.execute(site.post("hi")).await.unwrap();
        assert_eq!(*response.url(), site.url());
        assert_eq!(response.text().await.unwrap(), text);
        assert_eq!(upstream.seen.all().last().unwrap().headers["content-length"], "2");
    }
    assert_eq!(upstream.tokens(), ["a", "b", "b", "b"]);
}

#[tokio::test]
async fn a_client_with_middleware_is_a_client_like_another() {
    let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
    let site = Site::of(&upstream).await;
    let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
    let inner = reqwest_middleware::ClientBuilder::new(client().build().unwrap()).build();
    let layered = ReqwestLayer::new(CredentialsLayer::new(pool)).layer(inner);
    let response = layered.execute(site.post("hi")).await.unwrap();
    assert_eq!(response.text().await.unwrap(), "b");
}

#[test]
fn a_body_can_be_sent_again_exactly_if_reqwest_can() {
    let bodies: [fn() -> reqwest::Body; 4] = [
        || "text".into(),
        reqwest::Body::default,
        || vec![b'x'; 10].into(),
        || reqwest::Body::wrap(String::from("streamed")),
    ];
    for body in bodies {
        let mut request =
            reqwest::Request::new(reqwest::Method::POST, "http://localhost".parse().unwrap());
        *request.body_mut() = Some(body());
        let can = request.try_clone().is_some();
        assert_eq!(TryCloneBody::try_clone(&body()).is_some(), can);
        let ours = RequestBody::from(body());
        assert_eq!(ours.try_clone().is_some(), can);
        assert_eq!(ours.is_end_stream(), body().is_end_stream());
        assert_eq!(ours.size_hint().exact(), body().size_hint().exact());
        assert_eq!(reqwest::Body::from(ours).as_bytes(), body().as_bytes());
    }
    // Not a copy.
    let bytes = bytes::Bytes::from(vec![b'x'; 10]);
    let body = RequestBody::from(reqwest::Body::from(bytes.clone()));
    let again = reqwest::Body::from(body.try_clone().unwrap());
    assert_eq!(again.as_bytes().unwrap().as_ptr(), bytes.as_ptr());
}

#[test]
fn a_glob_import_leaves_the_name_of_reqwest_alone() {
    use tower_credentials::*;
    let _client: reqwest::Client = reqwest::Client::new();
    let _error: Option<reqwest_middleware::Error> = None;
    let _error: Option<Error> = None;
}

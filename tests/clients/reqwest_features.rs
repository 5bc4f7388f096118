//! Features of reqwest below the layers: its errors, timeouts, proxies and compression, its URLs and its bodies.

#![cfg(feature = "reqwest-middleware")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;
use http_body::Body as _;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_credentials::provider::GenericProvider;
use tower_credentials::reqwest_client::{LayerError, RequestBody, ReqwestLayer};
use tower_credentials::{
    BoxError, CredentialsLayer, Error, ErrorBodyLayer, Pool, TryCloneBody, is_connect_error,
};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::DecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::trace::TraceLayer;

use crate::reqwest_clients::each_way;
use crate::reqwest_rig::{self, *};
use crate::support::{Canned, Journal, Upstream, keys, seconds};

/// A resolver that fails once, then finds the host.
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
async fn a_connect_error_is_retried_with_the_same_account() {
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
async fn an_error_after_the_request_was_sent_is_returned() {
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
async fn the_error_of_a_layer_can_be_downcast() {
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
async fn a_reqwest_timeout_bounds_each_attempt() {
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
async fn the_clients_proxy_gets_the_requests() {
    for way in 0..CLIENTS {
        let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
        let proxy = Site::of(&upstream).await;
        // Nobody listens there, so a response must come from the proxy.
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

/// A server that compresses the upstream's responses on request.
async fn compressing(upstream: &Upstream) -> Site {
    let service = ServiceBuilder::new().layer(CompressionLayer::new()).service(upstream.clone());
    Site::start(move |request| {
        let response = service.clone().oneshot(request);
        async move { response.await.unwrap().map(body_of) }
    })
    .await
}

#[tokio::test]
async fn a_compressed_response_is_decompressed_by_the_client() {
    each_way(async |way, builder, _| {
        let text = "over and over again, ".repeat(100);
        let upstream = Upstream::new()
            .answers("a", [Canned::limited(30).body(text.clone())])
            .answers("b", [Canned::ok().body(text.clone())]);
        let site = compressing(&upstream).await;
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
async fn a_layer_that_reads_the_response_keeps_its_url() {
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
    // A layer's own response has the request's URL.
    let made_up = tower::util::MapResponseLayer::new(|_| http::Response::new(String::from("made up")));
    for client in clients!(made_up, client().build().unwrap()) {
        let response = client.execute(site.post("hi")).await.unwrap();
        assert_eq!(*response.url(), site.url());
        assert_eq!(response.text().await.unwrap(), "made up");
    }
}

#[tokio::test]
async fn tower_http_layers_work_above_and_below() {
    let text = "over and over again, ".repeat(100);
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(30)])
        .answers("b", [Canned::ok().body(text.clone())]);
    let site = compressing(&upstream).await;
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
fn a_body_can_be_sent_again_exactly_if_reqwest_can_clone_it() {
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
    // The bytes are shared, not copied.
    let bytes = bytes::Bytes::from(vec![b'x'; 10]);
    let body = RequestBody::from(reqwest::Body::from(bytes.clone()));
    let again = reqwest::Body::from(body.try_clone().unwrap());
    assert_eq!(again.as_bytes().unwrap().as_ptr(), bytes.as_ptr());
}

#[test]
fn a_glob_import_does_not_hide_the_crate_reqwest() {
    use tower_credentials::*;
    let _client: reqwest::Client = reqwest::Client::new();
    let _error: Option<reqwest_middleware::Error> = None;
    let _error: Option<Error> = None;
}

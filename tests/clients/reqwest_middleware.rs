//! A stack of layers among other middleware: what it passes down and up.

#![cfg(feature = "reqwest-middleware")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use http::{Extensions, Request};
use reqwest_middleware::{ClientBuilder, Middleware, Next};
use reqwest_retry::{RetryDecision, RetryPolicy, RetryTransientMiddleware};
use reqwest_tracing::{ReqwestOtelSpanBackend, TracingMiddleware};
use tower::timeout::TimeoutLayer;
use tower::timeout::error::Elapsed;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_credentials::provider::GenericProvider;
use tower_credentials::reqwest_client::{RequestBody, TowerMiddleware};
use tower_credentials::{
    Attempt, AuthHeaderLayer, CredentialsLayer, NetworkRetry, Pin, Pool, RotateOn429Layer,
};

use crate::reqwest_rig::*;
use crate::support::{Canned, Journal, Upstream, keys, seconds};

struct OnceMore;

impl RetryPolicy for OnceMore {
    fn should_retry(&self, began: SystemTime, retries: u32) -> RetryDecision {
        match retries {
            0 => RetryDecision::Retry { execute_after: began },
            _ => RetryDecision::DoNotRetry,
        }
    }
}

fn retry() -> impl Middleware {
    RetryTransientMiddleware::new_with_policy(OnceMore)
}

async fn pool(site: &Site) -> Pool {
    site.builder(keys(["a", "b"]).await).open().await.unwrap()
}

#[tokio::test]
async fn reqwest_retry_above_sends_a_new_request_through_the_layers() {
    each_middleware(async |layered| {
        let upstream = Upstream::new()
            .answers("a", [Canned::limited(30)])
            .answers("b", [Canned::status(503), Canned::ok().body("at last")]);
        let site = Site::of(&upstream).await;
        let pool = pool(&site).await;
        let client =
            ClientBuilder::new(client().build().unwrap()).with(retry()).with_arc(layered(&pool)).build();
        let response = client.post(site.url()).body("hi").send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "at last");
        assert_eq!(upstream.tokens(), ["a", "b", "b"]);
    })
    .await;
}

#[tokio::test]
async fn reqwest_retry_below_repeats_each_attempt() {
    each_middleware(async |layered| {
        let upstream = Upstream::new().answers("a", [Canned::status(503), Canned::limited(30)]);
        let site = Site::of(&upstream).await;
        let pool = pool(&site).await;
        let client =
            ClientBuilder::new(client().build().unwrap()).with_arc(layered(&pool)).with(retry()).build();
        let response = client.post(site.url()).body("hi").send().await.unwrap();
        // To reqwest-retry a 429 is transient as well, so it asks once more before the layers see it.
        assert_eq!(response.text().await.unwrap(), "b");
        assert_eq!(upstream.tokens(), ["a", "a", "b"]);
    })
    .await;
}

/// Records the credential of each request in the caller's journal.
struct Noting;

#[derive(Clone)]
struct Notes(Journal<String>);

impl Noting {
    fn note(extensions: &Extensions, what: &str) {
        let Some(Notes(notes)) = extensions.get() else { return };
        let label = match extensions.get::<Attempt>().and_then(|attempt| attempt.lease()) {
            Some(lease) => lease.credential().label.to_string(),
            None => "nobody's".to_owned(),
        };
        notes.push(format!("{what} {label}"));
    }
}

impl ReqwestOtelSpanBackend for Noting {
    fn on_request_start(_: &reqwest::Request, extensions: &mut Extensions) -> tracing::Span {
        Self::note(extensions, "begin");
        tracing::Span::none()
    }

    fn on_request_end(
        _: &tracing::Span,
        outcome: &reqwest_middleware::Result<reqwest::Response>,
        extensions: &mut Extensions,
    ) {
        let status = outcome.as_ref().map_or(0, |response| response.status().as_u16());
        Self::note(extensions, &status.to_string());
    }
}

#[tokio::test]
async fn reqwest_tracing_sees_the_callers_extensions_on_either_side_and_the_layers() {
    each_middleware(async |layered| {
        let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
        let site = Site::of(&upstream).await;
        let pool = site.builder(keys(["a", "b"]).await).expose_attempts(true).open().await.unwrap();
        let client = ClientBuilder::new(client().build().unwrap())
            .with(TracingMiddleware::<Noting>::new())
            .with_arc(layered(&pool))
            .with(TracingMiddleware::<Noting>::new())
            .build();
        let notes = Journal::new();
        let request = client.post(site.url()).with_extension(Notes(notes.clone())).body("hi");
        assert_eq!(request.send().await.unwrap().status(), 200);
        assert_eq!(notes.all(), ["begin nobody's", "begin a", "429 a", "begin b", "200 b", "200 b"]);
    })
    .await;
}

/// A middleware that adds to the extensions.
struct Adding;

#[derive(Clone, Debug, PartialEq)]
struct Added(&'static str);

#[async_trait::async_trait]
impl Middleware for Adding {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        assert_eq!(extensions.get::<Pin>().map(|_| ()), Some(()));
        extensions.insert(Added("by the one further in"));
        next.run(request, extensions).await
    }
}

#[tokio::test]
async fn extensions_go_both_ways_and_can_be_used_for_another_request() {
    let upstream = Upstream::new().answers("b", [Canned::limited(0), Canned::ok().body("b")]);
    let site = Site::of(&upstream).await;
    let pool = pool(&site).await;
    // Not all of the layers, so that their context travels in the extensions.
    let layers = (RotateOn429Layer::new(pool.clone()), AuthHeaderLayer::new(pool.clone()));
    let client = ClientBuilder::new(client().build().unwrap())
        .with(TowerMiddleware::new(layers))
        .with(Adding)
        .build();
    let mut extensions = Extensions::new();
    extensions.insert(Pin::label("b"));
    extensions.insert(7_u32);

    for status in [429, 200, 200] {
        let response = client.execute_with_extensions(site.post("hi"), &mut extensions).await.unwrap();
        assert_eq!(response.status(), status);
        let attempt = extensions.get::<Attempt>().unwrap();
        assert_eq!(&*attempt.lease().unwrap().credential().label, "b");
        assert_eq!(attempt.number(), 1);
        assert_eq!(extensions.get(), Some(&Added("by the one further in")));
        assert_eq!(extensions.get(), Some(&7_u32));
    }
    assert_eq!(upstream.tokens(), ["b", "b", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_requests_timeout_does_not_carry_over_to_the_next() {
    each_middleware(async |layered| {
        let slow = Canned::ok().body("slow").after_time(seconds(10));
        let upstream = Upstream::new().answers("a", [slow]);
        let site = Site::of(&upstream).await;
        let pool = site.builder(keys(["a"]).await).open().await.unwrap();
        let client = ClientBuilder::new(client().build().unwrap()).with_arc(layered(&pool)).build();
        let mut extensions = Extensions::new();
        let mut request = site.post("hi");
        *request.timeout_mut() = Some(seconds(5));
        let error = client.execute_with_extensions(request, &mut extensions).await.unwrap_err();
        assert!(error.is_timeout());
        let response = client.execute_with_extensions(site.post("hi"), &mut extensions).await.unwrap();
        assert_eq!(response.text().await.unwrap(), "slow");
    })
    .await;
}

#[tokio::test]
async fn layers_in_two_middlewares_work_as_one_stack() {
    let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
    let site = Site::of(&upstream).await;
    let pool = pool(&site).await;
    let client = ClientBuilder::new(client().build().unwrap())
        .with(TowerMiddleware::new(RotateOn429Layer::new(pool.clone())))
        .with(TowerMiddleware::new(AuthHeaderLayer::new(pool.clone())))
        .build();
    for _ in 0..2 {
        let response = client.post(site.url()).body("hi").send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "b");
    }
    assert_eq!(upstream.tokens(), ["a", "b", "b"]);
}

#[tokio::test]
async fn the_stack_is_made_once() {
    let upstream = Upstream::new();
    let site = Site::of(&upstream).await;
    let pool = pool(&site).await;
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let counting = tower::layer::layer_fn(move |inner| {
        count.fetch_add(1, Ordering::SeqCst);
        CredentialsLayer::new(pool.clone()).layer(inner)
    });
    let client =
        ClientBuilder::new(client().build().unwrap()).with(TowerMiddleware::new(counting)).build();
    for _ in 0..3 {
        assert_eq!(client.get(site.url()).send().await.unwrap().status(), 200);
    }
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

/// An inner middleware that records when a request begins and ends there.
struct Guarded(Journal<&'static str>);

struct Guard(Journal<&'static str>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.push("over");
    }
}

#[async_trait::async_trait]
impl Middleware for Guarded {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        self.0.push("begun");
        let _guard = Guard(self.0.clone());
        next.run(request, extensions).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_a_layer_gives_up_ends_below_before_the_next_begins() {
    let hangs = Canned::ok().after_time(seconds(3600));
    let upstream = Upstream::new().answers("a", [hangs, Canned::ok().body("at last")]);
    let site = Site::of(&upstream).await;
    let pool = pool(&site).await;
    let noted = Journal::new();
    let repeats = NetworkRetry::default().when(|error| error.is::<Elapsed>());
    let layers = ServiceBuilder::new()
        .layer(CredentialsLayer::new(pool).rotate(|layer| layer.network(repeats)))
        .layer(TimeoutLayer::new(seconds(5)));
    let client = ClientBuilder::new(client().build().unwrap())
        .with(TowerMiddleware::new(layers))
        .with(Guarded(noted.clone()))
        .build();
    let response = client.get(site.url()).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "at last");
    assert_eq!(noted.all(), ["begun", "over", "begun", "over"]);
}

#[tokio::test]
async fn a_stack_may_send_several_at_once_and_from_other_tasks() {
    let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
    let site = Site::of(&upstream).await;
    let pool = pool(&site).await;
    // Sends each request twice at once, from its own tasks, and waits for both responses.
    let twice = tower::layer::layer_fn(|inner: tower_credentials::reqwest_client::NextService| {
        tower::service_fn(move |request: Request<RequestBody>| {
            let (parts, body) = request.into_parts();
            let another = tower_credentials::TryCloneBody::try_clone(&body).unwrap();
            let one = Request::from_parts(parts.clone(), body);
            let other = Request::from_parts(parts, another);
            let sends = [one, other].map(|request| tokio::spawn(inner.clone().oneshot(request)));
            async move {
                let [one, other] = sends;
                let (one, other) = tokio::join!(one, other);
                assert_eq!(one.as_ref().unwrap().as_ref().unwrap().status(), {
                    other.unwrap().unwrap().status()
                });
                one.unwrap()
            }
        })
    });
    let client = ClientBuilder::new(client().build().unwrap())
        .with(TowerMiddleware::new((CredentialsLayer::new(pool), twice)))
        .build();
    let response = client.post(site.url()).body("hi").send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "b");
    assert_eq!(upstream.tokens(), ["a", "a", "b", "b"]);
}

#[tokio::test]
async fn requests_of_several_callers_go_through_one_buffer() {
    let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
    let site = Site::of(&upstream).await;
    let pool = pool(&site).await;
    let layers = ServiceBuilder::new().layer(CredentialsLayer::new(pool)).buffer(4);
    let client =
        ClientBuilder::new(client().build().unwrap()).with(TowerMiddleware::new(layers)).build();
    let ask = async || {
        let response = client.post(site.url()).body("hi").send().await.unwrap();
        response.text().await.unwrap()
    };
    assert_eq!(tokio::join!(ask(), ask(), ask()), ("b".into(), "b".into(), "b".into()));
}

#[tokio::test]
async fn a_request_sent_after_the_caller_has_gone_fails() {
    let upstream = Upstream::new();
    let site = Site::of(&upstream).await;
    let kept = Arc::new(std::sync::Mutex::new(None));
    let keep = kept.clone();
    // Responds itself, and keeps the request for later.
    let keeps = tower::layer::layer_fn(move |inner: tower_credentials::reqwest_client::NextService| {
        let keep = keep.clone();
        tower::service_fn(move |request: Request<RequestBody>| {
            *keep.lock().unwrap() = Some((inner.clone(), request));
            let made = http::Response::new(String::from("made up"));
            std::future::ready(Ok::<_, tower_credentials::BoxError>(made))
        })
    });
    let client = ClientBuilder::new(client().build().unwrap()).with(TowerMiddleware::new(keeps)).build();
    let response = client.post(site.url()).body("hi").send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "made up");

    let (mut inner, request) = kept.lock().unwrap().take().unwrap();
    let error = inner.call(request).await.unwrap_err();
    assert!(error.to_string().contains("its caller has gone"), "{error}");
    assert!(upstream.tokens().is_empty());
}

/// Responds itself, as a cache or a middleware for tests does.
struct MadeUp;

#[async_trait::async_trait]
impl Middleware for MadeUp {
    async fn handle(
        &self,
        request: reqwest::Request,
        _: &mut Extensions,
        _: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        assert_eq!(request.headers()["x-api-key"], "a");
        Ok(http::Response::new("made up").into())
    }
}

#[tokio::test]
async fn another_middlewares_own_response_is_not_mistaken_for_a_redirect() {
    each_middleware(async |layered| {
        let provider = GenericProvider::header("x", http::HeaderName::from_static("x-api-key"));
        let provider = provider.origin("https://api.test").unwrap();
        let pool = Pool::builder(provider, keys(["a"]).await).open().await.unwrap();
        let client =
            ClientBuilder::new(client().build().unwrap()).with_arc(layered(&pool)).with(MadeUp).build();
        let response = client.get("https://api.test/v1").send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "made up");
    })
    .await;
}

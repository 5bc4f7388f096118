//! The middleware for our own layers does the same as the one for any stack.

#![cfg(feature = "reqwest-middleware")]

use std::sync::Arc;

use http::Extensions;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use tower_credentials::reqwest_client::CredentialsMiddleware;
use tower_credentials::standing::Scope;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{Attempt, Credential, CredentialsLayer, Error, NextReady, Pin, PoolKey, Secret};

use crate::reqwest_rig::*;
use crate::support::{Canned, Journal, Upstream, keys, seconds};

/// An inner middleware that records the extensions that it finds, and adds one.
struct Further(Journal<String>);

#[derive(Clone, Debug, PartialEq)]
struct Left(usize);

#[async_trait::async_trait]
impl Middleware for Further {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let label = extensions.get::<Attempt>().and_then(Attempt::lease);
        let label = label.map(|lease| lease.credential().label.to_string());
        let left = extensions.get::<Left>().cloned();
        self.0.push(format!("{label:?} {left:?}"));
        extensions.insert(Left(self.0.all().len()));
        next.run(request, extensions).await
    }
}

/// A client with this middleware, and what the inner one records.
fn watched(middleware: Arc<dyn Middleware>) -> (ClientWithMiddleware, Journal<String>) {
    let found = Journal::new();
    let client = ClientBuilder::new(client().build().unwrap());
    (client.with_arc(middleware).with(Further(found.clone())).build(), found)
}

fn label(extensions: &Extensions) -> String {
    let attempt = extensions.get::<Attempt>().expect("an attempt");
    attempt.lease().expect("a lease").credential().label.to_string()
}

#[tokio::test]
async fn the_caller_finds_the_extensions_of_the_last_attempt_and_may_use_them_again() {
    each_middleware(async |layered| {
        let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
        let site = Site::of(&upstream).await;
        let pool = site.builder(keys(["a", "b"]).await).expose_attempts(true).open().await.unwrap();
        let (client, found) = watched(layered(&pool));
        let mut extensions = Extensions::new();
        extensions.insert(7_u32);

        for number in [2, 1] {
            let response =
                client.execute_with_extensions(site.post("hi"), &mut extensions).await.unwrap();
            assert_eq!(response.text().await.unwrap(), "b");
            assert_eq!(label(&extensions), "b");
            assert_eq!(extensions.get::<Attempt>().unwrap().number(), number, "each begins again");
            assert_eq!(extensions.get(), Some(&7_u32));
        }

        // The second attempt does not see what the first one added.
        let a = r#"Some("a") None"#;
        let b = r#"Some("b") None"#;
        assert_eq!(found.all(), [a, b, r#"Some("b") Some(Left(2))"#]);
        assert_eq!(extensions.get(), Some(&Left(3)));
    })
    .await;
}

#[tokio::test]
async fn without_exposed_attempts_the_extensions_stay_unchanged() {
    let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
    let site = Site::of(&upstream).await;
    let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
    let client = ClientBuilder::new(client().build().unwrap())
        .with(CredentialsMiddleware::new(CredentialsLayer::new(pool)))
        .build();
    let mut extensions = Extensions::new();
    client.execute_with_extensions(site.post("hi"), &mut extensions).await.unwrap();
    assert!(extensions.is_empty());
}

#[tokio::test]
async fn options_reach_the_layers_from_the_request_and_from_the_middlewares_extensions() {
    each_middleware(async |layered| {
        let upstream = Upstream::new();
        let site = Site::of(&upstream).await;
        let pool = site.builder(keys(["a", "b", "c"]).await).open().await.unwrap();
        let client = ClientBuilder::new(client().build().unwrap()).with_arc(layered(&pool)).build();
        let own = |pin: &str| {
            let request = http::Request::post(site.url().as_str()).extension(Pin::label(pin));
            reqwest::Request::try_from(request.body("hi").unwrap()).unwrap()
        };

        client.execute(own("b")).await.unwrap();
        client.post(site.url()).with_extension(Pin::label("c")).send().await.unwrap();
        // The request's own options win.
        let mut extensions = Extensions::new();
        extensions.insert(Pin::label("c"));
        client.execute_with_extensions(own("b"), &mut extensions).await.unwrap();
        let scoped = client.post(site.url()).with_extension(Scope::new("large"));
        assert_eq!(scoped.send().await.unwrap().text().await.unwrap(), "a");

        assert_eq!(upstream.tokens(), ["b", "c", "b", "a"]);
    })
    .await;
}

#[tokio::test]
async fn the_last_response_of_an_exhausted_pool_says_when_to_come_back() {
    each_middleware(async |layered| {
        let limited = || [Canned::limited(30).body("slow down")];
        let upstream = Upstream::new().answers("a", limited()).answers("b", limited());
        let site = Site::of(&upstream).await;
        let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
        let client = ClientBuilder::new(client().build().unwrap()).with_arc(layered(&pool)).build();
        let response = client.post(site.url()).body("hi").send().await.unwrap();
        assert!(response.extensions().get::<NextReady>().is_some());
        assert_eq!(*response.url(), site.url());
        assert_eq!(response.text().await.unwrap(), "slow down");
    })
    .await;
}

/// Records the parts of a request that only reqwest sees.
struct Inside(Journal<(usize, Option<std::time::Duration>, http::Version)>);

#[async_trait::async_trait]
impl Middleware for Inside {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let timeout = request.timeout().copied();
        let other = http::Request::try_from(request.try_clone().unwrap()).unwrap();
        let count = other.extensions().get::<&'static str>().into_iter().count()
            + other.extensions().get::<u32>().into_iter().count();
        self.0.push((count, timeout, request.version()));
        next.run(request, extensions).await
    }
}

#[tokio::test]
async fn each_attempt_is_the_callers_request_with_its_timeout_and_its_own_extensions() {
    each_middleware(async |layered| {
        let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
        let site = Site::of(&upstream).await;
        let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
        let seen = Journal::new();
        let client = ClientBuilder::new(client().build().unwrap())
            .with_arc(layered(&pool))
            .with(Inside(seen.clone()))
            .build();
        let timeout = Some(seconds(50));
        let mut timed = site.post("hi");
        *timed.timeout_mut() = timeout;
        let marked = http::Request::post(site.url().as_str()).extension("mine");
        let mut marked = reqwest::Request::try_from(marked.body("hi").unwrap()).unwrap();
        *marked.timeout_mut() = timeout;

        let response = client.execute(timed).await.unwrap();
        assert_eq!(response.text().await.unwrap(), "b");
        client.execute(marked).await.unwrap();
        client.post(site.url()).send().await.unwrap();

        let version = http::Version::HTTP_11;
        let (timed, marked, plain) = ((0, timeout, version), (1, timeout, version), (0, None, version));
        assert_eq!(seen.all(), [timed, timed, marked, plain]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_leaves_the_extensions_as_they_were() {
    each_middleware(async |layered| {
        let hangs = Canned::ok().after_time(seconds(3600));
        let upstream = Upstream::new()
            .answers("a", [Canned::limited(30)])
            .answers("b", [hangs, Canned::ok().body("at last")]);
        let site = Site::of(&upstream).await;
        let pool = site.builder(keys(["a", "b"]).await).expose_attempts(true).open().await.unwrap();
        let (client, _) = watched(layered(&pool));
        let mut extensions = Extensions::new();

        let asking = client.execute_with_extensions(site.post("hi"), &mut extensions);
        tokio::time::timeout(seconds(5), asking).await.unwrap_err();

        assert!(extensions.get::<Attempt>().is_none());
        assert!(extensions.get::<Left>().is_none());
        assert_eq!(upstream.tokens(), ["a", "b"]);
        let response = client.execute_with_extensions(site.post("hi"), &mut extensions).await.unwrap();
        assert_eq!(response.text().await.unwrap(), "at last");
        assert_eq!(upstream.tokens(), ["a", "b", "b"], "the cooldown stays");
    })
    .await;
}

#[tokio::test]
async fn requests_at_once_each_get_their_own_response() {
    each_middleware(async |layered| {
        let site = Site::start(|request: http::Request<hyper::body::Incoming>| async move {
            http::Response::new(body_of(request.into_body()))
        })
        .await;
        let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
        let client = ClientBuilder::new(client().build().unwrap()).with_arc(layered(&pool)).build();
        let mut asking = tokio::task::JoinSet::new();
        for number in 0..50 {
            let request = client.post(site.url()).body(number.to_string());
            asking.spawn(async move {
                let response = request.send().await.unwrap().text().await.unwrap();
                assert_eq!(response, number.to_string());
            });
        }
        asking.join_all().await;
    })
    .await;
}

#[tokio::test]
async fn middlewares_of_one_pool_work_together_and_of_two_pools_apart() {
    each_middleware(async |layered| {
        let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
        let site = Site::of(&upstream).await;
        let pool = async |labels| site.builder(keys(labels).await).open().await.unwrap();
        let (one, other) = (pool(["a", "b"]).await, pool(["c", "d"]).await);
        let plain = client().build().unwrap();

        let client =
            ClientBuilder::new(plain.clone()).with_arc(layered(&one)).with_arc(layered(&one)).build();
        let response = client.post(site.url()).body("hi").send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "b");
        assert_eq!(upstream.tokens(), ["a", "b"]);

        let client = ClientBuilder::new(plain).with_arc(layered(&one)).with_arc(layered(&other)).build();
        let response = client.post(site.url()).body("hi").send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "c", "the one further in writes last");
    })
    .await;
}

#[tokio::test]
async fn an_error_of_the_inner_middleware_is_returned_unchanged() {
    #[derive(Debug)]
    struct Planned;
    impl std::fmt::Display for Planned {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("as planned")
        }
    }
    impl std::error::Error for Planned {}
    struct Fails;
    #[async_trait::async_trait]
    impl Middleware for Fails {
        async fn handle(
            &self,
            _: reqwest::Request,
            extensions: &mut Extensions,
            _: Next<'_>,
        ) -> reqwest_middleware::Result<reqwest::Response> {
            extensions.insert(Left(1));
            Err(reqwest_middleware::Error::middleware(Planned))
        }
    }
    each_middleware(async |layered| {
        let upstream = Upstream::new();
        let site = Site::of(&upstream).await;
        let pool = site.builder(keys(["a"]).await).open().await.unwrap();
        let client =
            ClientBuilder::new(client().build().unwrap()).with_arc(layered(&pool)).with(Fails).build();
        let mut extensions = Extensions::new();

        let error = client.execute_with_extensions(site.post("hi"), &mut extensions).await.unwrap_err();

        let reqwest_middleware::Error::Middleware(error) = error else { panic!("{error:?}") };
        assert!(error.is::<Planned>(), "{error:?}");
        assert_eq!(extensions.get(), Some(&Left(1)), "an attempt that has failed is over as well");

        let client = ClientBuilder::new(crate::reqwest_rig::client().build().unwrap())
            .with_arc(layered(&pool))
            .build();
        let error = client.get("https://evil.test/v1").send().await.unwrap_err();
        let reqwest_middleware::Error::Middleware(error) = error else { panic!("{error:?}") };
        assert!(matches!(error.downcast_ref(), Some(Error::UntrustedOrigin { .. })), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn the_middleware_can_be_cloned_shared_and_debugged() {
    fn is_shared(_: &(impl Middleware + Clone + std::fmt::Debug)) {}
    let upstream = Upstream::new();
    let site = Site::of(&upstream).await;
    let vault = MemoryVault::new();
    let account = Credential::new(PoolKey::new("x"), "work", Secret::api_key("planted"));
    vault.put(account).await.unwrap();
    let pool = site.builder(vault).open().await.unwrap();
    let middleware = CredentialsMiddleware::new(CredentialsLayer::new(pool));
    is_shared(&middleware);
    assert!(!format!("{middleware:?} {middleware:#?}").contains("planted"));
    // Two clients of one pool.
    let middleware: Arc<dyn Middleware> = Arc::new(middleware.clone());
    for _ in 0..2 {
        let client = ClientBuilder::new(client().build().unwrap()).with_arc(middleware.clone()).build();
        let response = client.post(site.url()).body("hi").send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "planted");
    }
}

#[tokio::test]
async fn a_stream_is_sent_once_and_the_next_request_takes_the_next_account() {
    each_middleware(async |layered| {
        let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
        let site = Site::of(&upstream).await;
        let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
        let client = ClientBuilder::new(client().build().unwrap()).with_arc(layered(&pool)).build();
        let streamed = reqwest::Body::wrap(String::from("streamed"));
        let response = client.post(site.url()).body(streamed).send().await.unwrap();
        assert_eq!(response.status(), 429);
        let response = client.post(site.url()).body("whole").send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "b");
        assert_eq!(upstream.tokens(), ["a", "b"]);
    })
    .await;
}

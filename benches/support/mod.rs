//! The request, the upstream, the pools and the stacks of the benches and of the allocation test.

#![allow(dead_code, reason = "each of them uses a part of it")]

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, poll_fn, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use tower::retry::{Policy, RetryLayer};
use tower::util::MapRequestLayer;
use tower::{Layer, Service, ServiceBuilder};
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::{MemoryVault, Vault, VaultExt};
use tower_credentials::{
    AuthHeaderLayer, CooldownPersistLayer, Cooldowns, Credential, CredentialsLayer, NetworkRetry,
    OAuthTokens, Pool, PoolBuilder, PoolKey, RefreshError, RefreshOn401Layer, Refresher,
    RotateOn429Layer, Secret,
};
use tower_http::auth::AddAuthorizationLayer;

pub(crate) type Body = Full<Bytes>;

/// A client's stack.
pub(crate) trait Stack:
    Service<Request<Body>, Response = Response<Body>, Error: fmt::Debug, Future: Send> + Clone
{
}

impl<S> Stack for S where
    S: Service<Request<Body>, Response = Response<Body>, Error: fmt::Debug, Future: Send> + Clone
{
}

/// A client or a stack that a bench sends requests through.
pub(crate) trait Client {
    type Request: 'static;

    /// The request that is cloned for each sending.
    fn template() -> Self::Request;

    /// Sends a clone, and drops the response's body.
    fn send(&mut self, template: &Self::Request) -> impl Future<Output = StatusCode>;
}

impl<S: Stack> Client for S {
    type Request = Request<Body>;

    fn template() -> Request<Body> {
        template()
    }

    async fn send(&mut self, template: &Request<Body>) -> StatusCode {
        black_box(send(self, template.clone()).await).status()
    }
}

/// The request that is cloned for each sending: POST, eight headers, 2 KiB.
///
/// All clones share the values and the body, as in a client that keeps a template.
pub(crate) fn template() -> Request<Body> {
    let headers = [
        ("accept", "application/json"),
        ("accept-encoding", "gzip, br"),
        ("anthropic-beta", "prompt-caching-2024-07-31,token-counting-2024-11-01"),
        ("anthropic-version", "2023-06-01"),
        ("content-type", "application/json"),
        ("user-agent", "example-client/1.2.3 (linux; x86_64)"),
        ("x-request-id", "5f0f2ad7-6f5c-4c2f-9f0e-0d3a4b1c2d3e"),
        ("x-session-id", "conversation-0123456789abcdef"),
    ];
    let mut request = Request::post("https://api.example.com/v1/messages")
        .body(Full::new(Bytes::from(vec![b'x'; 2048])))
        .expect("a request");
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("a header's value");
        request.headers_mut().insert(HeaderName::from_static(name), value);
    }
    // The first clone of fresh bytes makes them shared, at the cost of an allocation for each.
    drop(request.clone());
    request
}

/// The headers of an API's good response: six, three of them about limits.
pub(crate) fn response_headers() -> HeaderMap {
    let headers = [
        ("content-type", "application/json"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("request-id", "req_011CSHoEeqs5C35K2UUqR7Fy"),
        ("anthropic-ratelimit-requests-limit", "4000"),
        ("anthropic-ratelimit-requests-remaining", "3999"),
        ("anthropic-ratelimit-requests-reset", "1994-11-06T08:50:37Z"),
    ];
    headers
        .into_iter()
        .map(|(name, value)| {
            let value = HeaderValue::from_str(value).expect("a header's value");
            (HeaderName::from_static(name), value)
        })
        .collect()
}

/// The service at the end: it answers at once, from memory.
#[derive(Clone, Default)]
pub(crate) struct Upstream {
    /// How many requests it has answered, if every other one is limited, beginning with the first.
    limited: Option<Arc<AtomicU64>>,
    headers: Option<Arc<HeaderMap>>,
    seen: Option<Arc<Mutex<Vec<HeaderValue>>>>,
}

impl Upstream {
    /// Always 200, without headers.
    pub(crate) fn good() -> Self {
        Self::default()
    }

    /// 429 and 200 in turn, without headers and so without `Retry-After`.
    pub(crate) fn limited_first() -> Self {
        Self { limited: Some(Arc::default()), ..Self::default() }
    }

    /// Adds the headers of an API's response.
    pub(crate) fn with_headers(mut self) -> Self {
        let headers = response_headers();
        drop(headers.clone());
        self.headers = Some(Arc::new(headers));
        self
    }

    /// Records the credential of each request.
    pub(crate) fn recording(mut self) -> Self {
        self.seen = Some(Arc::default());
        self
    }

    /// Returns the credentials of the requests since the last call.
    pub(crate) fn seen(&self) -> Vec<HeaderValue> {
        let seen = self.seen.as_ref().expect("a recording upstream");
        std::mem::take(&mut *seen.lock().expect("no panic"))
    }

    /// How many requests it has answered, if it limits some.
    pub(crate) fn answered(&self) -> Option<u64> {
        self.limited.as_ref().map(|answered| answered.load(Ordering::Relaxed))
    }
}

impl Service<Request<Body>> for Upstream {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if let Some(seen) = &self.seen {
            let credential = request.headers().get(header::AUTHORIZATION).cloned();
            seen.lock().expect("no panic").extend(credential);
        }
        black_box(&request);
        let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
        if let Some(answered) = &self.limited
            && answered.fetch_add(1, Ordering::Relaxed) % 2 == 0
        {
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        }
        if let Some(headers) = &self.headers {
            *response.headers_mut() = HeaderMap::clone(headers);
        }
        ready(Ok(response))
    }
}

/// Sends one request, as a caller who keeps the service does.
pub(crate) async fn send<S: Stack>(service: &mut S, request: Request<Body>) -> Response<Body> {
    poll_fn(|cx| service.poll_ready(cx)).await.expect("a service that is ready");
    service.call(request).await.expect("a response")
}

/// The result of a future that is ready at once.
pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future had to wait"),
    }
}

/// A pool of OAuth accounts with refresh tokens, in a vault in memory. A limited account is ready again
/// at once.
pub(crate) fn accounts(count: usize) -> Pool {
    at_once(accounts_in(MemoryVault::new(), count))
}

/// The same in a vault that has no accounts yet.
pub(crate) async fn accounts_in(vault: impl Vault, count: usize) -> Pool {
    let secret = |number| {
        let tokens = OAuthTokens::new(access_token(number));
        tokens.refresh(format!("refresh-{number}")).into()
    };
    pool(vault, (0..count).map(secret)).await
}

pub(crate) fn access_token(number: usize) -> String {
    format!("access-{number}-0123456789abcdef0123456789abcdef")
}

/// A pool of one API key.
pub(crate) fn one_key() -> Pool {
    at_once(pool(MemoryVault::new(), [Secret::api_key("sk-0123456789abcdef0123456789abcdef")]))
}

async fn pool(vault: impl Vault, secrets: impl IntoIterator<Item = Secret>) -> Pool {
    for (number, secret) in secrets.into_iter().enumerate() {
        let credential = Credential::new(key(), format!("account {number}"), secret);
        vault.put(credential).await.expect("a vault that stores");
    }
    let at_once_again = Cooldowns::default().limited(Duration::ZERO);
    builder(vault).cooldowns(at_once_again).open().await.expect("a pool")
}

pub(crate) fn key() -> PoolKey {
    PoolKey::new("example")
}

pub(crate) fn builder(vault: impl Vault) -> PoolBuilder {
    let provider = GenericProvider::bearer("example").origin("https://api.example.com");
    Pool::builder(provider.expect("an origin"), vault)
}

fn refresher() -> Refresher {
    Refresher::new(|_| async { Err::<Secret, _>(RefreshError::rejected("nothing here is refused")) })
}

/// The minimum for one header: tower-http's layer for one token, alone.
pub(crate) fn add_authorization(upstream: Upstream) -> impl Stack + Send + use<> {
    AddAuthorizationLayer::bearer("access-0123456789abcdef0123456789abcdef").layer(upstream)
}

/// A user's own stack: one token, and a second try after a 429.
pub(crate) fn hand_made(upstream: Upstream) -> impl Stack + Send + use<> {
    ServiceBuilder::new()
        .layer(RetryLayer::new(OnceMore::new()))
        .layer(AddAuthorizationLayer::bearer("access-0123456789abcdef0123456789abcdef"))
        .service(upstream)
}

/// Keeps a clone of each request, and sends it after a 429, once.
#[derive(Clone)]
pub(crate) struct OnceMore {
    left: bool,
}

impl OnceMore {
    pub(crate) fn new() -> Self {
        Self { left: true }
    }
}

impl<R, E> Policy<Request<Body>, Response<R>, E> for OnceMore {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<Body>,
        result: &mut Result<Response<R>, E>,
    ) -> Option<Ready<()>> {
        let is_limited =
            matches!(result, Ok(response) if response.status() == StatusCode::TOO_MANY_REQUESTS);
        (is_limited && std::mem::take(&mut self.left)).then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(request.clone())
    }
}

/// The four layers in the recommended order.
pub(crate) fn four_layers(pool: &Pool, upstream: Upstream) -> impl Stack + Send + use<> {
    ServiceBuilder::new()
        .layer(RotateOn429Layer::new(pool.clone()))
        .layer(RefreshOn401Layer::new(pool.clone(), refresher()))
        .layer(AuthHeaderLayer::new(pool.clone()))
        .layer(CooldownPersistLayer::new(pool.clone()))
        .service(upstream)
}

/// The four layers without a repeat after a network error: with a single API key, no request is
/// ever sent twice.
pub(crate) fn four_layers_once(pool: &Pool, upstream: Upstream) -> impl Stack + Send + use<> {
    let never = NetworkRetry::default().times(0);
    ServiceBuilder::new()
        .layer(RotateOn429Layer::new(pool.clone()).network(never))
        .layer(RefreshOn401Layer::new(pool.clone(), refresher()))
        .layer(AuthHeaderLayer::new(pool.clone()))
        .layer(CooldownPersistLayer::new(pool.clone()))
        .service(upstream)
}

/// The four layers with a user's own between each two, so that the context travels in the extensions.
pub(crate) fn four_layers_apart(pool: &Pool, upstream: Upstream) -> impl Stack + Send + use<> {
    let own = || MapRequestLayer::new(|request: Request<Body>| request);
    ServiceBuilder::new()
        .layer(RotateOn429Layer::new(pool.clone()))
        .layer(own())
        .layer(RefreshOn401Layer::new(pool.clone(), refresher()))
        .layer(own())
        .layer(AuthHeaderLayer::new(pool.clone()))
        .layer(own())
        .layer(CooldownPersistLayer::new(pool.clone()))
        .service(upstream)
}

/// The layers without the one that saves.
pub(crate) fn three_layers(pool: &Pool, upstream: Upstream) -> impl Stack + Send + use<> {
    ServiceBuilder::new()
        .layer(RotateOn429Layer::new(pool.clone()))
        .layer(RefreshOn401Layer::new(pool.clone(), refresher()))
        .layer(AuthHeaderLayer::new(pool.clone()))
        .service(upstream)
}

/// All four layers as one.
pub(crate) fn one_layer(pool: &Pool, upstream: Upstream) -> impl Stack + Send + use<> {
    CredentialsLayer::new(pool.clone()).refresher(refresher()).layer(upstream)
}

/// As [`one_layer`], without a repeat after a network error.
pub(crate) fn one_layer_once(pool: &Pool, upstream: Upstream) -> impl Stack + Send + use<> {
    let layer = CredentialsLayer::new(pool.clone()).refresher(refresher());
    layer.rotate(|rotate| rotate.network(NetworkRetry::default().times(0))).layer(upstream)
}

/// The layer that applies a credential, alone.
pub(crate) fn auth_header(pool: &Pool, upstream: Upstream) -> impl Stack + Send + use<> {
    AuthHeaderLayer::new(pool.clone()).layer(upstream)
}

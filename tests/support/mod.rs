//! Test support: an upstream that follows a script, over sockets or in memory, a vault that follows a plan, and clocks.
#![allow(dead_code, reason = "each file of tests uses a part")]

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt};
use tower_credentials::events::Event;
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::Standing;
use tower_credentials::vault::{MemoryVault, VaultError, VaultExt, VaultRequest, VaultResponse};
use tower_credentials::{
    AuthHeaderLayer, BoxError, Clock, CooldownPersistLayer, Cooldowns, Credential, CredentialsLayer,
    Metadata, OAuthTokens, Pool, PoolBuilder, PoolKey, RefreshError, RefreshOn401Layer, Refresher,
    RotateOn429Layer, Secret,
};

pub(crate) const ORIGIN: &str = "https://api.test";

pub(crate) type Asked = Request<Full<Bytes>>;
pub(crate) type Reply = Response<Full<Bytes>>;
pub(crate) type Stack<R = Full<Bytes>> = BoxCloneSyncService<Asked, Response<R>, BoxError>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A growing list; a test can wait for its entries.
#[derive(Clone)]
pub(crate) struct Journal<T>(Arc<watch::Sender<Vec<T>>>);

impl<T: Clone> Journal<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Vec::new())))
    }

    pub(crate) fn push(&self, item: T) {
        self.0.send_modify(|items| items.push(item));
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.borrow().clone()
    }

    pub(crate) async fn until(&self, done: impl Fn(&[T]) -> bool) {
        let mut items = self.0.subscribe();
        let waited = tokio::time::timeout(seconds(60), items.wait_for(|items| done(items))).await;
        waited.expect("the expected entries did not come").unwrap();
    }

    pub(crate) async fn reaches(&self, length: usize) {
        self.until(|items| items.len() >= length).await;
    }
}

impl Journal<String> {
    /// Counts the entries with this prefix: for events, how often one of this name happened.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.0.borrow().iter().filter(|entry| entry.starts_with(name)).count()
    }

    pub(crate) async fn has(&self, name: &str) {
        self.until(|entries| entries.iter().any(|entry| entry.starts_with(name))).await;
    }

    pub(crate) fn observer(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let journal = self.clone();
        move |event| journal.push(format!("{:?}", event.kind))
    }
}

/// A scripted response.
#[derive(Clone)]
pub(crate) struct Canned {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    error: Option<io::ErrorKind>,
    before: Option<Arc<dyn Fn() -> BoxFuture<()> + Send + Sync>>,
}

impl Canned {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            error: None,
            before: None,
        }
    }

    pub(crate) fn ok() -> Self {
        Self::status(200)
    }

    /// A 429 that says how many seconds to wait.
    pub(crate) fn limited(seconds: u64) -> Self {
        Self::status(429).header("retry-after", &seconds.to_string())
    }

    /// An error instead of a response; over sockets, a connection that is closed after the request was read.
    pub(crate) fn fails(kind: io::ErrorKind) -> Self {
        Self { error: Some(kind), ..Self::ok() }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        self
    }

    pub(crate) fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Sent only after this future.
    pub(crate) fn after<F>(mut self, wait: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.before = Some(Arc::new(move || Box::pin(wait())));
        self
    }

    pub(crate) fn after_time(self, time: Duration) -> Self {
        self.after(move || tokio::time::sleep(time))
    }
}

/// A request that the upstream has seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) token: String,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An upstream that follows a script. Each token has its responses, the last of which repeats; a token without any
/// gets a 200 with the token in its body.
#[derive(Clone)]
pub(crate) struct Upstream {
    scripts: Arc<Mutex<HashMap<String, VecDeque<Canned>>>>,
    pub(crate) seen: Journal<Seen>,
}

impl Upstream {
    pub(crate) fn new() -> Self {
        Self { scripts: Arc::default(), seen: Journal::new() }
    }

    pub(crate) fn answers(self, token: &str, responses: impl IntoIterator<Item = Canned>) -> Self {
        self.set(token, responses);
        self
    }

    /// Replaces a token's script.
    pub(crate) fn set(&self, token: &str, responses: impl IntoIterator<Item = Canned>) {
        self.scripts.lock().unwrap().insert(token.to_owned(), responses.into_iter().collect());
    }

    /// Returns the tokens it has seen, in order.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.seen.all().into_iter().map(|seen| seen.token).collect()
    }

    pub(crate) fn count(&self, token: &str) -> usize {
        self.tokens().iter().filter(|seen| *seen == token).count()
    }

    fn next(&self, token: &str) -> Canned {
        let mut scripts = self.scripts.lock().unwrap();
        match scripts.get_mut(token) {
            Some(script) if script.len() > 1 => script.pop_front().unwrap(),
            Some(script) => script.front().unwrap().clone(),
            None => Canned::ok().body(token.to_owned()),
        }
    }
}

fn token(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    match text("authorization") {
        Some(text) => text.trim_start_matches("Bearer ").to_owned(),
        None => text("x-api-key").unwrap_or_default(),
    }
}

impl<B> Service<Request<B>> for Upstream
where
    B: Body<Data = Bytes, Error: Debug> + Send + 'static,
{
    type Response = Reply;
    type Error = BoxError;
    type Future = BoxFuture<Result<Reply, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let token = token(&parts.headers);
            let canned = this.next(&token);
            let (method, uri, headers) = (parts.method, parts.uri, parts.headers);
            this.seen.push(Seen { token, method, uri, headers, body });
            if let Some(before) = &canned.before {
                before().await;
            }
            if let Some(kind) = canned.error {
                return Err(io::Error::from(kind).into());
            }
            let mut response = Response::new(Full::new(canned.body));
            *response.status_mut() = canned.status;
            *response.headers_mut() = canned.headers;
            Ok(response)
        })
    }
}

/// An upstream on a loopback socket.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) async fn start(upstream: &Upstream) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (upstream, count) = (upstream.clone(), connections.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let service = TowerToHyperService::new(upstream.clone());
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self { address, connections }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn post(&self) -> Asked {
        Request::post(format!("{}/v1/messages", self.origin())).body(Full::from("a question")).unwrap()
    }

    pub(crate) fn builder<V: tower_credentials::vault::Vault>(&self, vault: V) -> PoolBuilder {
        Pool::builder(GenericProvider::bearer("x").origin(&self.origin()).unwrap(), vault)
    }
}

pub(crate) fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

pub(crate) fn post() -> Asked {
    Request::post(format!("{ORIGIN}/v1/messages")).body(Full::from("a question")).unwrap()
}

pub(crate) fn key() -> PoolKey {
    PoolKey::new("x")
}

/// A vault with an API key for each label. The label is also the key.
pub(crate) async fn keys<const N: usize>(labels: [&str; N]) -> MemoryVault {
    let vault = MemoryVault::new();
    for label in labels {
        vault.put(Credential::new(key(), label, Secret::api_key(label))).await.unwrap();
    }
    vault
}

/// A vault with an OAuth account for each label; the access token is `LABEL-1`.
pub(crate) async fn accounts<const N: usize>(labels: [&str; N]) -> MemoryVault {
    let vault = MemoryVault::new();
    for label in labels {
        vault.put(account(label)).await.unwrap();
    }
    vault
}

/// A vault with the OAuth accounts `a`, whose token `a-1` has expired, and `b`.
pub(crate) async fn with_an_expired_one(clock: &Clock) -> MemoryVault {
    let vault = MemoryVault::new();
    let tokens = OAuthTokens::new("a-1").refresh("refresh-a").expires_at(clock.now());
    vault.put(Credential::new(key(), "a", tokens)).await.unwrap();
    vault.put(account("b")).await.unwrap();
    vault
}

pub(crate) fn account(label: &str) -> Credential {
    let tokens = OAuthTokens::new(format!("{label}-1")).refresh(format!("refresh-{label}"));
    Credential::new(key(), label, tokens)
}

pub(crate) fn builder<V: tower_credentials::vault::Vault>(vault: V) -> PoolBuilder {
    let provider = GenericProvider::bearer("x").origin(ORIGIN).unwrap();
    Pool::builder(provider, vault).cooldowns(exact())
}

/// Cooldowns that keep to stated times exactly.
pub(crate) fn exact() -> Cooldowns {
    Cooldowns::default().spread(0.0)
}

/// A refresher that renews to `LABEL-N`, with N the new generation, and records the label.
pub(crate) fn renewing(calls: &Journal<String>) -> Refresher {
    let calls = calls.clone();
    Refresher::new(move |credential: Credential| {
        calls.push(credential.metadata.label.to_string());
        async move { Ok::<_, RefreshError>(renewed(&credential.metadata)) }
    })
}

pub(crate) fn renewed(metadata: &Metadata) -> Secret {
    let access = format!("{}-{}", metadata.label, metadata.generation.next());
    OAuthTokens::new(access).refresh(format!("refresh-{}", metadata.label)).into()
}

pub(crate) fn no_refresh() -> Refresher {
    Refresher::new(|_| async { Err::<Secret, _>(RefreshError::rejected("revoked")) })
}

pub(crate) type Four = (RotateOn429Layer, RefreshOn401Layer, AuthHeaderLayer, CooldownPersistLayer);

/// The four layers in the recommended order.
pub(crate) fn four(pool: &Pool, refresher: &Refresher) -> Four {
    (
        RotateOn429Layer::new(pool.clone()),
        RefreshOn401Layer::new(pool.clone(), refresher.clone()),
        AuthHeaderLayer::new(pool.clone()),
        CooldownPersistLayer::new(pool.clone()),
    )
}

/// A service with these layers, boxed.
pub(crate) fn stack<L, S, R>(layers: L, inner: S) -> Stack<R>
where
    L: Layer<S>,
    L::Service: Service<Asked, Response = Response<R>, Error: Into<BoxError>, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
{
    BoxCloneSyncService::new(layers.layer(inner).map_err(Into::into))
}

/// The four layers with one of the user's among them: 0 is above them all, 4 below them. Both sides are boxed, which
/// keeps the types, and so the compile time, small.
pub(crate) fn between<L>(
    place: usize,
    (rotate, refresh, auth, persist): Four,
    users: L,
    to: Stack,
) -> Stack
where
    L: Layer<Stack>,
    L::Service: Service<Asked, Response = Reply, Error: Into<BoxError>, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
{
    match place {
        0 => stack(users, stack((rotate, refresh, auth, persist), to)),
        1 => stack(rotate, stack(users, stack((refresh, auth, persist), to))),
        2 => stack((rotate, refresh), stack(users, stack((auth, persist), to))),
        3 => stack((rotate, refresh, auth), stack(users, stack(persist, to))),
        _ => stack((rotate, refresh, auth, persist), stack(users, to)),
    }
}

/// The upstream as a boxed service.
pub(crate) fn boxed(upstream: &Upstream) -> Stack {
    stack((), upstream.clone())
}

/// The required methods of a provider, by the [`GenericProvider`] in its first field.
#[allow(unused_macros, reason = "each test binary uses a part of it")]
macro_rules! as_the_generic_one {
    () => {
        fn name(&self) -> &str {
            self.0.name()
        }

        fn trusts(&self, uri: &http::Uri) -> bool {
            self.0.trusts(uri)
        }

        fn headers(
            &self,
            credential: &tower_credentials::Credential,
        ) -> Result<
            tower_credentials::provider::CredentialHeaders,
            tower_credentials::provider::UnusableSecret,
        > {
            self.0.headers(credential)
        }

        fn header_names(&self) -> &[http::HeaderName] {
            self.0.header_names()
        }
    };
}
#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use as_the_generic_one;

/// The four layers in several orders, with and without a layer of the user's in between, and as one.
pub(crate) const STACKS: [fn(&Pool, Stack) -> Stack; 4] = [
    |pool, inner| stack(four(pool, &no_refresh()), inner),
    |pool, inner| {
        let (rotate, refresh, auth, persist) = four(pool, &no_refresh());
        stack((auth, persist, refresh, rotate), inner)
    },
    |pool, inner| {
        // A layer of the user's in between makes the context travel in the extensions.
        let (rotate, refresh, auth, persist) = four(pool, &no_refresh());
        let nothing = tower::util::MapRequestLayer::new(|request: Asked| request);
        stack((refresh, auth, nothing.clone(), rotate, nothing, persist), inner)
    },
    |pool, inner| stack(CredentialsLayer::new(pool.clone()), inner),
];

/// The same stacks above an upstream.
pub(crate) const ORDERS: [fn(&Pool, Upstream) -> Stack; 4] = [
    |pool, upstream| STACKS[0](pool, boxed(&upstream)),
    |pool, upstream| STACKS[1](pool, boxed(&upstream)),
    |pool, upstream| STACKS[2](pool, boxed(&upstream)),
    |pool, upstream| STACKS[3](pool, boxed(&upstream)),
];

/// Sends a request. Returns the status and text of the response.
pub(crate) fn ask<R>(
    service: &Stack<R>,
    request: Asked,
) -> impl Future<Output = (u16, String)> + Send + use<R>
where
    R: Body<Data: Send, Error: Debug> + Send + 'static,
{
    let response = service.clone().oneshot(request);
    async move {
        let response = response.await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

/// The labels of a pool in its order.
pub(crate) fn order(pool: &Pool) -> Vec<String> {
    pool.status().iter().map(|status| status.credential.label.to_string()).collect()
}

pub(crate) fn status_of(pool: &Pool, label: &str) -> tower_credentials::CredentialStatus {
    pool.status().into_iter().find(|status| &*status.credential.label == label).unwrap()
}

/// A standing without its last response, which every request changes.
pub(crate) fn learnt(standing: &Standing) -> Standing {
    Standing { last_response: None, ..standing.clone() }
}

/// How long the credential still cools down for requests without a scope.
pub(crate) fn cools(pool: &Pool, label: &str) -> Duration {
    status_of(pool, label).ready_in(pool.now())
}

/// Asserts that the account `a` has neither a cooldown nor a failure, here and in the vault.
pub(crate) async fn is_blameless(pool: &Pool, vault: &MemoryVault, why: &str) {
    assert_eq!(cools(pool, "a"), Duration::ZERO, "{why}");
    let stored = vault.load_pool(key()).await.unwrap().standings.credentials;
    for standing in stored.values().chain([&status_of(pool, "a").standing]) {
        assert!(standing.cooldowns.is_empty() && standing.failures == 0, "{why}: {standing:?}");
    }
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A clock over tokio's, which a test can pause.
pub(crate) fn tokio_clock() -> Clock {
    let start = tokio::time::Instant::now();
    Clock::from_fn(move || UNIX_EPOCH + START + start.elapsed())
}

/// When the tests' clocks begin, since the Unix epoch.
const START: Duration = Duration::from_secs(4_000_000_000);

/// A clock that a test advances, for tests over sockets.
#[derive(Clone)]
pub(crate) struct HandClock(Arc<AtomicU64>);

impl HandClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let elapsed = self.0.clone();
        Clock::from_fn(move || {
            UNIX_EPOCH + START + Duration::from_millis(elapsed.load(Ordering::SeqCst))
        })
    }
}

/// What the vault does with a request.
#[derive(Clone)]
pub(crate) enum Plan {
    Pass,
    Fail,
    Hang,
    /// Does it now, and responds once this is notified.
    Hold(Arc<tokio::sync::Notify>),
}

/// A vault that records its requests, and follows a plan.
#[derive(Clone)]
pub(crate) struct Planned {
    inner: MemoryVault,
    pub(crate) calls: Journal<&'static str>,
    plan: Arc<dyn Fn(&'static str, usize) -> Plan + Send + Sync>,
}

impl Planned {
    /// Calls `plan` with the kind of each request, and how many of that kind there were before.
    pub(crate) fn new(
        inner: &MemoryVault,
        plan: impl Fn(&'static str, usize) -> Plan + Send + Sync + 'static,
    ) -> Self {
        Self { inner: inner.clone(), calls: Journal::new(), plan: Arc::new(plan) }
    }

    pub(crate) fn count(&self, kind: &str) -> usize {
        self.calls.all().iter().filter(|call| **call == kind).count()
    }
}

impl Service<VaultRequest> for Planned {
    type Response = VaultResponse;
    type Error = BoxError;
    type Future = BoxFuture<Result<VaultResponse, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: VaultRequest) -> Self::Future {
        let kind = match &request {
            VaultRequest::Load(_) => "load",
            VaultRequest::Get { .. } => "get",
            VaultRequest::ReplaceSecret { .. } => "replace",
            VaultRequest::Record { .. } => "record",
            VaultRequest::LeaseRefresh { .. } => "lease",
            VaultRequest::LeaseClient { .. } => "lease_client",
            VaultRequest::BeginRefresh { .. } => "begin",
            VaultRequest::Revision(_) => "revision",
            _ => "other",
        };
        let plan = (self.plan)(kind, self.count(kind));
        self.calls.push(kind);
        match plan {
            Plan::Fail => Box::pin(async { Err(VaultError::Key("as planned".into()).into()) }),
            Plan::Hang => Box::pin(std::future::pending()),
            Plan::Pass => {
                let response = self.inner.call(request);
                Box::pin(async { Ok(response.await?) })
            }
            Plan::Hold(release) => {
                let response = self.inner.call(request);
                Box::pin(async move {
                    let response = response.await?;
                    release.notified().await;
                    Ok(response)
                })
            }
        }
    }
}

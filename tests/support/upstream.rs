//! An upstream that follows a script, in memory or on a loopback socket.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Barrier, Notify, Semaphore};
use tower::Service;
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::Vault;
use tower_credentials::{BoxError, Pool, PoolBuilder};

use super::{Asked, BoxFuture, Journal, Reply, exact};

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

    /// A 429 with `retry-after` in seconds.
    pub(crate) fn limited(seconds: u64) -> Self {
        Self::status(429).header("retry-after", &seconds.to_string())
    }

    /// An error instead of a response. Over sockets, the connection is closed after the request was read.
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

    /// Sent only after a notification.
    pub(crate) fn after_notify(self, notify: &Arc<Notify>) -> Self {
        let notify = notify.clone();
        self.after(move || {
            let notify = notify.clone();
            async move { notify.notified().await }
        })
    }

    /// Sent only once the gate has a permit, which this takes.
    pub(crate) fn gated(self, gate: &Arc<Semaphore>) -> Self {
        let gate = gate.clone();
        self.after(move || {
            let gate = gate.clone();
            async move { gate.acquire().await.unwrap().forget() }
        })
    }

    /// Sent only when this many requests wait for it, to all of them at once.
    pub(crate) fn together(self, requests: usize) -> Self {
        let all = Arc::new(Barrier::new(requests));
        self.after(move || {
            let all = all.clone();
            async move {
                all.wait().await;
            }
        })
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

    pub(crate) fn builder(&self, vault: impl Vault) -> PoolBuilder {
        Pool::builder(GenericProvider::bearer("x").origin(&self.origin()).unwrap(), vault)
            .cooldowns(exact())
    }
}

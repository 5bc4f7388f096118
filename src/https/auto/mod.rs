//! A client that speaks HTTP/2 where the server does.

mod body;
mod connection;
mod error;
mod origin;
mod pool;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, TE, UPGRADE};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::connector::Connectors;
use super::{HttpsClient, HttpsFuture};
use crate::BoxError;
use pool::Pool;

pub use body::AutoBody;
pub use error::AutoError;

/// How often a connection is checked, unless the program says otherwise.
const PING: Duration = Duration::from_secs(15);

/// The bounds of what it may say.
const SHORTEST_PING: Duration = Duration::from_secs(1);
const LONGEST_PING: Duration = Duration::from_secs(24 * 3600);

/// An HTTPS client that speaks HTTP/2 with servers that offer it (ALPN, RFC 9113, section 3.2), and otherwise HTTP/1.1, over
/// the connections of an [`HttpsClient`], whose proxies and certificates it has.
///
/// - **Streams**: hyper-util's client has one connection to each origin, and more requests than the server takes on it wait
///   for others to end. This client opens further connections then. A request counts until its response's body has ended or
///   is dropped. A connection has 100 requests at once at most, even if the server takes more.
/// - **Lost connections**: each is checked with a [ping](Self::with_ping), while it is idle, too. One that is lost in silence is
///   given up, and the next requests have another.
/// - **Slow readers**: a response that nobody reads holds up no other response of its connection: the window of the connection
///   is as large as those of all streams together.
/// - **Requests that were not processed**, because their connection has ended just then (GOAWAY, RFC 9113, section 6.8), are
///   sent on another one, unless it has begun to send their body. After that, [`is_connect_error`](crate::is_connect_error)
///   says which can be sent again.
///
/// Upgrades, such as WebSockets, and plain HTTP go by HTTP/1.1. What is for one connection only is left out of a request that
/// goes by HTTP/2 (RFC 9113, section 8.2.2). A server that has not offered HTTP/2 is asked again after an hour.
///
/// ```no_run
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Full;
/// use tower::ServiceExt;
/// use tower_credentials::https::AutoClient;
///
/// # async fn run() -> Result<(), tower_credentials::BoxError> {
/// let client = AutoClient::new()?;
/// let request = Request::get("https://api.example.com/").body(Full::<Bytes>::default())?;
/// println!("{}", client.oneshot(request).await?.status());
/// # Ok(())
/// # }
/// ```
pub struct AutoClient<B = Full<Bytes>> {
    http1: HttpsClient<B>,
    /// `None` if HTTP/1.1 is spoken only.
    http2: Option<Arc<Pool<B>>>,
}

impl<B> AutoClient<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// Creates a client without a connection. The environment's proxies are read now.
    ///
    /// # Errors
    /// The same as [`HttpsClient::new`].
    pub fn new() -> io::Result<Self> {
        Self::with_ping(PING)
    }

    /// Creates a client that checks HTTP/2 connections with a ping after so much time without a word of the server. One that
    /// does not reply within the same time is lost. [`new`](Self::new) takes 15 s. Less than a second counts as one, and more
    /// than a day as one.
    ///
    /// # Errors
    /// The same as [`HttpsClient::new`].
    pub fn with_ping(interval: Duration) -> io::Result<Self> {
        let connectors = Connectors::of_the_system()?;
        let interval = interval.clamp(SHORTEST_PING, LONGEST_PING);
        let pool = Pool::new(connectors.negotiating(), interval);
        Ok(Self { http1: HttpsClient::over(connectors.http1()), http2: Some(Arc::new(pool)) })
    }

    /// Returns a client that speaks HTTP/1.1 only. Its connections are those of this one.
    #[must_use]
    pub fn http1_only(&self) -> Self {
        Self { http1: self.http1.clone(), http2: None }
    }

    /// Returns the connections that may carry this request by HTTP/2.
    fn for_http2(&self, request: &Request<B>) -> Option<Arc<Pool<B>>> {
        let is_plain = request.uri().scheme() != Some(&Scheme::HTTPS);
        let is_upgrade = *request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE);
        self.http2.clone().filter(|_| !is_plain && !is_upgrade)
    }
}

impl<B> Clone for AutoClient<B> {
    fn clone(&self) -> Self {
        Self { http1: self.http1.clone(), http2: self.http2.clone() }
    }
}

impl<B> fmt::Debug for AutoClient<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AutoClient").finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for AutoClient<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response<AutoBody>;
    type Error = AutoError;
    type Future = AutoFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AutoError>> {
        self.http1.poll_ready(cx).map_err(AutoError::http1)
    }

    fn call(&mut self, request: Request<B>) -> AutoFuture {
        let state = match self.for_http2(&request) {
            Some(pool) => State::Auto { sending: Box::pin(pool.send(request, self.http1.clone())) },
            None => State::Http1 { sending: self.http1.call(request) },
        };
        AutoFuture { state }
    }
}

type Sending = Pin<Box<dyn Future<Output = Result<Response<AutoBody>, AutoError>> + Send>>;

pin_project! {
    /// The response of an [`AutoClient`].
    #[must_use = "a future does nothing unless polled"]
    pub struct AutoFuture {
        #[pin]
        state: State,
    }
}

pin_project! {
    #[project = StateProj]
    enum State {
        Http1 { #[pin] sending: HttpsFuture },
        // hyper's future has no name.
        Auto { sending: Sending },
    }
}

impl Future for AutoFuture {
    type Output = Result<Response<AutoBody>, AutoError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Http1 { sending } => {
                let sent = ready!(sending.poll(cx)).map_err(AutoError::http1);
                Poll::Ready(sent.map(|response| response.map(AutoBody::http1)))
            }
            StateProj::Auto { sending } => sending.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for AutoFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AutoFuture").finish_non_exhaustive()
    }
}

/// Removes what a request has for a connection of HTTP/1.1 (RFC 9113, section 8.2.2). hyper removes the other fields of that
/// kind itself, but would take `te` for one of them if it is named in `connection`, as HTTP/1.1 has it.
fn without_connection(headers: &mut HeaderMap) {
    let named = headers
        .get_all(CONNECTION)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let named: Vec<_> =
        named.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect();
    headers.remove(CONNECTION);
    for name in named.iter().filter(|name| **name != TE) {
        headers.remove(name);
    }
}

//! HTTPS clients for programs without one of their own.

#[cfg(feature = "hyper")]
mod auto;
mod connector;
mod proxy;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::BoxError;
use connector::{Connector, Connectors};

#[cfg(feature = "hyper")]
#[cfg_attr(docsrs, doc(cfg(feature = "hyper")))]
pub use auto::{AutoBody, AutoClient, AutoError, AutoFuture};

pub use proxy::Proxies;

/// hyper-util's HTTP/1.1 client over rustls, with the machine's proxies and certificates.
///
/// It doesn't follow redirects, which would carry credentials along. Clones share its connections. If the server refuses an
/// upload early, the client gets that [response](crate::connect), even if the connection then breaks. A connection that is
/// silently lost costs at most one request: each carries one at a time, and the system's keep-alive checks idle ones.
///
/// The operating system's own verifier checks certificates, as for browsers on the machine, so an administrator's additions
/// and removals apply here, too. The cryptography is *ring*'s, which needs only a C compiler to build. It is chosen
/// explicitly, so it neither changes nor depends on the process's default.
///
/// Proxies are those of the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, in either case), or else of
/// the system's settings on macOS and Windows: HTTP proxies with `CONNECT` (RFC 9110, section 9.3.6), and
/// `socks5` ones. Plain HTTP never goes through a proxy: it carries credentials only to a loopback host, and to explicitly
/// allowed [private origins](crate::provider::Origin::plain_http).
///
/// Each request in progress has its own connection, so none waits for another. `AutoClient` (with the feature `hyper`)
/// speaks HTTP/2 where the server does.
///
/// ```no_run
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Full;
/// use tower::ServiceExt;
/// use tower_credentials::https::HttpsClient;
///
/// # async fn run() -> Result<(), tower_credentials::BoxError> {
/// let client = HttpsClient::new()?;
/// let request = Request::get("https://api.example.com/").body(Full::<Bytes>::default())?;
/// println!("{}", client.oneshot(request).await?.status());
/// # Ok(())
/// # }
/// ```
pub struct HttpsClient<B = Full<Bytes>> {
    client: Client<Connector, B>,
}

impl<B: Body<Data: Send> + Send> HttpsClient<B> {
    /// Creates a client without a connection. The environment's proxies are read now.
    ///
    /// # Errors
    /// If the operating system's certificates can't be loaded. [`io::ErrorKind::InvalidInput`] if the variable of the proxy
    /// is not a proxy's address: requests must not bypass it.
    pub fn new() -> io::Result<Self> {
        Ok(Self::over(Connectors::of_the_system()?.http1()))
    }

    fn over(connector: Connector) -> Self {
        let client =
            Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { client }
    }
}

impl<B> HttpsClient<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    fn send(&self, request: Request<B>) -> HttpsFuture {
        HttpsFuture { inner: self.client.request(request) }
    }
}

impl<B> Clone for HttpsClient<B> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone() }
    }
}

impl<B> fmt::Debug for HttpsClient<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsClient").finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for HttpsClient<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response<Incoming>;
    type Error = Error;
    type Future = HttpsFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Service::poll_ready(&mut self.client, cx)
    }

    fn call(&mut self, request: Request<B>) -> HttpsFuture {
        self.send(request)
    }
}

pin_project! {
    /// The response of an [`HttpsClient`].
    #[must_use = "a future does nothing unless polled"]
    pub struct HttpsFuture {
        #[pin]
        inner: ResponseFuture,
    }
}

impl Future for HttpsFuture {
    type Output = Result<Response<Incoming>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx)
    }
}

impl fmt::Debug for HttpsFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsFuture").finish_non_exhaustive()
    }
}

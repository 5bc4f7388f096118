//! A layer for the connectors of hyper-util's client, which reads a response that came before its connection broke.
//!
//! A server may refuse an upload with an early response, usually a 429, and close the connection without reading the rest.
//! The system's reset ends the upload, and hyper (1.12, HTTP/1.1) returns the write error and leaves the response unread, so
//! there is nothing to rotate on. With this layer the response is read first, and the error is returned only if there is
//! none.
//!
//! A server that is about to close the connection should say so in that response, with `connection: close` (RFC 9112, section
//! 9.6). If it does not, and the system's buffers have taken the whole upload, the client takes the connection for idle: the
//! next attempt may be sent on it, and fails with it. The layers do not repeat a request that was sent.
//!
//! ```
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use hyper_util::client::legacy::{Client, connect::HttpConnector};
//! use hyper_util::rt::TokioExecutor;
//! use tower::Layer;
//! use tower_credentials::connect::EarlyResponseLayer;
//!
//! let connector = EarlyResponseLayer::new().layer(HttpConnector::new());
//! let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
//! ```
//!
//! It belongs under TLS, on the connection itself: pass it to `HttpsConnectorBuilder::wrap_connector`. `HttpsClient` of the
//! feature `tls` has it already. reqwest's connector layers can't change the connection
//! (`ClientBuilder::connector_layer`, reqwest 0.13).

mod stream;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::accessors::accessors;

pub use stream::EarlyResponseStream;

/// Makes a connector's connections read an early response. See the [module](self).
#[derive(Clone, Copy, Debug, Default)]
pub struct EarlyResponseLayer(());

impl EarlyResponseLayer {
    /// Creates the layer.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<C> Layer<C> for EarlyResponseLayer {
    type Service = EarlyResponse<C>;

    fn layer(&self, inner: C) -> EarlyResponse<C> {
        EarlyResponse { inner }
    }
}

/// The connector of [`EarlyResponseLayer`].
#[derive(Clone, Copy, Debug)]
pub struct EarlyResponse<C> {
    inner: C,
}

accessors!(EarlyResponse, inner);

impl<C, U, T> Service<U> for EarlyResponse<C>
where
    C: Service<U, Response = TokioIo<T>>,
{
    type Response = TokioIo<EarlyResponseStream<T>>;
    type Error = C::Error;
    type Future = EarlyResponseFuture<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, to: U) -> Self::Future {
        EarlyResponseFuture { connecting: self.inner.call(to) }
    }
}

pin_project! {
    /// The future of [`EarlyResponse`].
    #[doc(hidden)]
    #[must_use = "a future does nothing unless polled"]
    pub struct EarlyResponseFuture<F> {
        #[pin]
        connecting: F,
    }
}

impl<F, T, E> Future for EarlyResponseFuture<F>
where
    F: Future<Output = Result<TokioIo<T>, E>>,
{
    type Output = Result<TokioIo<EarlyResponseStream<T>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let connected = ready!(self.project().connecting.poll(cx));
        Poll::Ready(connected.map(|stream| TokioIo::new(EarlyResponseStream::new(stream.into_inner()))))
    }
}

impl<F> fmt::Debug for EarlyResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EarlyResponseFuture").finish_non_exhaustive()
    }
}

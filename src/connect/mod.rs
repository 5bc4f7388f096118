//! A layer for the connectors of hyper-util's client: an answer that came before its connection broke is read.
//!
//! A server may refuse an upload by an early answer, a 429 mostly, and close the connection without reading the rest.
//! The system's reset ends the upload, and hyper returns that error of writing, with the answer unread behind it (hyper
//! 1.12, HTTP/1.1): there is nothing then to rotate on. Over this layer the answer is read first, and the error is returned
//! only if there is none.
//!
//! A server that is about to close the connection should say so in that response, by `connection: close` (RFC 9112, section
//! 9.6). If one does not, and the system's buffers have taken all of the upload, the client believes the connection to be
//! idle: the next attempt may be sent on it, and fails with it. The layers do not repeat a request that was sent.
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
//! It stands under TLS, on the connection itself: `HttpsConnectorBuilder::wrap_connector` takes it. The feature `tls`'s
//! `HttpsClient` has it already. reqwest lets no layer of its connectors change the connection
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

/// Makes a connector's connections read an early answer. See the [module](self).
#[derive(Clone, Copy, Debug, Default)]
pub struct EarlyResponseLayer(());

impl EarlyResponseLayer {
    /// The layer.
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
    /// The connection of [`EarlyResponse`], while it is made.
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
        let made = ready!(self.project().connecting.poll(cx));
        Poll::Ready(made.map(|stream| TokioIo::new(EarlyResponseStream::new(stream.into_inner()))))
    }
}

impl<F> fmt::Debug for EarlyResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EarlyResponseFuture").finish_non_exhaustive()
    }
}

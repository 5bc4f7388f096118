//! A stack of layers over a reqwest client, as a service for reqwest's requests.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::body::{KnownUrl, RequestBody, ResponseBody};
use super::convert::{OriginCheck, Sent, http_request, reqwest_request, reqwest_response};
use crate::accessors::accessors;
use crate::{BoxError, Error};

/// A stack of layers for `http`'s types, as a layer for reqwest's. See the [module](super).
#[derive(Clone, Debug)]
pub struct ReqwestLayer<L> {
    stack: L,
}

impl<L> ReqwestLayer<L> {
    /// Wraps a layer. For several, use a [`ServiceBuilder`](tower::ServiceBuilder) or a
    /// [`Stack`](tower::layer::util::Stack).
    pub fn new(stack: L) -> Self {
        Self { stack }
    }
}

impl<C, L: Layer<HttpService<C>>> Layer<C> for ReqwestLayer<L> {
    type Service = ReqwestService<L::Service>;

    fn layer(&self, client: C) -> Self::Service {
        ReqwestService::new(self.stack.layer(HttpService::new(client)))
    }
}

/// The top of a stack: a service for reqwest's requests over one for `http`'s.
#[derive(Clone, Debug)]
pub struct ReqwestService<S> {
    inner: S,
}

accessors!(ReqwestService, inner);

impl<S> ReqwestService<S> {
    /// Wraps a service.
    pub fn new(inner: S) -> Self {
        Self { inner }
    }

    /// Sends a request, as `reqwest::Client::execute` does.
    ///
    /// # Errors
    /// A [`reqwest::Error`](::reqwest::Error), an [`Error`] of this crate, or the error of another layer of the
    /// stack.
    pub async fn execute<R>(&self, request: reqwest::Request) -> Result<reqwest::Response, BoxError>
    where
        S: Service<http::Request<RequestBody>, Response = http::Response<R>> + Clone,
        S::Error: Into<BoxError>,
        R: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
    {
        send(self.clone(), request).await
    }
}

/// Sends a request once the service is ready.
pub(super) async fn send<S: Service<Q>, Q>(mut service: S, request: Q) -> Result<S::Response, S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

impl<S, R> Service<reqwest::Request> for ReqwestService<S>
where
    S: Service<http::Request<RequestBody>, Response = http::Response<R>>,
    S::Error: Into<BoxError>,
    R: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
{
    type Response = reqwest::Response;
    type Error = BoxError;
    type Future = ReqwestFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: reqwest::Request) -> Self::Future {
        let state = match http_request(request) {
            Ok((request, known)) => Top::Sent { future: self.inner.call(request), known },
            Err(error) => Top::Failed { error: Some(error) },
        };
        ReqwestFuture { state }
    }
}

pin_project! {
    /// The future of a [`ReqwestService`].
    #[doc(hidden)]
    pub struct ReqwestFuture<F> {
        #[pin]
        state: Top<F>,
    }
}

pin_project! {
    #[project = TopProj]
    enum Top<F> {
        Sent { #[pin] future: F, known: Arc<KnownUrl> },
        Failed { error: Option<reqwest::Error> },
    }
}

impl<F, R, E> Future for ReqwestFuture<F>
where
    F: Future<Output = Result<http::Response<R>, E>>,
    E: Into<BoxError>,
    R: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
{
    type Output = Result<reqwest::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().state.project() {
            TopProj::Sent { future, known } => match ready!(future.poll(cx)) {
                Ok(response) => Ok(reqwest_response(response, known)),
                Err(error) => Err(error.into()),
            },
            TopProj::Failed { error } => Err(failed(error)),
        })
    }
}

/// The bottom of a stack: a reqwest client, or another service for reqwest's requests, as one for `http`'s.
///
/// It takes bodies of any type. Pass a body in memory as a [`RequestBody`], a `Full<Bytes>` or a `String`, since
/// any other is a stream to reqwest.
#[derive(Clone, Debug)]
pub struct HttpService<C> {
    client: C,
}

accessors!(HttpService, client);

impl<C> HttpService<C> {
    /// Wraps a client.
    pub fn new(client: C) -> Self {
        Self { client }
    }
}

impl<C, B> Service<http::Request<B>> for HttpService<C>
where
    C: Service<reqwest::Request, Response = reqwest::Response>,
    C::Error: Into<BoxError>,
    B: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
{
    type Response = http::Response<ResponseBody>;
    type Error = BoxError;
    type Future = HttpFuture<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.client.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let state = match reqwest_request(request) {
            Ok(Sent { request, origin_check }) => {
                Bottom::Sent { future: self.client.call(request), origin_check: Some(origin_check) }
            }
            Err(error) => Bottom::Failed { error: Some(error) },
        };
        HttpFuture { state }
    }
}

pin_project! {
    /// The future of a [`HttpService`].
    #[doc(hidden)]
    pub struct HttpFuture<F> {
        #[pin]
        state: Bottom<F>,
    }
}

pin_project! {
    #[project = BottomProj]
    enum Bottom<F> {
        Sent { #[pin] future: F, origin_check: Option<OriginCheck> },
        Failed { error: Option<reqwest::Error> },
    }
}

impl<F, E> Future for HttpFuture<F>
where
    F: Future<Output = Result<reqwest::Response, E>>,
    E: Into<BoxError>,
{
    type Output = Result<http::Response<ResponseBody>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().state.project() {
            BottomProj::Sent { future, origin_check } => {
                let response = ready!(future.poll(cx)).map_err(Into::into)?;
                let origin_check = origin_check.take().ok_or(Error::Polled)?;
                origin_check.http_response(response).map_err(Into::into)
            }
            BottomProj::Failed { error } => Err(failed(error)),
        })
    }
}

fn failed(error: &mut Option<reqwest::Error>) -> BoxError {
    error.take().map_or_else(|| Error::Polled.into(), Into::into)
}

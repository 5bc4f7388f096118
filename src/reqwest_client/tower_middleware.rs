//! A stack of layers as a middleware for reqwest-middleware.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use http::Extensions;
use http_body::Body;
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next, Result};
use tokio::sync::oneshot;
use tower_layer::Layer;
use tower_service::Service;

use super::body::{RequestBody, ResponseBody};
use super::convert::{OriginCheck, Sent};
use super::exchange::{Call, Exchange};
use super::middleware::{Caller, Own};
use super::service::send;
use crate::{BoxError, Error};

/// A stack of layers for `http`'s types as a middleware. For a [`CredentialsLayer`](crate::CredentialsLayer)
/// alone, [`CredentialsMiddleware`](super::CredentialsMiddleware) does the same at a lower cost.
///
/// ```
/// # use tower_credentials::{BoxError, CredentialsLayer, Pool};
/// use std::time::Duration;
///
/// use reqwest::redirect::Policy;
/// use reqwest_middleware::ClientBuilder;
/// use tower::ServiceBuilder;
/// use tower::timeout::TimeoutLayer;
/// use tower_credentials::reqwest_client::{TowerMiddleware, redirect_policy};
///
/// # async fn ask(pool: Pool) -> Result<(), BoxError> {
/// let client = reqwest::Client::builder().redirect(redirect_policy(Policy::default())).build()?;
/// let layers = ServiceBuilder::new()
///     .layer(CredentialsLayer::new(pool))
///     .layer(TimeoutLayer::new(Duration::from_secs(10))); // for each attempt
/// let client = ClientBuilder::new(client).with(TowerMiddleware::new(layers)).build();
///
/// let response = client.post("https://api.example.com/v1/messages").body("hello").send().await?;
/// # Ok(())
/// # }
/// ```
///
/// The stack is built once. A middleware that is added before it runs once per request of the caller; one that is
/// added after it runs once per attempt.
///
/// # Extensions
///
/// The layers see the caller's extensions in the request's, for example a [`Pin`](crate::Pin). The middleware further
/// in gets the request's extensions as the layers leave them. After the last attempt, the caller gets them back as that
/// middleware leaves them. Extensions that layers add to the response, for example a [`NextReady`](crate::NextReady),
/// stay there. After the request, an [`Attempt`](crate::Attempt) only says which credential it used: the next request
/// with the same extensions starts again.
///
/// # Errors
///
/// An error of reqwest or of a middleware further in is returned unchanged. One of this crate is in
/// `reqwest_middleware::Error::Middleware`, and `downcast_ref` returns it as an [`Error`]. One of another
/// layer is there as a [`LayerError`](super::LayerError).
#[derive(Clone, Debug)]
pub struct TowerMiddleware<S> {
    stack: S,
}

impl<S> TowerMiddleware<S> {
    /// Creates a middleware from a layer. For several, use a [`ServiceBuilder`](tower::ServiceBuilder) or a
    /// [`Stack`](tower::layer::util::Stack).
    pub fn new<L: Layer<NextService, Service = S>>(layer: L) -> Self {
        Self { stack: layer.layer(NextService(())) }
    }
}

#[async_trait]
impl<S, R> Middleware for TowerMiddleware<S>
where
    S: Service<http::Request<RequestBody>, Response = http::Response<R>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    R: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
{
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let (caller, own, mut request) = Caller::enter(request, extensions)?;
        let exchange = Exchange::default();
        request.extensions_mut().insert(Route { exchange: exchange.clone(), own });
        let (response, latest) = exchange.drive(send(self.stack.clone(), request), next).await;
        caller.leave(response, latest, extensions)
    }
}

/// The way back to the middleware, in a request's extensions, for the bottom of a stack.
#[derive(Clone)]
struct Route {
    exchange: Exchange,
    own: Own,
}

/// The bottom of a [`TowerMiddleware`]'s stack: the rest of the chain, which each request brings along.
#[derive(Clone)]
pub struct NextService(());

impl fmt::Debug for NextService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NextService")
    }
}

impl<B> Service<http::Request<B>> for NextService
where
    B: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
{
    type Response = http::Response<ResponseBody>;
    type Error = BoxError;
    type Future = NextFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<B>) -> NextFuture {
        let Some(route) = request.extensions_mut().remove::<Route>() else {
            return NextFuture(Err(Some(Box::new(LostRoute))));
        };
        let (Sent { request, origin_check }, extensions) = match route.own.attempt(request) {
            Ok(sent) => sent,
            Err(error) => return NextFuture(Err(Some(error.into()))),
        };
        let (reply, response) = oneshot::channel();
        route.exchange.send(Call { request, extensions, reply });
        NextFuture(Ok((response, Some(origin_check))))
    }
}

type Waiting = (oneshot::Receiver<Result<Response>>, Option<OriginCheck>);

/// The future of a [`NextService`].
#[doc(hidden)]
pub struct NextFuture(std::result::Result<Waiting, Option<BoxError>>);

impl Future for NextFuture {
    type Output = std::result::Result<http::Response<ResponseBody>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (response, origin_check) = match &mut self.0 {
            Ok((response, origin_check)) => (response, origin_check),
            Err(error) => return Poll::Ready(Err(error.take().unwrap_or_else(|| Error::Polled.into()))),
        };
        if origin_check.is_none() {
            return Poll::Ready(Err(Error::Polled.into()));
        }
        Pin::new(response).poll(cx).map(|response| {
            let origin_check = origin_check.take().ok_or(Error::Polled)?;
            Ok(origin_check.http_response(response.map_err(|_| CallerGone)??)?)
        })
    }
}

/// A request came to the bottom of a stack without its [`Route`].
#[derive(Debug)]
struct LostRoute;

impl fmt::Display for LostRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a layer of the stack has dropped the request's extensions, as a redirect to another origin \
             does, so it can't be sent; let the layer keep them, or put it above the middleware",
        )
    }
}

impl std::error::Error for LostRoute {}

/// The caller of a request that was sent from another task has gone.
#[derive(Debug)]
struct CallerGone;

impl fmt::Display for CallerGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was dropped before there was a response: its caller has gone")
    }
}

impl std::error::Error for CallerGone {}

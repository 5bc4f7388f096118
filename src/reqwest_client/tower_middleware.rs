//! A stack of layers as a middleware of reqwest-middleware's.

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
use super::convert::{Guard, Sent};
use super::exchange::{Call, Exchange};
use super::middleware::{Caller, Own};
use super::service::send;
use crate::{BoxError, Error};

/// A stack of layers over `http`'s types as a middleware. For a [`CredentialsLayer`](crate::CredentialsLayer)
/// alone, [`CredentialsMiddleware`](super::CredentialsMiddleware) does the same for less.
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
/// The stack is made once. It stands among other middleware as its place in the `ClientBuilder` says: one
/// that is added before it is run once for a request of the caller's, one that is added after it for each
/// attempt.
///
/// # Extensions
///
/// The caller's are in the request's that the layers see ([`Pin`](crate::Pin), say). Those of the request as
/// the layers leave it are what the middleware further in get, and what these make of them is what the
/// caller finds after the last attempt. What layers put into the response's extensions
/// ([`NextReady`](crate::NextReady), say) stays there. After the request an [`Attempt`](crate::Attempt) tells which
/// credential it used, and no more: the next request with the same extensions begins anew.
///
/// # Errors
///
/// An error of reqwest's or of a middleware further in is returned as it is. One of this crate's is in
/// `reqwest_middleware::Error::Middleware`, where `downcast_ref` finds it as an [`Error`]; one of another
/// layer's is there as a [`LayerError`](super::LayerError).
#[derive(Clone, Debug)]
pub struct TowerMiddleware<S> {
    stack: S,
}

impl<S> TowerMiddleware<S> {
    /// Makes a middleware of this layer; of several by a [`ServiceBuilder`](tower::ServiceBuilder) or a
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
        request.extensions_mut().insert(Way { exchange: exchange.clone(), own });
        let (answer, latest) = exchange.drive(send(self.stack.clone(), request), next).await;
        caller.leave(answer, latest, extensions)
    }
}

/// What the bottom of a stack needs of the middleware, in a request's extensions.
#[derive(Clone)]
struct Way {
    exchange: Exchange,
    own: Own,
}

/// The bottom of a [`TowerMiddleware`]'s stack: the rest of the chain, of which each request brings its own.
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
        let Some(way) = request.extensions_mut().remove::<Way>() else {
            return NextFuture(Err(Some(Box::new(LostWay))));
        };
        let (Sent { request, guard }, extensions) = match way.own.attempt(request) {
            Ok(sent) => sent,
            Err(error) => return NextFuture(Err(Some(error.into()))),
        };
        let (reply, answer) = oneshot::channel();
        way.exchange.send(Call { request, extensions, reply });
        NextFuture(Ok((answer, Some(guard))))
    }
}

type Waiting = (oneshot::Receiver<Result<Response>>, Option<Guard>);

/// The response of a [`NextService`].
pub struct NextFuture(std::result::Result<Waiting, Option<BoxError>>);

impl Future for NextFuture {
    type Output = std::result::Result<http::Response<ResponseBody>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (answer, guard) = match &mut self.0 {
            Ok((answer, guard)) => (answer, guard),
            Err(error) => return Poll::Ready(Err(error.take().unwrap_or_else(|| Error::Polled.into()))),
        };
        if guard.is_none() {
            return Poll::Ready(Err(Error::Polled.into()));
        }
        Pin::new(answer).poll(cx).map(|answer| {
            let guard = guard.take().ok_or(Error::Polled)?;
            Ok(guard.http_response(answer.map_err(|_| CallerGone)??)?)
        })
    }
}

/// A request came to the bottom of a stack without what tells which chain it belongs to.
#[derive(Debug)]
struct LostWay;

impl fmt::Display for LostWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a layer of the stack has dropped the request's extensions, as a redirect to another origin \
             does, so that it can't be sent; let the layer keep them, or put it above the middleware",
        )
    }
}

impl std::error::Error for LostWay {}

/// A request was sent from another task, and its caller has gone.
#[derive(Debug)]
struct CallerGone;

impl fmt::Display for CallerGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was given up before it was answered: its caller has gone")
    }
}

impl std::error::Error for CallerGone {}

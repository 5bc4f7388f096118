//! A stack of layers as a middleware of reqwest-middleware's.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

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
use super::convert::{Guard, Sent, http_request, reqwest_request, reqwest_response};
use super::exchange::{Call, Exchange};
use crate::layers::Attempt;
use crate::{BoxError, Error};

/// A stack of layers over `http`'s types as a middleware.
///
/// ```
/// # use tower_credentials::{BoxError, CredentialsLayer, Pool};
/// use reqwest::redirect::Policy;
/// use reqwest_middleware::ClientBuilder;
/// use tower_credentials::reqwest::{TowerMiddleware, redirect_policy};
///
/// # async fn ask(pool: Pool) -> Result<(), BoxError> {
/// let client = reqwest::Client::builder().redirect(redirect_policy(Policy::default())).build()?;
/// let client = ClientBuilder::new(client)
///     .with(TowerMiddleware::new(CredentialsLayer::new(pool)))
///     .build();
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
/// ([`NextReady`](crate::NextReady), say) stays there. After the request an [`Attempt`] tells which
/// credential it used, and no more: the next request with the same extensions begins anew.
///
/// # Errors
///
/// An error of reqwest's or of a middleware further in is returned as it is. One of this crate's is in
/// `reqwest_middleware::Error::Middleware`, where `downcast_ref` finds it as an [`Error`]; one of another
/// layer's is there as a [`LayerError`].
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
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let url = request.url().clone();
        // Kept out of the extensions, which get back to the caller: it is this request's alone.
        let timeout = request.timeout().is_some().then(|| request.timeout_mut().take()).flatten();
        let mut request = http_request(request)?;
        let outer = extensions.get::<Attempt>().cloned();
        if !extensions.is_empty() {
            let own = std::mem::replace(request.extensions_mut(), extensions.clone());
            request.extensions_mut().extend(own);
        }
        let exchange = Exchange::default();
        request.extensions_mut().insert(Way { exchange: exchange.clone(), timeout });

        let mut stack = self.stack.clone();
        let answer = async {
            poll_fn(|cx| stack.poll_ready(cx)).await?;
            stack.call(request).await
        };
        let (answer, latest) = exchange.drive(answer, next).await;
        if let Some(latest) = latest {
            *extensions = latest;
            let attempt = outer.or_else(|| extensions.get::<Attempt>().map(Attempt::ended));
            attempt.map(|attempt| extensions.insert(attempt));
        }
        match answer {
            Ok(response) => Ok(reqwest_response(response, &url)),
            Err(error) => Err(middleware_error(error.into())),
        }
    }
}

/// What the bottom of a stack needs of the middleware, in a request's extensions.
#[derive(Clone)]
struct Way {
    exchange: Exchange,
    timeout: Option<Duration>,
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
        let extensions = match request.extensions().is_empty() {
            true => Extensions::new(),
            false => request.extensions().clone(),
        };
        let Sent { mut request, guard } = match reqwest_request(request) {
            Ok(sent) => sent,
            Err(error) => return NextFuture(Err(Some(error.into()))),
        };
        if way.timeout.is_some() {
            *request.timeout_mut() = way.timeout;
        }
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

/// What a layer of another crate failed with.
#[derive(Debug)]
pub struct LayerError(BoxError);

impl LayerError {
    /// The layer's error.
    pub fn get_ref(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.0
    }

    /// The layer's error.
    pub fn into_inner(self) -> BoxError {
        self.0
    }
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for LayerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

fn middleware_error(error: BoxError) -> reqwest_middleware::Error {
    let error = match error.downcast::<reqwest_middleware::Error>() {
        Ok(error) => return *error,
        Err(error) => error,
    };
    let error = match error.downcast::<reqwest::Error>() {
        Ok(error) => return (*error).into(),
        Err(error) => error,
    };
    match error.downcast::<Error>() {
        Ok(error) => reqwest_middleware::Error::middleware(*error),
        Err(error) => reqwest_middleware::Error::middleware(LayerError(error)),
    }
}

//! A [`CredentialsLayer`] as a middleware for reqwest-middleware.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next, Result};
use tower_layer::Layer;
use tower_service::Service;

use super::body::{RequestBody, ResponseBody};
use super::convert::Sent;
use super::middleware::{Caller, Own};
use super::service::send;
use crate::BoxError;
use crate::layers::CredentialsLayer;

/// A [`CredentialsLayer`] as a middleware. It gives each request an account, another one after a 429, and a new token
/// after a 401.
///
/// ```
/// # use tower_credentials::{BoxError, CredentialsLayer, Pool};
/// use reqwest::redirect::Policy;
/// use reqwest_middleware::ClientBuilder;
/// use tower_credentials::reqwest_client::{CredentialsMiddleware, redirect_policy};
///
/// # async fn ask(pool: Pool) -> Result<(), BoxError> {
/// let client = reqwest::Client::builder().redirect(redirect_policy(Policy::default())).build()?;
/// let client = ClientBuilder::new(client)
///     .with(CredentialsMiddleware::new(CredentialsLayer::new(pool)))
///     .build();
///
/// let response = client.post("https://api.example.com/v1/messages").body("hello").send().await?;
/// # Ok(())
/// # }
/// ```
///
/// A middleware that is added before it runs once per request of the caller; one that is added after it runs once per
/// attempt. Add it after reqwest-retry, and let the retry strategy leave 429 alone: a retry inside repeats each 429 with
/// the account that is limited, before this middleware sees it. For a stack with layers of other crates, use [`TowerMiddleware`](super::TowerMiddleware).
///
/// # Extensions and errors
///
/// Extensions go both ways, as for [`TowerMiddleware`](super::TowerMiddleware#extensions): a caller's
/// [`Pin`](crate::Pin) reaches the layer, and a [`NextReady`](crate::NextReady) is in the extensions of the response.
/// An error of reqwest or of a middleware further in is returned unchanged. One of this crate is in
/// `reqwest_middleware::Error::Middleware`, and `downcast_ref` returns it as an [`Error`](crate::Error).
#[derive(Clone, Debug)]
pub struct CredentialsMiddleware {
    layer: CredentialsLayer,
}

impl CredentialsMiddleware {
    /// Creates a middleware from this layer.
    pub fn new(layer: CredentialsLayer) -> Self {
        Self { layer }
    }
}

#[async_trait]
impl Middleware for CredentialsMiddleware {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let (caller, own, request) = Caller::enter(request, extensions)?;
        let latest = Mutex::new(None);
        let response = send(self.layer.layer(Rest { next, own, latest: &latest }), request).await;
        caller.leave(response, latest.into_inner().unwrap_or_else(PoisonError::into_inner), extensions)
    }
}

/// The rest of the chain, as the service that one request's attempts go to.
#[derive(Clone)]
struct Rest<'a> {
    next: Next<'a>,
    own: Own,
    /// The extensions with which the latest response came back.
    latest: &'a Mutex<Option<Extensions>>,
}

impl<'a> Service<http::Request<RequestBody>> for Rest<'a> {
    type Response = http::Response<ResponseBody>;
    type Error = BoxError;
    // Boxed, since `Next` borrows the extensions that the attempt owns.
    type Future =
        Pin<Box<dyn Future<Output = std::result::Result<Self::Response, BoxError>> + Send + 'a>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<RequestBody>) -> Self::Future {
        let Self { next, own, latest } = self.clone();
        Box::pin(async move {
            let (Sent { request, origin_check }, mut extensions) = own.attempt(request)?;
            let response = next.run(request, &mut extensions).await;
            *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(extensions);
            Ok(origin_check.http_response(response?)?)
        })
    }
}

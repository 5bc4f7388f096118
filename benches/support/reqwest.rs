//! reqwest's clients over the benches' upstream, which responds from memory: no socket is opened.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, poll_fn, ready};
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use http::{Extensions, Request, StatusCode};
use http_body_util::BodyExt;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use reqwest_retry::{RetryDecision, RetryPolicy, RetryTransientMiddleware};
use tower::Service;

use crate::support::{self, Body, Client, Upstream, at_once};

/// A client of reqwest-middleware's with nothing but the upstream.
pub(crate) fn bare(upstream: Upstream) -> Through {
    client(upstream, |builder| builder)
}

/// The same under reqwest-retry, which sends again once, at once.
pub(crate) fn retrying(upstream: Upstream) -> Through {
    client(upstream, |builder| builder.with(RetryTransientMiddleware::new_with_policy(OnceMore)))
}

fn client(upstream: Upstream, add: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Through {
    Through(add(ClientBuilder::new(reqwest::Client::new())).with(InMemory(upstream)).build())
}

/// A service with the request and response of reqwest's client.
pub(crate) fn service(upstream: Upstream) -> impl Client {
    ThroughService(InMemory(upstream))
}

#[cfg(feature = "reqwest-middleware")]
pub(crate) use ours::*;

#[cfg(feature = "reqwest-middleware")]
mod ours {
    use tower::Layer;
    use tower_credentials::reqwest_client::{CredentialsMiddleware, ReqwestLayer, TowerMiddleware};
    use tower_credentials::{CredentialsLayer, Pool};

    use super::*;

    /// All four layers as one, over a request's own chain.
    pub(crate) fn credentials_middleware(pool: &Pool, upstream: Upstream) -> Through {
        let layer = CredentialsLayer::new(pool.clone());
        client(upstream, |builder| builder.with(CredentialsMiddleware::new(layer)))
    }

    /// The same in a stack that outlives the requests.
    pub(crate) fn tower_middleware(pool: &Pool, upstream: Upstream) -> Through {
        let layer = CredentialsLayer::new(pool.clone());
        client(upstream, |builder| builder.with(TowerMiddleware::new(layer)))
    }

    /// The same over the service.
    pub(crate) fn reqwest_layer(pool: &Pool, upstream: Upstream) -> impl Client + use<> {
        let layer = CredentialsLayer::new(pool.clone());
        ThroughService(ReqwestLayer::new(layer).layer(InMemory(upstream)))
    }
}

/// A client of reqwest-middleware's.
pub(crate) struct Through(ClientWithMiddleware);

impl Client for Through {
    type Request = reqwest::Request;

    fn template() -> reqwest::Request {
        template()
    }

    async fn send(&mut self, template: &reqwest::Request) -> StatusCode {
        black_box(self.0.execute(copy(template)).await.expect("a response")).status()
    }
}

/// A service of reqwest's requests.
struct ThroughService<S>(S);

impl<S> Client for ThroughService<S>
where
    S: Service<reqwest::Request, Response = reqwest::Response, Error: fmt::Debug>,
{
    type Request = reqwest::Request;

    fn template() -> reqwest::Request {
        template()
    }

    async fn send(&mut self, template: &reqwest::Request) -> StatusCode {
        poll_fn(|cx| self.0.poll_ready(cx)).await.expect("a service that is ready");
        black_box(self.0.call(copy(template)).await.expect("a response")).status()
    }
}

/// The template request, as one of reqwest's.
fn template() -> reqwest::Request {
    let request = support::template().map(bytes_of);
    let template = reqwest::Request::try_from(request).expect("a request of reqwest's");
    // As in the other template: the first clone of fresh bytes makes them shared.
    drop(copy(&template));
    template
}

fn copy(template: &reqwest::Request) -> reqwest::Request {
    template.try_clone().expect("a body in memory")
}

struct OnceMore;

impl RetryPolicy for OnceMore {
    fn should_retry(&self, began: SystemTime, retries: u32) -> RetryDecision {
        match retries {
            0 => RetryDecision::Retry { execute_after: began },
            _ => RetryDecision::DoNotRetry,
        }
    }
}

/// The upstream as the last middleware, and as a service in place of the client.
#[derive(Clone)]
struct InMemory(Upstream);

impl InMemory {
    /// The upstream looks only at the headers.
    fn respond(&self, mut request: reqwest::Request) -> reqwest::Response {
        let mut ours = Request::new(Body::default());
        *ours.headers_mut() = std::mem::take(request.headers_mut());
        drop(request);
        let response = self.0.clone().call(ours).into_inner().unwrap_or_else(|never| match never {});
        response.map(bytes_of).into()
    }
}

impl Middleware for InMemory {
    // The expansion of `async fn handle` by `async_trait`.
    fn handle<'this, 'extensions, 'next, 'all>(
        &'this self,
        request: reqwest::Request,
        _: &'extensions mut Extensions,
        _: Next<'next>,
    ) -> Pin<Box<dyn Future<Output = reqwest_middleware::Result<reqwest::Response>> + Send + 'all>>
    where
        'this: 'all,
        'extensions: 'all,
        'next: 'all,
        Self: 'all,
    {
        Box::pin(async move { Ok(self.respond(request)) })
    }
}

impl Service<reqwest::Request> for InMemory {
    type Response = reqwest::Response;
    type Error = Infallible;
    type Future = Ready<Result<reqwest::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: reqwest::Request) -> Self::Future {
        ready(Ok(self.respond(request)))
    }
}

fn bytes_of(body: Body) -> Bytes {
    at_once(body.collect()).unwrap_or_else(|never| match never {}).to_bytes()
}

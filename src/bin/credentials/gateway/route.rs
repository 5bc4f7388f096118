//! Which requests go where, with whose accounts.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use http::{Request, Response};
use http_body_util::{Either, Empty};
use serde::Deserialize;
use tower::timeout::TimeoutLayer;
use tower::{Service, ServiceBuilder};
use tower_credentials::https::{AutoBody, AutoClient, AutoError, AutoFuture};
use tower_credentials::provider::{Endpoint, Provider};
use tower_credentials::registry::Registry;
use tower_credentials::{
    BoxError, CredentialId, ErrorBodyLayer, ErrorResponseLayer, FirstEventLayer, Pool,
};

use super::body::RequestBody;
use super::forward::Upstream;
use super::proxy::Target;
use super::settings::RouteSettings;
use super::threads::PerThread;

type Client = AutoClient<RequestBody>;

/// The client to all upstreams, of which each thread has its own: with HTTP/1.1 a request then waits for no other thread.
#[derive(Clone)]
pub(crate) struct UpstreamClient(PerThread<Client>);

impl UpstreamClient {
    /// Fails as [`AutoClient::with_ping`] does.
    pub(super) fn with_ping(ping: Duration) -> io::Result<Self> {
        Ok(Self(PerThread::new(Client::with_ping(ping)?, Client::with_own_http1)))
    }

    fn http1_only(&self) -> Self {
        Self(self.0.map(AutoClient::http1_only))
    }
}

impl Service<Request<RequestBody>> for UpstreamClient {
    type Response = Response<AutoBody>;
    type Error = AutoError;
    type Future = AutoFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AutoError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> AutoFuture {
        self.0.get().send(request)
    }
}

/// How requests are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    /// How many bytes of a request's body are kept so that it can be sent again.
    pub(crate) replay: u64,
    /// How long to wait for the head of a response.
    pub(crate) timeout: Duration,
    /// How long a client may be told to wait for an account.
    pub(crate) no_retry_beyond: Duration,
    /// What all upstreams are spoken to by, whatever the settings say.
    pub(crate) http_version: Option<HttpVersion>,
    /// How often an HTTP/2 connection is checked.
    pub(crate) ping: Duration,
}

/// What an upstream is spoken to by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
pub(crate) enum HttpVersion {
    /// HTTP/2 if the upstream offers it
    #[default]
    #[serde(rename = "auto")]
    #[value(name = "auto")]
    Auto,
    /// HTTP/1.1
    #[serde(rename = "1.1")]
    #[value(name = "1.1")]
    Http11,
}

/// A path of the gateway, with the pool whose accounts its requests get.
#[derive(Clone)]
pub(crate) struct Route<S> {
    pub(super) settings: RouteSettings,
    /// Its path, for the log.
    pub(super) path: Arc<str>,
    pub(super) upstream: Upstream,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) pool: Pool,
    pub(super) service: S,
}

impl<S> Route<S> {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The host that it is for, if it is for one only.
    pub(crate) fn host(&self) -> Option<&str> {
        self.settings.host()
    }

    /// The path that it puts before that of requests.
    pub(crate) fn prefix(&self) -> &str {
        self.upstream.prefix()
    }

    /// Whether its requests may go to this target.
    pub(super) fn is_at(&self, target: &Target) -> bool {
        let Some(uri) = target.uri() else { return false };
        match &self.settings.upstream {
            Some(endpoint) => endpoint.contains(&uri),
            None => self.provider.trusts(&uri),
        }
    }

    /// Returns what follows the upstream's own path in that of a request for this target, if the request may take this
    /// route. Without an upstream of its own, all origins of the provider are the route's.
    pub(super) fn rest_inside<'a>(&self, target: &Target, path: &'a str) -> Option<&'a str> {
        if !self.is_at(target) || !self.settings.takes_host(&target.authority()) {
            return None;
        }
        let prefix = self.settings.upstream.as_ref().map_or("", |endpoint| endpoint.prefix());
        path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The order in which routes are tried within a tunnel: the most specific first, and of those that are alike the
    /// provider's own.
    pub(super) fn precedence_inside(&self) -> impl Ord + use<S> {
        let is_own = self.path.strip_prefix('/') == Some(self.provider());
        let settings = &self.settings;
        let prefix = settings.upstream.as_ref().map_or(0, |endpoint| endpoint.prefix().len());
        std::cmp::Reverse((prefix, settings.host().is_some(), settings.depends_on_model(), is_own))
    }

    /// Returns the path that a tool means by the rest of its request's. Anthropic's own SDKs expect no `/v1` in
    /// `ANTHROPIC_BASE_URL`, but the npm package `ai` does, and leaves it out of its paths.
    pub(super) fn meant_path<'a>(&self, rest: &'a str) -> Cow<'a, str> {
        let after = rest.strip_prefix("/messages");
        let is_without_version = after.is_some_and(|after| after.is_empty() || after.starts_with('/'));
        match self.provider() {
            "anthropic" if is_without_version && !self.prefix().ends_with("/v1") => {
                format!("/v1{rest}").into()
            }
            _ => rest.into(),
        }
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Whether this account is in its pool.
    pub(super) fn has(&self, account: CredentialId) -> bool {
        self.pool.contains(account)
    }

    pub(crate) fn provider(&self) -> &str {
        self.pool.key().provider()
    }
}

/// Makes a route to an endpoint.
pub(crate) fn route(
    settings: RouteSettings,
    endpoint: &Endpoint,
    pool: Pool,
    registry: &Registry,
    client: &UpstreamClient,
    sending: Sending,
) -> Option<Route<impl Forward + use<>>> {
    let client = match sending.http_version.or(settings.upstream_http_version).unwrap_or_default() {
        HttpVersion::Auto => client.clone(),
        HttpVersion::Http11 => client.http1_only(),
    };
    let service = ServiceBuilder::new()
        .layer(ErrorResponseLayer::new().restate_limits().no_retry_beyond(sending.no_retry_beyond))
        .layer(registry.layer(pool.clone()))
        .layer(ErrorBodyLayer::new(pool.clone()))
        .layer(FirstEventLayer::new(pool.clone()))
        .layer(TimeoutLayer::new(sending.timeout))
        .service(client);
    let path = settings.path.to_string().into();
    let provider = registry.provider(pool.key().provider()).ok()?;
    Some(Route { settings, path, upstream: Upstream::new(endpoint)?, provider, pool, service })
}

/// The service of a route: the layers over the client to the upstream.
pub(crate) trait Forward:
    Service<
        Request<RequestBody>,
        Response = Response<Either<Self::Body, Empty<Bytes>>>,
        Error = BoxError,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static
{
    /// The upstream's body.
    type Body: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> Forward for S
where
    S: Service<
            Request<RequestBody>,
            Response = Response<Either<B, Empty<Bytes>>>,
            Error = BoxError,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
}

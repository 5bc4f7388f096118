//! Support for the tests over reqwest: servers of HTTP/1.1 and HTTP/2, and both kinds of client.
#![allow(dead_code, reason = "each file of tests uses a part")]

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use reqwest_middleware::{ClientWithMiddleware, Middleware};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use tower_credentials::provider::GenericProvider;
use tower_credentials::reqwest_client::{CredentialsMiddleware, TowerMiddleware};
use tower_credentials::vault::Vault;
use tower_credentials::{BoxError, CredentialsLayer, Pool, PoolBuilder};

use crate::support::Upstream;
use crate::wire::Wire;

pub(crate) use crate::wire::{WireBody as Body, full as text};

/// A server of HTTP/1.1 and HTTP/2, and requests of reqwest's to it.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    wire: Wire,
}

impl Site {
    pub(crate) async fn start<F>(
        respond: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::at(Wire::start(respond).await)
    }

    fn at(wire: Wire) -> Self {
        Self { address: wire.address, wire }
    }

    /// The scripted upstream. A response that fails closes the connection.
    pub(crate) async fn of(upstream: &Upstream) -> Self {
        let upstream = upstream.clone();
        let wire = Wire::may_fail(200, move |request| {
            let response = upstream.clone().oneshot(request);
            async move { Ok(response.await?.map(body_of)) }
        });
        Self::at(wire.await)
    }

    pub(crate) fn origin(&self) -> String {
        self.wire.origin()
    }

    pub(crate) fn url(&self) -> reqwest::Url {
        format!("{}/v1/messages", self.origin()).parse().unwrap()
    }

    pub(crate) fn connections(&self) -> usize {
        self.wire.connections()
    }

    pub(crate) fn builder(&self, vault: impl Vault) -> PoolBuilder {
        Pool::builder(GenericProvider::bearer("x").origin(&self.origin()).unwrap(), vault)
    }

    pub(crate) fn post(&self, body: impl Into<reqwest::Body>) -> reqwest::Request {
        let mut request = reqwest::Request::new(reqwest::Method::POST, self.url());
        *request.body_mut() = Some(body.into());
        request
    }
}

pub(crate) fn body_of<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A stack over reqwest, as a service or as a middleware.
#[derive(Clone)]
pub(crate) enum Client {
    Service(BoxCloneSyncService<reqwest::Request, reqwest::Response, BoxError>),
    Middleware(ClientWithMiddleware),
}

impl Client {
    pub(crate) async fn execute(
        &self,
        request: reqwest::Request,
    ) -> Result<reqwest::Response, BoxError> {
        match self {
            Self::Service(service) => service.clone().oneshot(request).await,
            Self::Middleware(client) => {
                let mut extensions = Extensions::new();
                Ok(client.execute_with_extensions(request, &mut extensions).await?)
            }
        }
    }

    /// The status and the text of the response.
    pub(crate) async fn ask(&self, request: reqwest::Request) -> (u16, String) {
        let response = self.execute(request).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

/// The same layers over the same client, in each way: as a service, as a middleware, and as the middleware for our
/// own layers. With other layers the last one is the second again.
#[allow(unused_macros, reason = "each file of tests uses a part")]
macro_rules! clients {
    ($layers:expr, $client:expr) => {{
        let (layers, client): (_, reqwest::Client) = ($layers, $client);
        let layer = tower_credentials::reqwest_client::ReqwestLayer::new(layers.clone());
        let service = tower::Layer::layer(&layer, client.clone());
        let own = (&layers as &dyn std::any::Any)
            .downcast_ref::<tower_credentials::CredentialsLayer>()
            .cloned();
        let [any, own] = $crate::reqwest_rig::middlewares(
            tower_credentials::reqwest_client::TowerMiddleware::new(layers),
            own.map(tower_credentials::reqwest_client::CredentialsMiddleware::new),
        );
        let middleware = |middleware| {
            let client =
                reqwest_middleware::ClientBuilder::new(client.clone()).with_arc(middleware).build();
            $crate::reqwest_rig::Client::Middleware(client)
        };
        let service = tower::util::BoxCloneSyncService::new(service);
        [$crate::reqwest_rig::Client::Service(service), middleware(any), middleware(own)]
    }};
}
#[allow(unused_imports, reason = "each file of tests uses a part")]
pub(crate) use clients;

pub(crate) fn middlewares(
    any: impl Middleware,
    own: Option<CredentialsMiddleware>,
) -> [Arc<dyn Middleware>; 2] {
    let any: Arc<dyn Middleware> = Arc::new(any);
    let own = own.map(|own| Arc::new(own) as Arc<dyn Middleware>);
    [any.clone(), own.unwrap_or(any)]
}

/// Runs a test with each middleware that can hold our own layers.
pub(crate) async fn each_middleware(test: impl AsyncFn(fn(&Pool) -> Arc<dyn Middleware>)) {
    test(|pool| Arc::new(TowerMiddleware::new(CredentialsLayer::new(pool.clone())))).await;
    test(|pool| Arc::new(CredentialsMiddleware::new(CredentialsLayer::new(pool.clone())))).await;
}

/// A reqwest client with the redirect policy that the layers need.
pub(crate) fn client() -> reqwest::ClientBuilder {
    let policy = reqwest::redirect::Policy::default();
    reqwest::Client::builder().redirect(tower_credentials::reqwest_client::redirect_policy(policy))
}

/// How many clients [`clients`] makes.
pub(crate) const CLIENTS: usize = 3;

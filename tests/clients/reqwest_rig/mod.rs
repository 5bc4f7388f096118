//! What the tests over reqwest share: servers of HTTP/1.1 and HTTP/2, and both kinds of client.
#![allow(dead_code, reason = "each file of tests uses a part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use reqwest_middleware::{ClientWithMiddleware, Middleware};
use tokio::net::TcpListener;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use tower_credentials::provider::GenericProvider;
use tower_credentials::reqwest_client::{CredentialsMiddleware, TowerMiddleware};
use tower_credentials::vault::Vault;
use tower_credentials::{BoxError, CredentialsLayer, Pool, PoolBuilder};

use crate::support::Upstream;

pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A server on a socket, of HTTP/1.1 and of HTTP/2.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Site {
    pub(crate) async fn start<F>(
        respond: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::may_fail(move |request| {
            let respond = respond(request);
            async move { Ok(respond.await) }
        })
        .await
    }

    /// A server that closes the connection instead of responding, if `respond` fails.
    async fn may_fail<F>(respond: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let service = hyper::service::service_fn(respond.clone());
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    server.serve_connection(TokioIo::new(stream), service).await
                });
            }
        });
        Self { address, connections }
    }

    /// The scripted upstream. A response that fails closes the connection.
    pub(crate) async fn of(upstream: &Upstream) -> Self {
        let upstream = upstream.clone();
        Self::may_fail(move |request| {
            let response = upstream.clone().oneshot(request);
            async move { Ok(response.await?.map(body_of)) }
        })
        .await
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn url(&self) -> reqwest::Url {
        format!("{}/v1/messages", self.origin()).parse().unwrap()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
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

pub(crate) fn text(text: impl Into<Bytes>) -> Body {
    http_body_util::Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
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
/// own jobs alone. Where the layers are others, the last one is the second once more.
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

/// Both middlewares that do our own jobs.
pub(crate) async fn each_middleware(test: impl AsyncFn(fn(&Pool) -> Arc<dyn Middleware>)) {
    test(|pool| Arc::new(TowerMiddleware::new(CredentialsLayer::new(pool.clone())))).await;
    test(|pool| Arc::new(CredentialsMiddleware::new(CredentialsLayer::new(pool.clone())))).await;
}

/// A client of reqwest's as it should be made.
pub(crate) fn client() -> reqwest::ClientBuilder {
    let policy = reqwest::redirect::Policy::default();
    reqwest::Client::builder().redirect(tower_credentials::reqwest_client::redirect_policy(policy))
}

/// How many of them [`clients`] makes.
pub(crate) const CLIENTS: usize = 3;

//! The clients that are compared.

use std::fmt::Debug;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use reqwest_middleware::ClientBuilder;
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use tower::retry::RetryLayer;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};
use tower_credentials::provider::GenericProvider;
use tower_credentials::reqwest_client::{CredentialsMiddleware, ReqwestLayer, TowerMiddleware};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{Credential, CredentialsLayer, OAuthTokens, Pool, PoolKey};
use tower_http::auth::AddAuthorizationLayer;

use crate::proxies::Proxy;
use crate::support::{self, OnceMore};

/// Four accounts, of which the first is good.
async fn pool(origin: &str) -> Pool {
    let vault = MemoryVault::new();
    for number in 0..4 {
        let tokens = OAuthTokens::new(format!("access-{number}-0123456789abcdef0123456789abcdef"));
        let tokens = tokens.refresh(format!("refresh-{number}"));
        let credential = Credential::new(PoolKey::new("example"), format!("account {number}"), tokens);
        vault.put(credential).await.expect("a vault that stores");
    }
    let provider = GenericProvider::bearer("example").origin(origin).expect("an origin");
    Pool::builder(provider, vault).open().await.expect("a pool")
}

type Once = Pin<Box<dyn Future<Output = ()>>>;

/// A client, with the name that the table shows.
pub(crate) struct Case {
    pub(crate) client: &'static str,
    pub(crate) stack: &'static str,
    /// The index of the case that it is compared with: the same client bare.
    pub(crate) bare: usize,
    /// Sends one request and reads its response.
    pub(crate) send: Rc<dyn Fn() -> Once>,
}

const BARE: &str = "bare";
const HAND_MADE: &str = "hand-made";
/// The stack that the lines for scripts are about.
pub(crate) const OURS: &str = "ours";

/// A case for each of these proxies, which gets this request.
pub(crate) fn of_proxies(proxies: [(&'static str, Request<Full<Bytes>>); 2]) -> Vec<Case> {
    let mut cases = Cases::default();
    for (name, request) in proxies {
        cases.hyper("gateway", name, &request, client());
    }
    cases.0
}

/// The cases in the order of the table.
#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn push<F: Future<Output = ()> + 'static>(
        &mut self,
        client: &'static str,
        stack: &'static str,
        send: impl Fn() -> F + 'static,
    ) {
        let bare = match (stack, self.0.last()) {
            (BARE, _) | (_, None) => self.0.len(),
            (_, Some(case)) => case.bare,
        };
        self.0.push(Case { client, stack, bare, send: Rc::new(move || Box::pin(send())) });
    }

    /// Through a bare proxy, ours, and nginx.
    fn gateways(&mut self, [bare, ours]: [&Proxy; 2], nginx: Option<&Proxy>) {
        self.hyper("gateway", BARE, &request_to(bare.base()), client());
        self.hyper("gateway", OURS, &request_to(ours.base()), client());
        if let Some(nginx) = nginx {
            self.hyper("gateway", "nginx", &request_to(nginx.base()), client());
        }
    }

    /// Over hyper-util's client.
    fn hyper<S>(
        &mut self,
        client: &'static str,
        stack: &'static str,
        request: &Request<Full<Bytes>>,
        service: S,
    ) where
        S: Service<Request<Full<Bytes>>, Response = Response<Incoming>> + Clone + 'static,
        S::Error: Into<BoxError>,
    {
        let request = request.clone();
        self.push(client, stack, move || {
            let response = service.clone().oneshot(request.clone());
            async move {
                let response = response.await.map_err(Into::into).expect("a response");
                assert_eq!(response.status(), StatusCode::OK);
                response.into_body().collect().await.expect("a body");
            }
        });
    }

    /// Over reqwest, whose clients live as long as the program, so that no request has to clone
    /// one.
    fn reqwest<C, F, E>(
        &mut self,
        client: &'static str,
        stack: &'static str,
        request: &Request<Full<Bytes>>,
        kept: C,
        execute: impl Fn(&'static C, reqwest::Request) -> F + 'static,
    ) where
        C: 'static,
        F: Future<Output = Result<reqwest::Response, E>> + 'static,
        E: Debug,
    {
        let body = Bytes::from(vec![b'x'; 2048]);
        let url = request.uri().to_string().parse().expect("a URL");
        let mut template = reqwest::Request::new(request.method().clone(), url);
        *template.headers_mut() = request.headers().clone();
        *template.body_mut() = Some(body.into());
        let kept: &'static C = Box::leak(Box::new(kept));
        self.push(client, stack, move || {
            let response = execute(kept, template.try_clone().expect("a body in memory"));
            async move {
                let response = response.await.expect("a response");
                assert_eq!(response.status(), StatusCode::OK);
                response.bytes().await.expect("a body");
            }
        });
    }
}

/// Sets one token, as a user without layers would.
fn authorized(mut request: reqwest::Request, token: &str) -> reqwest::Request {
    let value = format!("Bearer {token}").parse().expect("a header's value");
    request.headers_mut().insert("authorization", value);
    request
}

fn client() -> Client<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// The request that all clients send.
fn request_to(base: &str) -> Request<Full<Bytes>> {
    let mut request = Request::post(format!("{base}/v1/messages"));
    for (name, value) in support::template().headers() {
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::from(vec![b'x'; 2048]))).expect("a request")
}

pub(crate) async fn cases(
    origin: &str,
    [bare_proxy, gateway]: [&Proxy; 2],
    nginx: Option<&Proxy>,
) -> Vec<Case> {
    let token = "access-0-0123456789abcdef0123456789abcdef";
    let request = &request_to(origin);
    let mut cases = Cases::default();

    let hand_made = ServiceBuilder::new()
        .layer(RetryLayer::new(OnceMore::new()))
        .layer(AddAuthorizationLayer::bearer(token))
        .service(client());
    let ours = CredentialsLayer::new(pool(origin).await).layer(client());
    cases.hyper("hyper", BARE, request, client());
    cases.hyper("hyper", HAND_MADE, request, hand_made);
    cases.hyper("hyper", OURS, request, ours);

    let plain = || reqwest::Client::builder().no_proxy().tcp_nodelay(true).build().expect("a client");
    let retry = ExponentialBackoff::builder().build_with_max_retries(1);
    let retrying = RetryTransientMiddleware::new_with_policy(retry);
    let retrying = ClientBuilder::new(plain()).with(retrying).build();
    let layered = ReqwestLayer::new(CredentialsLayer::new(pool(origin).await)).layer(plain());
    cases.reqwest("reqwest", BARE, request, plain(), |client, request| client.execute(request));
    cases.reqwest("reqwest", HAND_MADE, request, retrying, move |client, request| {
        client.execute(authorized(request, token))
    });
    cases.reqwest("reqwest", OURS, request, layered, |client, request| client.execute(request));

    let tower = TowerMiddleware::new(CredentialsLayer::new(pool(origin).await));
    let tower = ClientBuilder::new(plain()).with(tower).build();
    let ours = CredentialsMiddleware::new(CredentialsLayer::new(pool(origin).await));
    let ours = ClientBuilder::new(plain()).with(ours).build();
    cases.reqwest("middleware", OURS, request, ours, |client, request| client.execute(request));
    cases.reqwest("middleware", "TowerMiddleware", request, tower, |client, request| {
        client.execute(request)
    });

    cases.gateways([bare_proxy, gateway], nginx);
    cases.0
}

/// The cases of the proxies alone.
pub(crate) fn of_gateways(proxies: [&Proxy; 2], nginx: Option<&Proxy>) -> Vec<Case> {
    let mut cases = Cases::default();
    cases.gateways(proxies, nginx);
    cases.0
}

//! What the layers cost where requests cross sockets: on loopback, over connections that are kept, with a POST of
//! 2 KiB that is answered with 1 KiB; one at a time, and 64 at once.
//!
//! `gateway` is the example `axum_gateway`, in a process of its own, beside a bare proxy of axum's in another.
//!
//! Each client is beside the same one bare, and beside what a user would stack by hand. The rounds are run in
//! turn, since a shared machine is faster in one minute than in the next; the medians count. The last two lines
//! are for scripts: ours over bare.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tower::retry::RetryLayer;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};
use tower_credentials::provider::GenericProvider;
use tower_credentials::reqwest::{ReqwestLayer, TowerMiddleware};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{Credential, CredentialsLayer, OAuthTokens, Pool, PoolKey};
use tower_http::auth::AddAuthorizationLayer;

mod proxies;
#[path = "../support/mod.rs"]
mod support;

use proxies::Proxy;
use support::OnceMore;

const ROUNDS: usize = 61;
/// Requests of a round, one at a time and at once.
const PER_ROUND: usize = 256;
const AT_ONCE: usize = 64;

/// An upstream on a thread of its own, which answers 200 and 1 KiB.
fn upstream() -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            sender.send(format!("http://{address}")).expect("somebody waits");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("a socket");
                let serve = hyper::service::service_fn(|request: Request<Incoming>| async move {
                    let _ = request.into_body().collect().await;
                    let body = Full::new(Bytes::from_static(&[b'x'; 1024]));
                    Ok::<_, Infallible>(Response::new(body))
                });
                let io = TokioIo::new(stream);
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, serve));
            }
        });
    });
    receiver.recv().expect("a server")
}

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

/// A client, by the name under which it is compared.
struct Case {
    client: &'static str,
    stack: &'static str,
    /// Sends one request and reads its answer.
    send: Rc<dyn Fn() -> Once>,
}

const BARE: &str = "bare";
const HAND_MADE: &str = "hand-made";
const OURS: &str = "ours";

impl Case {
    fn new<F: Future<Output = ()> + 'static>(
        client: &'static str,
        stack: &'static str,
        send: impl Fn() -> F + 'static,
    ) -> Self {
        Self { client, stack, send: Rc::new(move || Box::pin(send())) }
    }

    /// Over hyper-util's client.
    fn hyper<S>(
        client: &'static str,
        stack: &'static str,
        request: &Request<Full<Bytes>>,
        service: S,
    ) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<Incoming>> + Clone + 'static,
        S::Error: Into<BoxError>,
    {
        let request = request.clone();
        Self::new(client, stack, move || {
            let answer = service.clone().oneshot(request.clone());
            async move {
                let answer = answer.await.map_err(Into::into).expect("an answer");
                assert_eq!(answer.status(), StatusCode::OK);
                answer.into_body().collect().await.expect("a body");
            }
        })
    }

    /// Over reqwest.
    fn reqwest<F, E>(
        stack: &'static str,
        request: &Request<Full<Bytes>>,
        execute: impl Fn(reqwest::Request) -> F + 'static,
    ) -> Self
    where
        F: Future<Output = Result<reqwest::Response, E>> + 'static,
        E: Debug,
    {
        let body = Bytes::from(vec![b'x'; 2048]);
        let mut template = reqwest::Request::new(request.method().clone(), url(request.uri()));
        *template.headers_mut() = request.headers().clone();
        *template.body_mut() = Some(body.into());
        Self::new("reqwest", stack, move || {
            let answer = execute(template.try_clone().expect("a body in memory"));
            async move {
                let answer = answer.await.expect("an answer");
                assert_eq!(answer.status(), StatusCode::OK);
                answer.bytes().await.expect("a body");
            }
        })
    }
}

/// A request with one token, as a user without layers sets it.
fn authorized(mut request: reqwest::Request, token: &str) -> reqwest::Request {
    let value = format!("Bearer {token}").parse().expect("a header's value");
    request.headers_mut().insert("authorization", value);
    request
}

fn url(uri: &http::Uri) -> reqwest::Url {
    uri.to_string().parse().expect("a URL")
}

fn client() -> Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>> {
    let mut connector = hyper_util::client::legacy::connect::HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// The request that all of them send.
fn request_to(origin: &str) -> Request<Full<Bytes>> {
    let mut request = Request::post(format!("{origin}/v1/messages"));
    for (name, value) in support::template().headers() {
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::from(vec![b'x'; 2048]))).expect("a request")
}

async fn cases(origin: &str, [bare_proxy, gateway]: [&Proxy; 2]) -> Vec<Case> {
    let token = "access-0-0123456789abcdef0123456789abcdef";
    let request = &request_to(origin);

    let hand_made = ServiceBuilder::new()
        .layer(RetryLayer::new(OnceMore::new()))
        .layer(AddAuthorizationLayer::bearer(token))
        .service(client());
    let ours = CredentialsLayer::new(pool(origin).await).layer(client());

    let plain = || reqwest::Client::builder().no_proxy().tcp_nodelay(true).build().expect("a client");
    let bare = plain();
    let retry = ExponentialBackoff::builder().build_with_max_retries(1);
    let retrying = reqwest_middleware::ClientBuilder::new(plain())
        .with(RetryTransientMiddleware::new_with_policy(retry))
        .build();
    let layered = ReqwestLayer::new(CredentialsLayer::new(pool(origin).await)).layer(plain());
    let middleware = reqwest_middleware::ClientBuilder::new(plain())
        .with(TowerMiddleware::new(CredentialsLayer::new(pool(origin).await)))
        .build();
    vec![
        Case::hyper("hyper", BARE, request, client()),
        Case::hyper("hyper", HAND_MADE, request, hand_made),
        Case::hyper("hyper", OURS, request, ours),
        Case::reqwest(BARE, request, move |request| bare.execute(request)),
        Case::reqwest(HAND_MADE, request, move |request| {
            let retrying = retrying.clone();
            async move { retrying.execute(authorized(request, token)).await }
        }),
        Case::reqwest(OURS, request, move |request| {
            let layered = layered.clone();
            async move { layered.execute(request).await }
        }),
        Case::reqwest("ours, middleware", request, move |request| {
            let middleware = middleware.clone();
            async move { middleware.execute(request).await }
        }),
        Case::hyper("gateway", BARE, &request_to(bare_proxy.origin()), client()),
        Case::hyper("gateway", OURS, &request_to(gateway.origin()), client()),
    ]
}

/// How long a round takes for each request.
async fn round(case: &Case, at_once: usize) -> Duration {
    let start = Instant::now();
    let set = tokio::task::LocalSet::new();
    let tickets = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for _ in 0..at_once {
        let (send, tickets) = (case.send.clone(), tickets.clone());
        set.spawn_local(async move {
            while tickets.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < PER_ROUND {
                send().await;
            }
        });
    }
    set.await;
    start.elapsed() / PER_ROUND as u32
}

fn medians(
    runtime: &Runtime,
    cases: &[Case],
    rounds: usize,
    at_once: usize,
) -> BTreeMap<(&'static str, &'static str), f64> {
    let mut times = vec![Vec::with_capacity(rounds); cases.len()];
    for number in 0..rounds {
        // Each comes after another one in turn: what ran before has left its traces.
        let mut order: Vec<_> = (0..cases.len()).collect();
        order.rotate_left(number % cases.len());
        if number % 2 == 1 {
            order.reverse();
        }
        for index in order {
            times[index].push(runtime.block_on(round(&cases[index], at_once)).as_secs_f64() * 1e6);
        }
    }
    let median = |(case, mut times): (&Case, Vec<f64>)| {
        times.sort_by(f64::total_cmp);
        ((case.client, case.stack), times[times.len() / 2])
    };
    cases.iter().zip(times).map(median).collect()
}

fn main() {
    // As criterion has it: without `--bench` the benches are only tried out.
    if proxies::be_one_if_asked() {
        return;
    }
    let measures = std::env::args().any(|argument| argument == "--bench");
    let rounds = if measures { ROUNDS } else { 1 };
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let upstream = upstream();
    let bare_proxy = Proxy::bare(&upstream);
    let gateway = runtime.block_on(Proxy::ours(&upstream));
    let cases = runtime.block_on(cases(&upstream, [&bare_proxy, &gateway]));
    let mut ratios = Vec::new();
    for at_once in [1, AT_ONCE] {
        // Connections are made.
        medians(&runtime, &cases, 1, at_once);
        let medians = medians(&runtime, &cases, rounds, at_once);
        println!("\nµs for a request, {at_once} at once{:>16} {:>10}", "", "over bare");
        let mut line = Vec::new();
        for case in &cases {
            let (time, bare) = (medians[&(case.client, case.stack)], medians[&(case.client, BARE)]);
            println!("{:<20} {:<16} {time:>8.1} {:>10.3}", case.client, case.stack, time / bare);
            if case.stack == OURS {
                line.push(format!("{}={:.3}", case.client, time / bare));
            }
        }
        ratios.push(line.join(" "));
    }
    println!("\nend_to_end ratio {}", ratios[0]);
    println!("end_to_end busy ratio {}", ratios[1]);
}

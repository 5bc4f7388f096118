//! A reverse proxy over the accounts of a vault, built by hand: our layers, a client, and axum.
//!
//! ```text
//! cargo run --example axum_gateway --features hyper,setup,tls -- anthropic 8080
//! ```
//!
//! To use a gateway, take the program's: `credentials serve` has tokens for its clients, routes, bounds, a log and metrics.
//! This shows the pieces to a program that needs one of its own. Left out here, and in the program's
//! `src/bin/credentials/gateway`:
//!
//! - keys of the client in the query and in trailers, which must not go on to the upstream;
//! - `te`, without which there are no trailers, and `connection`, which may name more headers for one connection only;
//! - a 426 for a WebSocket: without its upgrade it would be another request, and its refusal would count against the account;
//! - errors as JSON, and a timeout. A 503 and a 502 are the same here.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_credentials::https::HttpsClient;
use tower_credentials::setup::Setup;
use tower_credentials::{
    BoxError, ErrorBodyLayer, ErrorResponseLayer, FirstEventLayer, Pool, ReplayLayer, WhenAllCoolingDown,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [name, port] = &arguments[..] else { return Err("usage: axum_gateway PROVIDER PORT".into()) };
    let port = port.parse().map_err(|_| format!("{port:?} is no port; 0 lets the system choose"))?;
    // Vault, key and settings are where the program `credentials` has them.
    let setup = Setup::from_env()?;
    let vault = setup.vault().await?.ok_or("there is no vault yet; try: credentials login PROVIDER")?;
    // A client that waits can be told for how long. A connection that hangs tells nothing.
    let builder = setup.pool(name, vault)?.when_all_cooling_down(WhenAllCoolingDown::Fail);
    let pool = builder.open().await?;
    let served = serve(&setup, name, &pool, port).await;
    // Also after an error: a renewal that is cut off can cost the account its sign-in.
    let closed = pool.close(Duration::from_secs(60)).await;
    served.and(closed.map_err(Into::into))
}

/// Serves until Ctrl-C, and then until the requests under way have ended or another Ctrl-C comes.
async fn serve(setup: &Setup, name: &str, pool: &Pool, port: u16) -> Result<(), BoxError> {
    let provider = setup.registry().provider(name)?;
    let upstream = provider.origin().ok_or("set `origins` of the provider in the settings")?;
    let upstream: Uri = upstream.to_string().parse()?;
    // The order is that of a request. Each of these works alone, too.
    let accounts = ServiceBuilder::new()
        // Every account is limited: a 429 with the time that is left.
        .layer(ErrorResponseLayer::new().restate_limits())
        // A body that streams can be sent again, up to 2 MiB.
        .layer(ReplayLayer::new())
        // The account, rotation, renewal, and what is learnt.
        .layer(setup.registry().layer(pool.clone()))
        // What errors say in their bodies, and at the beginning of a stream.
        .layer(ErrorBodyLayer::new(pool.clone()))
        .layer(FirstEventLayer::new(pool.clone()))
        .service(HttpsClient::new()?);
    let gateway = service_fn(move |request| {
        let (accounts, upstream) = (accounts.clone(), upstream.clone());
        async move { Ok::<_, Infallible>(respond(accounts, upstream, request).await) }
    });
    // Nobody else's machine reaches it: whoever does uses the accounts.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let serving = axum::serve(listener, Router::new().fallback_service(gateway));
    let serving = serving.with_graceful_shutdown(async { drop(ended.await) });
    let signals = async {
        ctrl_c().await?;
        let _ = end.send(());
        ctrl_c().await
    };
    tokio::select! {
        served = serving => served?,
        came = signals => came?,
    }
    Ok(())
}

async fn respond<S, B>(accounts: S, upstream: Uri, mut request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    if is_of_a_page(request.headers()) {
        return (StatusCode::FORBIDDEN, "this gateway is for programs of this machine\n")
            .into_response();
    }
    let mut target = std::mem::take(request.uri_mut()).into_parts();
    let upstream = upstream.into_parts();
    (target.scheme, target.authority) = (upstream.scheme, upstream.authority);
    let Ok(target) = Uri::from_parts(target) else { return StatusCode::BAD_REQUEST.into_response() };
    *request.uri_mut() = target;
    remove_hop_by_hop(request.headers_mut());
    // The client makes its own.
    request.headers_mut().remove(header::HOST);
    match accounts.oneshot(request).await {
        Ok(mut response) => {
            remove_hop_by_hop(response.headers_mut());
            response.map(Body::new)
        }
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error}\n")).into_response(),
    }
}

/// Every browser on the machine runs other people's programs. A page may send requests to any address (`origin`), and may
/// let its own host name resolve to this one, to read the responses (`host`).
fn is_of_a_page(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let is_here = host.is_some_and(|host| ["127.0.0.1", "localhost"].contains(&host.host()));
    !is_here || headers.contains_key(header::ORIGIN)
}

/// Headers for one connection only (RFC 9110, section 7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"] {
        headers.remove(name);
    }
}

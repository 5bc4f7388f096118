//! The upstream of the example with tonic: an HTTP/2 server on 127.0.0.1, without TLS, with tonic's health
//! service behind a gateway that knows two accounts by their tokens. It does not use this crate.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::ServiceExt;

/// A running upstream.
pub struct HealthUpstream {
    address: SocketAddr,
    attempts: Arc<AtomicU32>,
}

impl HealthUpstream {
    /// Listens on a port that the system chooses.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let attempts = Arc::new(AtomicU32::new(0));
        let counted = attempts.clone();
        let (_, health) = tonic_health::server::health_reporter();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (counted, health) = (counted.clone(), health.clone());
                let service = service_fn(move |request| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    gateway(health.clone(), request)
                });
                let server = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(connection), service));
            }
        });
        Ok(Self { address, attempts })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The number of requests to the gateway.
    pub fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }
}

/// Responds as a gateway that speaks only HTTP, or passes the call on.
async fn gateway<H: Health>(
    health: HealthServer<H>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    match request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes) {
        Some(b"Bearer work-access") => {
            let mut response = empty(StatusCode::TOO_MANY_REQUESTS);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
            Ok(response)
        }
        Some(b"Bearer spare-access") => health.oneshot(request).await,
        _ => Ok(empty(StatusCode::UNAUTHORIZED)),
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

//! The upstream of the quickstart: an HTTP/1.1 server on 127.0.0.1 with an API and a token endpoint.
//! It knows three accounts by their tokens, and does not use this crate.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// How many 200s `team` gets before it is limited, too.
const TEAM_ALLOWANCE: u32 = 2;

/// A running upstream.
pub struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    api_requests: AtomicU32,
    team_responses: AtomicU32,
    /// The refresh token of `team`. It works once, as with most vendors.
    team_refresh: Mutex<&'static str>,
}

impl Upstream {
    /// Listens on a port that the system chooses.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            api_requests: AtomicU32::new(0),
            team_responses: AtomicU32::new(0),
            team_refresh: Mutex::new("team-refresh-1"),
        });
        let served = state.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let state = served.clone();
                let service = service_fn(move |request| respond(state.clone(), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
            }
        });
        Ok(Self { address, state })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The number of requests to the API.
    pub fn api_requests(&self) -> u32 {
        self.state.api_requests.load(Ordering::Relaxed)
    }
}

async fn respond(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    // Read to its end, so that the connection can be used again.
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Ok(match (&head.method, head.uri.path()) {
        (&Method::POST, "/v1/messages" | "/markdown/raw") => {
            state.api(head.headers.get(header::AUTHORIZATION))
        }
        (&Method::POST, "/oauth/token") => state.token(&body),
        _ => plain(StatusCode::NOT_FOUND, "no such path"),
    })
}

impl State {
    fn api(&self, authorization: Option<&header::HeaderValue>) -> Response<Full<Bytes>> {
        self.api_requests.fetch_add(1, Ordering::Relaxed);
        match authorization.map(header::HeaderValue::as_bytes) {
            Some(b"Bearer work-access") => limited("30"),
            Some(b"Bearer team-access-2") => {
                if self.team_responses.fetch_add(1, Ordering::Relaxed) < TEAM_ALLOWANCE {
                    plain(StatusCode::OK, "hello, team")
                } else {
                    limited("60")
                }
            }
            Some(b"Bearer spare-access") => plain(StatusCode::OK, "hello, spare"),
            // `team-access-1`, which has expired, and anything else.
            _ => plain(StatusCode::UNAUTHORIZED, "invalid_token"),
        }
    }

    /// A token endpoint (RFC 6749, section 6) that gives a new refresh token with each exchange.
    fn token(&self, form: &[u8]) -> Response<Full<Bytes>> {
        let mut current = self.team_refresh.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = format!("grant_type=refresh_token&refresh_token={current}");
        if form != expected.as_bytes() {
            return plain(StatusCode::BAD_REQUEST, r#"{"error":"invalid_grant"}"#);
        }
        *current = "team-refresh-2";
        let tokens =
            r#"{"access_token":"team-access-2","refresh_token":"team-refresh-2","expires_in":3600}"#;
        plain(StatusCode::OK, tokens)
    }
}

fn limited(seconds: &'static str) -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "slow down");
    let seconds = header::HeaderValue::from_static(seconds);
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

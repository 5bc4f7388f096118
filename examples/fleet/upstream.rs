//! The API that all hosts call: it takes valid tokens and keys, limits accounts on demand, and keeps a record of each request.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tower_credentials::BoxError;

use crate::authorization_server::client;

/// Says which host a request came through.
pub const HOST: &str = "x-fleet-host";

/// For how long an account is limited, in seconds. No limit ends while the example runs.
pub const LIMITED_SECONDS: u32 = 1_800;

/// A request that has arrived with a valid token or key.
#[derive(Clone)]
pub struct Seen {
    pub host: usize,
    pub account: String,
    pub status: StatusCode,
}

/// The API. A clone is the same one.
#[derive(Clone)]
pub struct Upstream {
    pub origin: String,
    state: Arc<Shared>,
}

struct Shared {
    authorization_server: String,
    keys: HashMap<String, String>,
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    limited: HashSet<String>,
    expired: HashSet<String>,
    /// The last token of each account.
    last: HashMap<String, String>,
    seen: Vec<Seen>,
}

impl Upstream {
    /// Listens on a free port of 127.0.0.1. `keys` says whose each API key is.
    pub async fn start(
        authorization_server: &str,
        keys: HashMap<String, String>,
    ) -> Result<Self, BoxError> {
        let records = Mutex::default();
        let authorization_server = authorization_server.to_owned();
        let state = Arc::new(Shared { authorization_server, keys, records });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(respond).with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { origin, state })
    }

    /// Limits an account from now on.
    pub fn limit(&self, account: &str) {
        self.state.records().limited.insert(account.to_owned());
    }

    /// Refuses the token that the account has now.
    pub fn expire(&self, account: &str) {
        let mut records = self.state.records();
        let token = records.last.get(account).cloned();
        records.expired.extend(token);
    }

    /// Returns the requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.records().seen.clone()
    }
}

impl Shared {
    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the authorization server whose token this is.
    async fn person(&self, token: &str) -> Result<Option<String>, BoxError> {
        let request = Request::get(format!("{}/resource", self.authorization_server))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Full::<Bytes>::default())?;
        let body = client().request(request).await?.into_body().collect().await?.to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body)?;
        Ok(body["person"].as_str().map(str::to_owned))
    }
}

async fn respond(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    _body: Bytes,
) -> Response<axum::body::Body> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = text("authorization").strip_prefix("Bearer ").unwrap_or_default();
    let account = match shared.keys.get(token) {
        Some(account) => Ok(Some(account.clone())),
        None => shared.person(token).await,
    };
    let account = match account {
        Ok(Some(account)) => account,
        Ok(None) => return StatusCode::UNAUTHORIZED.into_response(),
        Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    };
    let mut records = shared.records();
    let status = if records.expired.contains(token) {
        StatusCode::UNAUTHORIZED
    } else if records.limited.contains(&account) {
        StatusCode::TOO_MANY_REQUESTS
    } else {
        StatusCode::OK
    };
    records.last.insert(account.clone(), token.to_owned());
    let host = text(HOST).parse().unwrap_or_default();
    records.seen.push(Seen { host, account: account.clone(), status });
    let mut response = (status, account).into_response();
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(header::RETRY_AFTER, LIMITED_SECONDS.into());
    }
    response
}

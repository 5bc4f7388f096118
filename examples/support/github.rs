//! The parts of GitHub that the example of a GitHub App needs: an HTTP/1.1 server on 127.0.0.1 that makes tokens for a
//! client with the App's key, and an API for a client with the latest token.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls_pki_types::PrivatePkcs1KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_credentials::BoxError;

/// A running server.
pub struct GitHub {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    app: &'static str,
    /// The public half of the App's key.
    key: UnparsedPublicKey<Vec<u8>>,
    minted: AtomicU32,
    is_revoked: AtomicBool,
}

impl GitHub {
    /// Listens on a port that the system chooses.
    pub async fn start(app: &'static str, key: &[u8]) -> Result<Self, BoxError> {
        let der = PrivatePkcs1KeyDer::from_pem_slice(key).map_err(|error| error.to_string())?;
        let public = RsaKeyPair::from_der(der.secret_pkcs1_der())
            .map_err(|error| error.to_string())?
            .public()
            .as_ref()
            .to_vec();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
        let (minted, is_revoked) = (AtomicU32::new(0), AtomicBool::new(false));
        let state = Arc::new(State { app, key, minted, is_revoked });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let served = state.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let state = served.clone();
                let service = service_fn(move |request| {
                    let state = state.clone();
                    async move { state.respond(&request) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
            }
        });
        Ok(Self { address, state })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The number of tokens that it has made.
    pub fn minted(&self) -> u32 {
        self.state.minted.load(Ordering::Relaxed)
    }

    /// Revokes the latest token.
    pub fn revoke(&self) {
        self.state.is_revoked.store(true, Ordering::Relaxed);
    }
}

impl State {
    fn respond(&self, request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, BoxError> {
        let bearer = bearer(request.headers());
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/app/installations/678/access_tokens") if self.is_by_the_app(bearer) => {
                let number = self.minted.fetch_add(1, Ordering::Relaxed) + 1;
                self.is_revoked.store(false, Ordering::Relaxed);
                let expiry = SystemTime::now() + Duration::from_secs(60 * 60);
                let response = json!({
                    "token": format!("ghs_{number}"),
                    "expires_at": humantime::format_rfc3339_seconds(expiry).to_string(),
                });
                respond(StatusCode::CREATED, &response)
            }
            (&Method::GET, "/installation/repositories") if self.is_latest(bearer) => {
                respond(StatusCode::OK, &json!({ "total_count": 0, "repositories": [] }))
            }
            _ => respond(StatusCode::UNAUTHORIZED, &json!({ "message": "Bad credentials" })),
        }
    }

    fn is_latest(&self, token: &str) -> bool {
        let latest = format!("ghs_{}", self.minted.load(Ordering::Relaxed));
        token == latest && !self.is_revoked.load(Ordering::Relaxed)
    }

    /// Whether this is a JWT of the App's for ten minutes at most.
    fn is_by_the_app(&self, jwt: &str) -> bool {
        let Some((text, signature)) = jwt.rsplit_once('.') else { return false };
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        let claims = text.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
        let claims: Value =
            claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let is_in_time = claims["exp"].as_u64().is_some_and(|end| (now..=now + 600).contains(&end));
        self.key.verify(text.as_bytes(), &signature).is_ok() && claims["iss"] == self.app && is_in_time
    }
}

fn bearer(headers: &HeaderMap) -> &str {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default()
}

fn respond(status: StatusCode, response: &Value) -> Result<Response<Full<Bytes>>, BoxError> {
    let json = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    Ok(json.body(Full::from(response.to_string()))?)
}

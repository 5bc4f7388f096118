//! A token endpoint that redirects, over clients that follow: no token or client secret gets to another origin, and no
//! response from there is used.

#![cfg(all(feature = "reqwest", feature = "follow-redirect"))]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tower::{Layer, Service};
use tower_credentials::oauth::{FlowKind, OAuthClient, OAuthConfig, OAuthError, OAuthHttp};
use tower_credentials::provider::GenericProvider;
use tower_credentials::redirect::FilterCredentials;
use tower_credentials::reqwest_client::HttpService;
use tower_credentials::vault::MemoryVault;
use tower_credentials::{BoxError, Credential, OAuthTokens, Pool, PoolKey, RefreshError};
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_http::follow_redirect::policy::{Action, Policy, PolicyExt, clone_body_fn, redirect_fn};

use crate::authorization_server::client;

const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

/// The head and body of each request to a server, as text.
type Seen = Arc<Mutex<Vec<String>>>;

async fn serve(
    response: impl Fn(&str) -> Response<Full<Bytes>> + Clone + Send + 'static,
) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let log = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (response, log) = (response.clone(), log.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (response, log) = (response.clone(), log.clone());
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    let path = head.uri.path().to_owned();
                    log.lock().unwrap().push(format!("{head:?} {}", String::from_utf8_lossy(&body)));
                    Ok::<_, BoxError>(response(&path))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (url, seen)
}

/// A vendor whose endpoints redirect to another server, which responds with tokens of its own.
struct Rig {
    home: String,
    away: String,
    seen_at_home: Seen,
    seen_away: Seen,
}

impl Rig {
    async fn start(status: u16) -> Self {
        let tokens = r#"{"access_token": "foreign", "token_type": "bearer", "expires_in": 3600,
            "refresh_token": "foreign", "device_code": "foreign", "user_code": "FOREIGN",
            "verification_uri": "https://evil.test/"}"#;
        let (away, seen_away) = serve(move |_| Response::new(Full::from(tokens))).await;
        let to = format!("{away}/token");
        let (home, seen_at_home) = serve(move |_| {
            let response = Response::builder().status(status).header(header::LOCATION, &to);
            response.body(Full::default()).unwrap()
        })
        .await;
        Self { home, away, seen_at_home, seen_away }
    }

    fn client(&self, http: OAuthHttp) -> OAuthClient {
        let mut config = OAuthConfig::qwen().client_id("the-client").client_secret("planted-secret");
        config.token_url = Some(format!("{}/token", self.home));
        config.device_url = Some(format!("{}/device", self.home));
        OAuthClient::new("test", config, http)
    }

    async fn refresh(&self, http: OAuthHttp) -> OAuthError {
        let tokens = OAuthTokens::new("planted-access").refresh("planted-refresh");
        let account = Credential::new(PoolKey::new("test"), "work", tokens);
        error(self.client(http).refresher().call(account).await.map(drop))
    }

    /// Checks that nobody but the vendor has seen a secret, and that the vendor got one request.
    fn check(&self, what: &str) {
        let away = self.seen_away.lock().unwrap();
        assert!(!away.iter().any(|seen| seen.contains("planted")), "{what}: {away:?}");
        let home = self.seen_at_home.lock().unwrap();
        assert_eq!(home.len(), 1, "{what}: {home:?}");
    }
}

fn error(result: Result<(), RefreshError>) -> OAuthError {
    match result {
        Err(RefreshError::Failed(error)) => *error.downcast().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The response is the redirect itself, or is refused because of its origin.
fn check_error(error: &OAuthError, rig: &Rig, status: u16) {
    let text = error.to_string();
    assert!(!text.contains("planted") && !error.is_transient(), "{text}");
    match error {
        OAuthError::Redirected { origin, .. } => assert_eq!(*origin, rig.away),
        OAuthError::Malformed { status: answered, .. } => assert_eq!(answered.as_u16(), status),
        other => panic!("{other:?}"),
    }
}

fn following() -> OAuthHttp {
    OAuthHttp::new(HttpService::new(reqwest::Client::new()))
}

#[tokio::test]
async fn a_refresh_over_a_redirecting_reqwest_client_carries_no_token_along() {
    for status in STATUSES {
        let rig = Rig::start(status).await;
        let error = rig.refresh(following()).await;
        check_error(&error, &rig, status);
        rig.check(&status.to_string());
        let followed = rig.seen_away.lock().unwrap().len();
        assert_eq!(followed, usize::from(status < 304), "{status}: a token is not sent without a body");
    }
}

#[tokio::test]
async fn a_device_sign_in_and_client_credentials_carry_no_token_along_either() {
    for status in STATUSES {
        let rig = Rig::start(status).await;
        let error = rig.client(following()).sign_in(FlowKind::Device).await.unwrap_err();
        check_error(&error, &rig, status);
        rig.check(&status.to_string());

        let rig = Rig::start(status).await;
        let account = Credential::new(PoolKey::new("test"), "service", OAuthTokens::new(""));
        let minted = rig.client(following()).client_credentials().call(account).await;
        check_error(&self::error(minted.map(drop)), &rig, status);
        rig.check(&status.to_string());
    }
}

#[tokio::test]
async fn a_client_without_redirects_sends_nothing_on_and_the_error_names_the_status() {
    for status in STATUSES {
        let rig = Rig::start(status).await;
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let error = rig.refresh(OAuthHttp::new(HttpService::new(client.build().unwrap()))).await;
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert!(rig.seen_away.lock().unwrap().is_empty());
    }
}

async fn by_tower_http(
    rig: &Rig,
    policy: impl Policy<Full<Bytes>, BoxError> + Clone + Send + 'static,
) -> OAuthError {
    let client = tower::util::MapErr::new(client(), BoxError::from);
    rig.refresh(OAuthHttp::new(FollowRedirectLayer::with_policy(policy).layer(client))).await
}

#[tokio::test]
async fn tower_http_follows_only_within_the_origin_with_the_policy() {
    for status in STATUSES {
        let rig = Rig::start(status).await;
        let provider = GenericProvider::bearer("test").origin(&rig.home).unwrap();
        let pool = Pool::builder(provider, MemoryVault::new()).open().await.unwrap();
        let clones = clone_body_fn(|body: &Full<Bytes>| Some(body.clone()));
        let policy = clones.and::<_, Full<Bytes>, BoxError>(FilterCredentials::new(&pool));
        check_error(&by_tower_http(&rig, policy).await, &rig, status);
        rig.check(&status.to_string());
        assert!(rig.seen_away.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_response_from_elsewhere_is_refused_with_any_tower_http_policy() {
    for status in STATUSES {
        let rig = Rig::start(status).await;
        let follows = redirect_fn(|_| Ok::<_, BoxError>(Action::Follow));
        let clones = clone_body_fn(|body: &Full<Bytes>| Some(body.clone()));
        let error = by_tower_http(&rig, follows.and::<_, Full<Bytes>, BoxError>(clones)).await;
        assert!(matches!(error, OAuthError::Redirected { .. }), "{error}");
        let error = by_tower_http(&rig, tower_http::follow_redirect::policy::Standard::default()).await;
        check_error(&error, &rig, status);
    }
}

//! Tokens for a client in its own name, from a server on a socket, for the layers over another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt};
use tower_credentials::oauth::{ClientCredentials, OAuthClient, OAuthConfig, OAuthError, OAuthHttp};
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::Health;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{
    BoxError, Clock, Credential, CredentialsLayer, OAuthTokens, Pool, PoolKey, RefreshError, Refresher,
    Secret, Timestamp,
};

use crate::authorization_server::client;

/// A token endpoint, `/token`, and an API, `/api`, that accepts only the latest token.
#[derive(Clone, Default)]
struct Server {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The forms that were sent to the token endpoint.
    asked: Vec<BTreeMap<String, String>>,
    /// The response in place of a token.
    says: Option<(u16, &'static str)>,
    /// The other members of a token response.
    beside: &'static str,
    /// The authorization of each request to the API.
    api: Vec<String>,
    /// The first token that works.
    first_good: usize,
}

impl Server {
    async fn start() -> (Self, String) {
        let server = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = served.clone();
                let service = service_fn(move |request| server.clone().respond(request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        (server, url)
    }

    async fn respond(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, BoxError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let mut state = self.state.lock().unwrap();
        if head.uri.path() == "/token" {
            state.asked.push(url::form_urlencoded::parse(&body).into_owned().collect());
            let number = state.asked.len();
            let token = format!(
                r#"{{"access_token": "token-{number}", "token_type": "bearer" {}}}"#,
                state.beside
            );
            let (status, text) =
                state.says.map_or((200, token), |(status, text)| (status, text.to_owned()));
            let response = Response::builder().status(status).header("content-type", "application/json");
            return Ok(response.header("retry-after", "7").body(Full::from(text))?);
        }
        let token = head.headers.get("authorization").map_or("", |value| value.to_str().unwrap());
        let token = token.trim_start_matches("Bearer ").to_owned();
        let number: usize = token.rsplit('-').next().unwrap().parse().unwrap_or_default();
        let status =
            if number >= state.first_good.max(1) { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        state.api.push(token);
        Ok(Response::builder().status(status).body(Full::default())?)
    }

    fn asked(&self) -> Vec<BTreeMap<String, String>> {
        self.state.lock().unwrap().asked.clone()
    }

    fn api(&self) -> Vec<String> {
        self.state.lock().unwrap().api.clone()
    }

    fn set(&self, set: impl FnOnce(&mut State)) {
        set(&mut self.state.lock().unwrap());
    }
}

fn config(url: &str) -> OAuthConfig {
    let mut config = OAuthConfig::default().client_id("service").client_secret("client-secret");
    config.token_url = Some(format!("{url}/token"));
    config.scopes = vec!["read".to_owned(), "write".to_owned()];
    config
}

fn minter(config: OAuthConfig) -> ClientCredentials {
    OAuthClient::new("x", config, OAuthHttp::new(client())).client_credentials()
}

fn account() -> Credential {
    Credential::new(PoolKey::new("x"), "service", OAuthTokens::new(""))
}

async fn mint(minter: &ClientCredentials) -> Result<OAuthTokens, RefreshError> {
    match minter.clone().call(account()).await? {
        Secret::OAuth(tokens) => Ok(tokens),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_clients_token_is_requested_before_the_first_request_and_after_a_401() {
    let (server, url) = Server::start().await;
    let vault = MemoryVault::new();
    vault.put(account()).await.unwrap();
    let provider = GenericProvider::bearer("x").origin(&url).unwrap();
    let pool = Pool::builder(provider, vault.clone()).open().await.unwrap();
    let refresher = minter(config(&url)).param("audience", "the api");
    let service = CredentialsLayer::new(pool.clone()).refresher(refresher).layer(client());
    for first_good in [0, 0, 2] {
        server.set(|state| state.first_good = first_good);
        let request = Request::get(format!("{url}/api")).body(Full::<Bytes>::default()).unwrap();
        assert_eq!(service.clone().oneshot(request).await.unwrap().status(), 200);
    }
    assert_eq!(server.api(), ["token-1", "token-1", "token-1", "token-2"]);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "service"),
        ("client_secret", "client-secret"),
        ("scope", "read write"),
        ("audience", "the api"),
    ];
    let form: BTreeMap<_, _> = form.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(server.asked(), [form.clone(), form]);
    let stored = vault.load_pool(PoolKey::new("x")).await.unwrap().credentials.remove(0);
    assert_eq!(stored.secret.token().expose(), "token-2");
}

#[tokio::test]
async fn lifetimes_are_read_as_in_other_responses_and_a_refresh_token_is_not_kept() {
    let (server, url) = Server::start().await;
    let now = Timestamp::from(std::time::SystemTime::now());
    for (beside, lifetime) in [
        (r#", "expires_in": 600"#, 600),
        (r#", "expires_in": "600""#, 600),
        (r#", "expires_in": 600.0, "refresh_token": "not for this""#, 600),
        (r#", "expires_in": "soon""#, 3600),
        ("", 3600),
    ] {
        server.set(|state| state.beside = beside);
        let clock =
            Clock::from_fn(move || std::time::UNIX_EPOCH + Duration::from_millis(now.as_millis()));
        let client = OAuthClient::new("x", config(&url), OAuthHttp::new(client())).clock(clock);
        let tokens = mint(&client.client_credentials()).await.unwrap();
        assert_eq!(tokens.expires_at, Some(now.after(Duration::from_secs(lifetime))), "{beside}");
        assert!(tokens.refresh.is_none());
    }
}

#[tokio::test]
async fn a_servers_refusal_is_an_error_of_a_setting_and_not_a_verdict() {
    let (server, url) = Server::start().await;
    for (status, response, words) in [
        (401, r#"{"error": "invalid_client"}"#, "OAuthConfig::client_id"),
        (400, r#"{"error": "unauthorized_client"}"#, "OAuthConfig::client_id"),
        (400, r#"{"error": "invalid_scope"}"#, "OAuthConfig::scopes"),
        (
            400,
            r#"{"error": "invalid_grant", "error_description": "client-secret?"}"#,
            "invalid_grant: …?",
        ),
    ] {
        server.set(|state| state.says = Some((status, response)));
        match mint(&minter(config(&url))).await.unwrap_err() {
            RefreshError::Failed(error) => assert!(error.to_string().contains(words), "{error}"),
            other => panic!("{other:?}"),
        }
    }
    server.set(|state| state.says = Some((503, "")));
    let busy = mint(&minter(config(&url))).await.unwrap_err();
    assert!(matches!(busy, RefreshError::AskAgain { after, .. } if after.as_secs() == 7), "{busy:?}");

    // The account works again as soon as the setting is right.
    server.set(|state| state.says = Some((401, r#"{"error": "invalid_client"}"#)));
    let vault = MemoryVault::new();
    vault.put(account()).await.unwrap();
    let provider = GenericProvider::bearer("x").origin(&url).unwrap();
    let pool = Pool::builder(provider, vault).open().await.unwrap();
    let service = CredentialsLayer::new(pool.clone()).refresher(minter(config(&url))).layer(client());
    let request = Request::get(format!("{url}/api")).body(Full::<Bytes>::default()).unwrap();
    let error = service.oneshot(request).await.unwrap_err().to_string();
    assert!(error.contains("the account service of pool x/default has no access token"), "{error}");
    assert_eq!(pool.status()[0].standing.health, Health::Good);
    assert_eq!(server.api(), [""; 0]);
}

#[tokio::test]
async fn a_missing_setting_is_named_and_nothing_is_sent() {
    let (server, url) = Server::start().await;
    for (setting, unset) in [
        ("client_id", (|config| config.client_id = None) as fn(&mut OAuthConfig)),
        ("client_secret", |config| config.client_secret = None),
        ("token_url", |config| config.token_url = None),
    ] {
        let mut config = config(&url);
        unset(&mut config);
        let error = match mint(&minter(config)).await.unwrap_err() {
            RefreshError::Failed(error) => error,
            other => panic!("{other:?}"),
        };
        let error: &OAuthError = error.downcast_ref().unwrap();
        assert!(matches!(error, OAuthError::MissingSetting { setting: named, .. } if *named == setting));
    }
    let key = Credential::new(PoolKey::new("x"), "key", Secret::api_key("key"));
    let error = minter(config(&url)).call(key).await.unwrap_err();
    assert!(error.to_string().contains("kind api"), "{error}");
    assert!(!format!("{:?}", minter(config(&url)).param("assertion", "hidden")).contains("hidden"));
    let _: Refresher = minter(config(&url)).into();
    assert_eq!(server.asked(), []);
}

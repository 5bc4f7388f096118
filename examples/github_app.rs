//! A GitHub App's installations. Their tokens are made when they are needed, with the App's key.
//!
//! `cargo run --example github_app --features hyper`
//!
//! The upstream is a local server on 127.0.0.1, with the two endpoints of GitHub that this needs. The App's key is
//! made up.
//! The vault has no token at first. One is made before the first request, with a JWT that is signed with the key, and
//! another once the server has revoked the first. Each is made once, though ten requests need it.

mod support {
    pub mod github;
}

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivatePkcs1KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use support::github::GitHub;
use tokio::task::JoinSet;
use tower::{ServiceBuilder, ServiceExt};
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{
    BoxError, Credential, CredentialsLayer, OAuthTokens, Pool, PoolKey, Refresher, Secret,
};

type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// A key file as GitHub issues it. This one is for the example, and opens nothing.
const APP_KEY: &[u8] = include_bytes!("support/github_app_test_key.pem");
const APP_ID: &str = "12345";

/// The App, with its key.
struct App {
    key: RsaKeyPair,
    client: HttpClient,
    api: String,
}

impl App {
    fn new(client: HttpClient, api: &str) -> Result<Self, BoxError> {
        let der = PrivatePkcs1KeyDer::from_pem_slice(APP_KEY).map_err(|error| error.to_string())?;
        let key = RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|error| error.to_string())?;
        Ok(Self { key, client, api: api.to_owned() })
    }

    /// A JWT that proves to GitHub that the App asks (RFC 7519, RS256). Issued a minute early, since clocks differ.
    fn jwt(&self) -> Result<String, BoxError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let claims = json!({ "iat": now - 60, "exp": now + 540, "iss": APP_ID });
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", encode(json!({ "alg": "RS256", "typ": "JWT" })), encode(claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        let signed =
            self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature);
        signed.map_err(|_| "the JWT could not be signed")?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Requests a token for the account's installation.
    async fn token(&self, account: &Credential) -> Result<Secret, BoxError> {
        let id = account.metadata.attributes.get("installation");
        let id = id.ok_or("the account has no attribute `installation`")?;
        let request = Request::post(format!("{}/app/installations/{id}/access_tokens", self.api))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.jwt()?))
            .header(header::ACCEPT, "application/vnd.github+json")
            // GitHub refuses requests without a user agent.
            .header(header::USER_AGENT, "github_app")
            .body(Full::default())?;
        let response = self.client.request(request).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("GitHub answers {status}").into());
        }
        let body: Value = serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?;
        let text = |name: &str| body[name].as_str().ok_or_else(|| format!("the response has no {name}"));
        let expiry = humantime::parse_rfc3339(text("expires_at")?)?;
        Ok(OAuthTokens::new(text("token")?).expires_at(expiry.into()).into())
    }
}

async fn run(pool: &Pool, client: HttpClient, github: &GitHub) -> Result<(), BoxError> {
    let service = ServiceBuilder::new().layer(CredentialsLayer::new(pool.clone())).service(client);
    let url = format!("{}/installation/repositories", github.origin());
    for round in ["with the first token", "once that is revoked"] {
        let mut asked = JoinSet::new();
        for _ in 0..10 {
            let request = Request::get(&url).body(Full::default())?;
            asked.spawn(service.clone().oneshot(request));
        }
        for response in asked.join_all().await {
            let status = response?.status();
            if status != 200 {
                return Err(format!("{round}: {status}").into());
            }
        }
        println!("10 requests, {round}: {} made so far", github.minted());
        github.revoke();
    }
    if github.minted() == 2 { Ok(()) } else { Err("the story came out differently".into()) }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let github = GitHub::start(APP_ID, APP_KEY).await?;
    // GitHub itself is at `https://api.github.com`, and needs a connector with TLS.
    let client = Client::builder(TokioExecutor::new()).build_http();

    let vault = MemoryVault::new();
    let acme = Credential::new(PoolKey::new("github"), "acme", OAuthTokens::new(""));
    vault.put(acme.attribute("installation", "678")).await?;

    let app = std::sync::Arc::new(App::new(client.clone(), &github.origin())?);
    let refresher = Refresher::new(move |account: Credential| {
        let app = app.clone();
        async move { app.token(&account).await }
    })
    .mints()
    // Tokens of two installations have nothing to do with each other.
    .concurrent();
    let provider = GenericProvider::bearer("github").origin(&github.origin())?;
    let pool = Pool::builder(provider, vault).refresher(refresher).open().await?;

    let done = run(&pool, client, &github).await;
    pool.close(Duration::from_secs(60)).await?;
    done
}

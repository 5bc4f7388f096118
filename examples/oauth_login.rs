//! A complete sign-in and a refresh, with an authorization server in this process.
//!
//! ```text
//! cargo run --example oauth_login --features oauth
//! ```
//!
//! Shows what a command-line program prints while somebody signs in with a browser, and what happens to the
//! tokens: they are stored in a vault, a pool's requests use them, and a request renews them once they have
//! expired. The browser is a plain HTTP client. Exits with 1 if anything goes wrong.
//!
//! To copy: [`sign_in`] and [`open_client`]. The server is the one of the tests.

#[path = "../tests/authorization_server/mod.rs"]
mod authorization_server;

use std::process::ExitCode;
use std::time::Duration;

use authorization_server::{AuthorizationServer, Kind, Rules, Vendor, browse, client};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_credentials::oauth::{OAuthClient, OAuthError, OAuthHttp, Progress, Prompt, SignedIn};
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{BoxError, CredentialsLayer, OAuthTokens, Pool, PoolKey, Secret};

/// The provider's name.
const PROVIDER: &str = "example";

// ---------------------------------------------------------------------------------------------------
// What your program would have.

/// Signs in to an account. `open` gets the page that the person must open; your program would
/// print it, and start a browser.
async fn sign_in(client: &OAuthClient, open: impl FnOnce(String)) -> Result<SignedIn, OAuthError> {
    let mut sign_in = client.sign_in(client.first_flow()?).await?;
    match sign_in.prompt().clone() {
        Prompt::Browser { url, .. } => open(url),
        Prompt::Device { user_code, verification_url, .. } => {
            println!("type {user_code} into {verification_url}");
        }
        // See `SignIn::paste`.
        other => println!("{other:?}"),
    }
    loop {
        match sign_in.next().await {
            Some(Ok(Progress::SignedIn(account))) => return Ok(*account),
            Some(Ok(progress)) => println!("           {progress}"),
            Some(Err(error)) => return Err(error),
            None => return Err(OAuthError::Ended),
        }
    }
}

/// A client whose requests have the accounts' tokens, renewed if needed.
fn open_client(
    pool: Pool,
    oauth: &OAuthClient,
) -> impl Service<Request<Full<Bytes>>, Response = Response<Incoming>, Error = BoxError> + Clone {
    let layer = CredentialsLayer::new(pool).refresher(oauth.refresher());
    ServiceBuilder::new().layer(layer).service(client())
}

/// Works until the work is done or Ctrl-C is pressed, and then waits for a token that is being renewed: a renewal that
/// is cut off can cost the account its sign-in.
async fn run_and_close(
    pool: &Pool,
    work: impl Future<Output = Result<(), BoxError>>,
) -> Result<(), BoxError> {
    let done = tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    pool.close(Duration::from_secs(60)).await?;
    done
}

// ---------------------------------------------------------------------------------------------------
// The story.

async fn tell() -> Result<(), BoxError> {
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    println!("server     {}", server.url());
    let oauth = OAuthClient::new(PROVIDER, server.config(), OAuthHttp::new(client()));

    let account = sign_in(&oauth, |url| {
        println!("open       {}?…", url.split('?').next().unwrap_or_default());
        tokio::spawn(async move {
            let page = browse(&url).await;
            println!("browser    {}", page.status);
        });
    })
    .await?;
    println!("account    {}", account.account.as_deref().unwrap_or("unknown"));
    println!("email      {}", account.label.as_deref().unwrap_or("unknown"));
    println!("lifetime   {} s", lifetime(&account.tokens));

    let vault = MemoryVault::new();
    let stored = account.store(&vault, PoolKey::new(PROVIDER), "work").await?;
    println!("stored     {} as {}, generation {}", stored.pool, stored.label, stored.generation);

    let provider = GenericProvider::bearer(PROVIDER).origin(server.url())?;
    let pool = Pool::builder(provider, vault.clone()).open().await?;
    let client = open_client(pool.clone(), &oauth);
    let requests = async {
        ask(&client, server.url()).await?;
        server.advance(Duration::from_secs(24 * 3600));
        println!("later      the access token has expired");
        ask(&client, server.url()).await
    };
    run_and_close(&pool, requests).await?;

    let now = vault.get(&stored.pool, stored.id).await?;
    println!("stored     {} as {}, generation {}", stored.pool, stored.label, now.metadata.generation);
    let rotated = matches!(&now.secret, Secret::OAuth(tokens)
        if tokens.refresh.as_ref().map(|token| token.expose())
            != account.tokens.refresh.as_ref().map(|token| token.expose()));
    println!("refreshes  {}, the refresh token was rotated: {rotated}", server.granted(Kind::Refresh));
    if server.granted(Kind::Refresh) == 1 && rotated { Ok(()) } else { Err("not as expected".into()) }
}

fn lifetime(tokens: &OAuthTokens) -> u64 {
    let now = tower_credentials::Clock::system().now();
    // A second that has begun counts.
    tokens.expires_at.map_or(0, |moment| moment.since(now).as_secs_f64().ceil() as u64)
}

async fn ask<S>(client: &S, origin: &str) -> Result<(), BoxError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<Incoming>, Error = BoxError> + Clone,
{
    let request = Request::get(format!("{origin}/resource")).body(Full::default())?;
    let response = client.clone().oneshot(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    println!("request    {status} {}", String::from_utf8_lossy(&body));
    if status.is_success() { Ok(()) } else { Err("the request was refused".into()) }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match tell().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

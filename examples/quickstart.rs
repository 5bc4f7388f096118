//! Three accounts, four layers, one vault, against a real HTTP server on 127.0.0.1.
//!
//! ```text
//! cargo run --bin quickstart --features quickstart                  makes the vault in a temporary directory
//! cargo run --bin quickstart --features quickstart -- --vault DIR   keeps the vault in DIR, its key in DIR.key
//! ```
//!
//! The server limits `work`, the access token of `team` has expired, and `spare` is good. The caller sends four
//! requests and gets a 200 for each. The program prints every attempt that this takes. A second client then opens the
//! same vault, and starts with the account that is ready. Exits with 1 if anything goes differently.
//!
//! To copy: [`open_vault`], [`open_pool`], [`client`], [`refresher`] and [`run_and_close`].

mod support {
    pub mod log;
    pub mod upstream;
}

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use support::log::Log;
use support::upstream::Upstream;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::{EnvKey, FileKey, KeyServiceExt};
use tower_credentials::vault::{Vault, VaultError, VaultExt};
use tower_credentials::{
    AuthHeaderLayer, BoxError, Clock, CooldownPersistLayer, Credential, OAuthTokens, Pool, PoolKey,
    RefreshError, RefreshOn401Layer, Refresher, RotateOn429Layer, Secret,
};

/// The provider's name, and the name of the pool that its accounts are in.
const PROVIDER: &str = "quickstart";

// ---------------------------------------------------------------------------------------------------
// What your program would have.

/// Opens the vault, and makes it on the first run.
///
/// The key comes from the environment variable `TOWER_CREDENTIALS_VAULT_KEY`, or from a key file, which the first run
/// makes. That file is not in the vault, so nobody can open a copy of the vault alone.
async fn open_vault(directory: &Path) -> Result<FileVault, VaultError> {
    let mut file = directory.as_os_str().to_owned();
    file.push(".key");
    FileVault::open_from(directory, EnvKey::default().or(FileKey::new(file))).await
}

/// Opens the pool of the provider's accounts. Their tokens go to this origin and to no other.
async fn open_pool(vault: impl Vault, origin: &str, log: &Log) -> Result<Pool, BoxError> {
    let log = log.clone();
    let provider = GenericProvider::bearer(PROVIDER).origin(origin)?;
    let pool = Pool::builder(provider, vault).on_event(move |event| log.note(event)).open().await?;
    Ok(pool)
}

/// Works until the work is done or Ctrl-C is pressed, and then closes the pool. That waits for a token that is being
/// renewed: a renewal that is cut off can cost the account its sign-in.
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

/// Makes a hyper client under the four layers, in the recommended order.
fn client(
    pool: Pool,
    refresher: Refresher,
) -> impl Service<Request<Full<Bytes>>, Response = Response<Incoming>, Error = BoxError> + Clone {
    ServiceBuilder::new()
        .layer(RotateOn429Layer::new(pool.clone()))
        .layer(RefreshOn401Layer::new(pool.clone(), refresher))
        .layer(AuthHeaderLayer::new(pool.clone()))
        .layer(CooldownPersistLayer::new(pool))
        .service(Client::builder(TokioExecutor::new()).build_http())
}

/// Exchanges a refresh token for new tokens (RFC 6749, section 6).
fn refresher(origin: &str) -> Refresher {
    let endpoint = format!("{origin}/oauth/token");
    Refresher::new(move |account: Credential| exchange(endpoint.clone(), account))
}

async fn exchange(endpoint: String, account: Credential) -> Result<Secret, BoxError> {
    let token = account.secret.refresh_token().ok_or(RefreshError::rejected("no refresh token"))?;
    // The token of a real server may have characters that must be escaped in a form.
    let form = format!("grant_type=refresh_token&refresh_token={}", token.expose());
    let request = Request::post(endpoint)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::<Bytes>::from(form))?;
    let response = Client::builder(TokioExecutor::new()).build_http().request(request).await?;
    let status = response.status();
    let body: serde_json::Value = serde_json::from_slice(&response.collect().await?.to_bytes())?;
    if let Some(error) = body["error"].as_str() {
        return Err(match error {
            // The vendor refuses the refresh token: only a new sign-in helps.
            "invalid_grant" => RefreshError::rejected(error).into(),
            _ => format!("the token endpoint answered {status}: {error}").into(),
        });
    }
    let access = body["access_token"].as_str().ok_or("no access_token in the response")?;
    let mut tokens = OAuthTokens::new(access);
    // A server that sends no new refresh token expects the old one next time.
    tokens.refresh = Some(body["refresh_token"].as_str().map_or_else(|| token.clone(), Into::into));
    if let Some(seconds) = body["expires_in"].as_u64() {
        tokens.expires_at = Some(Clock::system().now().after(Duration::from_secs(seconds)));
    }
    Ok(tokens.into())
}

// ---------------------------------------------------------------------------------------------------
// The story.

/// Every attempt: the number of the caller's request, the account and the status.
const FIRST_CLIENT: [(u32, &str, u16); 6] = [
    (1, "work", 429),
    (1, "team", 401),
    (1, "team", 200),
    (2, "team", 200),
    (3, "team", 429),
    (3, "spare", 200),
];
const SECOND_CLIENT: [(u32, &str, u16); 1] = [(4, "spare", 200)];

async fn tell(directory: &Path) -> Result<(), BoxError> {
    let upstream = Upstream::start().await?;
    let origin = upstream.origin();
    println!("upstream  {origin}");
    println!("vault     {}", directory.display());

    let vault = open_vault(directory).await?;
    add_accounts(&vault).await?;

    println!("\nThe first client");
    let log = Log::default();
    let pool = open_pool(vault.clone(), &origin, &log).await?;
    let mut first = client(pool.clone(), refresher(&origin));
    Log::print_heading();
    let requests = async {
        for number in 1..=3 {
            send(&mut first, &origin, number, &log).await?;
        }
        Ok(())
    };
    run_and_close(&pool, requests).await?;
    log.check(&FIRST_CLIENT)?;

    println!("\nWhat the vault knows now");
    show(&vault).await?;
    drop((first, vault));

    println!("\nA second client, which opens the same vault");
    let log = Log::default();
    let pool = open_pool(open_vault(directory).await?, &origin, &log).await?;
    let mut second = client(pool.clone(), refresher(&origin));
    Log::print_heading();
    run_and_close(&pool, send(&mut second, &origin, 4, &log)).await?;
    log.check(&SECOND_CLIENT)?;

    let attempts = FIRST_CLIENT.len() + SECOND_CLIENT.len();
    let seen = upstream.api_requests() as usize;
    if seen != attempts {
        return Err(format!("the upstream got {seen} requests, not {attempts}").into());
    }
    println!("\nThe caller sent 4 requests and got 4 times 200. The upstream got {seen} requests.");
    Ok(())
}

/// Puts the three accounts into the vault, in place of those of an earlier run.
async fn add_accounts(vault: &impl Vault) -> Result<(), VaultError> {
    let key = PoolKey::new(PROVIDER);
    for account in vault.load_pool(key.clone()).await?.credentials {
        println!("          removes {} of an earlier run", account.metadata.label);
        vault.remove(&account.metadata.pool, account.metadata.id).await?;
    }
    let long_ago = Clock::from_fn(|| std::time::UNIX_EPOCH).now();
    let accounts = [
        ("work", OAuthTokens::new("work-access")),
        ("team", OAuthTokens::new("team-access-1").refresh("team-refresh-1").expires_at(long_ago)),
        ("spare", OAuthTokens::new("spare-access")),
    ];
    for (label, tokens) in accounts {
        vault.put(Credential::new(key.clone(), label, tokens)).await?;
    }
    Ok(())
}

/// Sends one request and prints its attempts.
async fn send<S>(client: &mut S, origin: &str, number: u32, log: &Log) -> Result<(), BoxError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<Incoming>, Error = BoxError>,
{
    log.begin(number);
    let request = Request::post(format!("{origin}/v1/messages"))
        .header("content-type", "application/json")
        .body(Full::from(r#"{"prompt":"hello"}"#))?;
    let response = client.ready().await?.call(request).await?;
    log.print(number);
    let status = response.status();
    let body = response.collect().await?.to_bytes();
    if status != StatusCode::OK {
        let body = String::from_utf8_lossy(&body);
        return Err(format!("request {number} got {status}: {body}").into());
    }
    Ok(())
}

/// Prints what the vault knows of each account, and checks it.
async fn show(vault: &impl Vault) -> Result<(), BoxError> {
    let stored = vault.load_pool(PoolKey::new(PROVIDER)).await?;
    let now = Clock::system().now();
    let mut known = Vec::new();
    println!("account  generation  ready");
    for Credential { metadata, .. } in &stored.credentials {
        let standing = stored.standings.credentials.get(&metadata.id);
        let cooldown = standing.and_then(|standing| standing.cooldown(None));
        let wait = cooldown.map_or(Duration::ZERO, |cooldown| cooldown.until.since(now));
        let ready =
            if wait.is_zero() { "now".into() } else { format!("in {:.0} s", wait.as_secs_f64()) };
        println!("{:<7}  {:>10}  {ready}", metadata.label, metadata.generation);
        known.push((&*metadata.label, metadata.generation.get(), wait.is_zero()));
    }
    let expected = [("spare", 1, true), ("work", 1, false), ("team", 2, false)];
    if known != expected {
        return Err(format!("the vault knows {known:?}, not {expected:?}").into());
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------------
// The program.

const USAGE: &str = "usage: quickstart [--vault DIR]";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let result = match &arguments[..] {
        [] => in_temporary_directory().await,
        // Without a slash at the end of DIR, since `.key` is appended to it.
        [flag, directory] if flag == "--vault" && !directory.is_empty() => {
            tell(&Path::new(directory).components().collect::<PathBuf>()).await
        }
        [flag] if flag == "--help" || flag == "-h" => {
            println!("{USAGE}\n\n  --vault DIR  keep the vault in DIR, and its key in DIR.key");
            Ok(())
        }
        [first, ..] => {
            let problem = if first == "--vault" { "needs one directory" } else { "is unknown" };
            eprintln!("quickstart: {} {problem}\n{USAGE}", first.display());
            return ExitCode::from(2);
        }
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("quickstart: {error}");
    for cause in std::iter::successors(error.source(), |error| error.source()) {
        eprintln!("  because: {cause}");
    }
    ExitCode::FAILURE
}

async fn in_temporary_directory() -> Result<(), BoxError> {
    // Removed when dropped.
    let directory = tempfile::tempdir()?;
    tell(&directory.path().join("vault")).await
}

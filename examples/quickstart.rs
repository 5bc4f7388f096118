//! Three accounts, four layers, one vault, against a real HTTP server on 127.0.0.1.
//!
//! ```text
//! cargo run --bin quickstart --features quickstart                  the vault goes into a temporary directory
//! cargo run --bin quickstart --features quickstart -- --vault DIR   the vault is kept in DIR, its key in DIR.key
//! ```
//!
//! `work` is limited, the access token of `team` has expired, `spare` is good. The callers' requests
//! are all answered with 200; what that took is printed. Then a second client opens the same vault and
//! starts at the right account. Exits with 1 if the story comes out differently.
//!
//! To copy: [`open_vault`], [`open_pool`], [`client`], [`refresher`] and [`and_close`].

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
use tower_credentials::standing::{Health, Reason, Standing};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::{EnvKey, FileKey, KeyServiceExt};
use tower_credentials::vault::{Vault, VaultError, VaultExt};
use tower_credentials::{
    AuthHeaderLayer, BoxError, Clock, CooldownPersistLayer, Credential, OAuthTokens, Pool, PoolKey,
    RefreshError, RefreshOn401Layer, Refresher, RotateOn429Layer, Secret,
};

/// The provider's name; its accounts are in the pool of this name.
const PROVIDER: &str = "quickstart";

// ---------------------------------------------------------------------------------------------------
// What a program of yours would have.

/// The key comes from the environment variable `TOWER_CREDENTIALS_VAULT_KEY`, or from a key file, made on
/// first use. The file is not inside the vault, so a copy of the vault alone opens nothing.
async fn open_vault(directory: &Path) -> Result<FileVault, VaultError> {
    let mut file = directory.as_os_str().to_owned();
    file.push(".key");
    FileVault::open_from(directory, EnvKey::default().or(FileKey::new(file))).await
}

/// A pool of this provider's accounts, which go to this origin and to no other.
async fn open_pool(vault: impl Vault, origin: &str, log: &Log) -> Result<Pool, BoxError> {
    let log = log.clone();
    let provider = GenericProvider::bearer(PROVIDER).origin(origin)?;
    let pool = Pool::builder(provider, vault).on_event(move |event| log.note(event)).open().await?;
    Ok(pool)
}

/// Does this until it is done or Ctrl-C comes, and then waits for a renewal that is under way: cut off, it would
/// lose the account.
async fn and_close(
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

/// A hyper client under the four layers, in the recommended order.
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
    // A real token may have characters that a form must escape.
    let form = format!("grant_type=refresh_token&refresh_token={}", token.expose());
    let request = Request::post(endpoint)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::<Bytes>::from(form))?;
    let response = Client::builder(TokioExecutor::new()).build_http().request(request).await?;
    let status = response.status();
    let body: serde_json::Value = serde_json::from_slice(&response.collect().await?.to_bytes())?;
    if let Some(error) = body["error"].as_str() {
        return Err(match error {
            // The vendor's verdict: only a new sign-in helps.
            "invalid_grant" => RefreshError::rejected(error).into(),
            _ => format!("the token endpoint answered {status}: {error}").into(),
        });
    }
    let access = body["access_token"].as_str().ok_or("no access_token in the response")?;
    let mut tokens = OAuthTokens::new(access);
    // A server that does not rotate refresh tokens leaves the old one in force.
    tokens.refresh = match body["refresh_token"].as_str() {
        Some(rotated) => Some(rotated.into()),
        None => Some(token.clone()),
    };
    if let Some(seconds) = body["expires_in"].as_u64() {
        tokens.expires_at = Some(Clock::system().now().after(Duration::from_secs(seconds)));
    }
    Ok(tokens.into())
}

// ---------------------------------------------------------------------------------------------------
// The story.

/// Each attempt that the story takes: the request's number, the account and the status.
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
    and_close(&pool, requests).await?;
    log.check(&FIRST_CLIENT)?;

    println!("\nWhat the vault now knows");
    show(&vault).await?;
    check(&vault).await?;
    drop((first, vault));

    println!("\nA second client, the vault opened anew");
    let log = Log::default();
    let pool = open_pool(open_vault(directory).await?, &origin, &log).await?;
    let mut second = client(pool.clone(), refresher(&origin));
    Log::print_heading();
    and_close(&pool, send(&mut second, &origin, 4, &log)).await?;
    log.check(&SECOND_CLIENT)?;

    let (seen, told) = (upstream.api_requests() as usize, FIRST_CLIENT.len() + SECOND_CLIENT.len());
    if seen != told {
        return Err(format!("the upstream has seen {seen} requests, not {told}").into());
    }
    println!("\n4 requests of the caller's, 4 responses with 200, {seen} requests to the upstream.");
    Ok(())
}

/// Puts the three accounts into the vault, in place of those of an earlier run.
async fn add_accounts(vault: &impl Vault) -> Result<(), VaultError> {
    let key = PoolKey::new(PROVIDER);
    let earlier = vault.load_pool(key.clone()).await?.credentials;
    if !earlier.is_empty() {
        let count = earlier.len();
        println!("          it has {count} accounts of an earlier run: removed, the story begins anew");
    }
    for account in earlier {
        vault.remove(account.metadata.id).await?;
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

/// Sends one request and prints what that took.
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
        return Err(format!("request {number} was answered with {status}: {body}").into());
    }
    Ok(())
}

/// Prints the pool as the vault has it.
async fn show(vault: &impl Vault) -> Result<(), VaultError> {
    let stored = vault.load_pool(PoolKey::new(PROVIDER)).await?;
    println!(
        "{:<5}  {:<7}  {:<5}  {:>10}  {:>8}  standing",
        "place", "account", "kind", "generation", "failures"
    );
    for (place, account) in stored.credentials.iter().enumerate() {
        let account = &account.metadata;
        let standing = stored.standings.credentials.get(&account.id).cloned().unwrap_or_default();
        println!(
            "{:<5}  {:<7}  {:<5}  {:>10}  {:>8}  {}",
            place + 1,
            account.label,
            account.kind,
            account.generation,
            standing.failures,
            in_words(&standing)
        );
    }
    Ok(())
}

fn in_words(standing: &Standing) -> String {
    match &standing.health {
        Health::NeedsSignIn { reason, .. } => return format!("needs a new sign-in: {reason}"),
        Health::Dead { reason, .. } => return format!("needs another key: {reason}"),
        Health::Spent { reason, .. } => return format!("spent: {reason}"),
        _ => {}
    }
    let now = Clock::system().now();
    match standing.cooldown(None) {
        Some(cooldown) if cooldown.until > now => {
            let reason = match cooldown.reason {
                Reason::Limited => "limited",
                Reason::UsedUp => "allowance used up",
                Reason::Refused => "refused",
                Reason::Spent => "spent",
                _ => "cooling down",
            };
            format!("{reason}, ready in {:.0} s", cooldown.until.since(now).as_secs_f64())
        }
        _ => "ready".into(),
    }
}

/// Checks that the vault knows what the first client has learnt.
async fn check(vault: &impl Vault) -> Result<(), BoxError> {
    let stored = vault.load_pool(PoolKey::new(PROVIDER)).await?;
    let now = Clock::system().now();
    let known: Vec<_> = stored
        .credentials
        .iter()
        .map(|Credential { metadata, .. }| {
            let standing = stored.standings.credentials.get(&metadata.id).cloned().unwrap_or_default();
            let cools = standing.cooldown(None).is_some_and(|cooldown| cooldown.until > now);
            (&*metadata.label, metadata.generation.get(), cools)
        })
        .collect();
    let expected = [("spare", 1, false), ("work", 1, true), ("team", 2, true)];
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
    let kept = match parse(std::env::args_os().skip(1)) {
        Ok(Arguments::Run { vault }) => vault,
        Ok(Arguments::Help) => {
            println!("{USAGE}\n\n  --vault DIR  keep the vault in DIR, and its key in DIR.key");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("quickstart: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(kept).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(kept: Option<PathBuf>) -> Result<(), BoxError> {
    match kept {
        Some(directory) => tell(&directory).await,
        None => {
            // Removed when dropped.
            let temporary = tempfile::tempdir()?;
            tell(&temporary.path().join("vault")).await
        }
    }
}

enum Arguments {
    Run { vault: Option<PathBuf> },
    Help,
}

fn parse(mut given: impl Iterator<Item = std::ffi::OsString>) -> Result<Arguments, String> {
    let mut vault = None;
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--help" | "-h") => return Ok(Arguments::Help),
            Some("--vault") => {
                let directory = given.next().filter(|directory| !directory.is_empty());
                let directory = directory.ok_or("--vault needs a directory")?;
                // Without a slash at its end, since `.key` is added to it.
                vault = Some(Path::new(&directory).components().collect());
            }
            _ => return Err(format!("unknown argument {}", argument.to_string_lossy())),
        }
    }
    Ok(Arguments::Run { vault })
}

//! The program of a host: a gateway over the accounts that the fleet shares.

use std::convert::Infallible;
use std::env;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use http::{Request, Response, StatusCode, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_credentials::events::{Event, EventKind};
use tower_credentials::oauth::{OAuthClient, OAuthHttp};
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::Health;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{Vault, VaultExt};
use tower_credentials::{
    BoxError, Credential, CredentialsLayer, ErrorResponseLayer, Mode, Pool, RefreshError, Refresher,
    ReplayLayer, Secret,
};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::authorization_server::{Vendor, client, config};
use crate::lines::{Account, Said, State, Told, now};
use crate::vault::{PROVIDER, pool as pool_key, vault};

/// The environment variables that say to a host where the others are.
pub const ENGINE: &str = "FLEET_ENGINE";
pub const UPSTREAM: &str = "FLEET_UPSTREAM";
pub const SERVER: &str = "FLEET_AUTHORIZATION_SERVER";

/// Serves until it is told to end, or the example is gone.
pub async fn run() -> Result<(), BoxError> {
    let filter: Targets = env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned()).parse()?;
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();

    let (upstream, server) = (env::var(UPSTREAM)?, env::var(SERVER)?);
    let key = VaultKey::from_env()?.ok_or("the example has not set the vault's key")?;
    let vault = vault(&env::var(ENGINE)?, &key)?;
    let provider = GenericProvider::bearer(PROVIDER).origin(&upstream)?;
    let builder = Pool::builder(provider, vault.clone()).mode(Mode::All).on_event(say_event);
    let pool = builder.open().await?;
    let hold = Hold::default();
    let refresher = refresher(&server, hold.clone());
    let accounts = ServiceBuilder::new()
        // Every account is limited: a 429 with the time that is left.
        .layer(ErrorResponseLayer::new().restate_limits())
        // A body that streams can be sent again.
        .layer(ReplayLayer::new())
        // The account, rotation, renewal, and what is learnt.
        .layer(CredentialsLayer::new(pool.clone()).refresher(refresher))
        .service(Client::builder(TokioExecutor::new()).build_http());
    let upstream: Uri = upstream.parse()?;
    let gateway = service_fn(move |request| {
        let (accounts, upstream) = (accounts.clone(), upstream.clone());
        async move { Ok::<_, Infallible>(respond(accounts, upstream, request).await) }
    });

    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    say(&Said::Serves(format!("http://{}", listener.local_addr()?)));
    tokio::spawn(say_changes(pool.clone(), vault));
    tokio::select! {
        served = axum::serve(listener, Router::new().fallback_service(gateway)) => served?,
        obeyed = obey(&hold) => obeyed?,
    }
    // A renewal that is cut off can cost the account its sign-in.
    Ok(pool.close(Duration::from_secs(60)).await?)
}

/// Sends a request on, with an account. What else a gateway needs is in the example `axum_gateway`.
async fn respond<S, B>(accounts: S, upstream: Uri, mut request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    B: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut target = std::mem::take(request.uri_mut()).into_parts();
    let upstream = upstream.into_parts();
    (target.scheme, target.authority) = (upstream.scheme, upstream.authority);
    let Ok(target) = Uri::from_parts(target) else { return StatusCode::BAD_REQUEST.into_response() };
    *request.uri_mut() = target;
    request.headers_mut().remove(header::HOST);
    match accounts.oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error}\n")).into_response(),
    }
}

/// Renews tokens, and waits before that if the example wants it.
fn refresher(server: &str, hold: Hold) -> Refresher {
    let oauth = OAuthClient::new(PROVIDER, config(Vendor::OpenAi, server), OAuthHttp::new(client()));
    Refresher::new(move |account: Credential| {
        let (oauth, hold) = (oauth.clone(), hold.clone());
        async move {
            hold.pass().await;
            let renewed: Result<Secret, RefreshError> = oauth.refresher().oneshot(account).await;
            renewed
        }
    })
}

#[derive(Clone, Default)]
struct Hold {
    is_wanted: Arc<AtomicBool>,
    go_on: Arc<Notify>,
}

impl Hold {
    async fn pass(&self) {
        if self.is_wanted.swap(false, Ordering::AcqRel) {
            say(&Said::Holds);
            self.go_on.notified().await;
        }
    }
}

/// Does what it is told until the end.
async fn obey(hold: &Hold) -> Result<(), BoxError> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line)? {
            Told::Hold => hold.is_wanted.store(true, Ordering::Release),
            Told::GoOn => hold.go_on.notify_one(),
            Told::End => break,
        }
    }
    Ok(())
}

fn say_event(event: &Event) {
    match &event.kind {
        EventKind::Attempt { account, status, .. } if *status == StatusCode::TOO_MANY_REQUESTS => {
            say(&Said::Limited { account: account.label.to_string(), at: now() });
        }
        EventKind::RefreshFailed { error, .. } => say(&Said::RefreshFailed(error.to_string())),
        _ => {}
    }
}

/// Says what the pool knows whenever that has changed. A pool learns of changes by itself; this asks once more, to know when.
async fn say_changes(pool: Pool, vault: impl Vault) {
    let mut said = Vec::new();
    loop {
        let Ok(Some(mut watch)) = vault.watch(pool_key()).await else { break };
        loop {
            let (accounts, at) = (known(&pool), now());
            if accounts != said {
                say(&Said::Knows { accounts: accounts.clone(), at });
                said = accounts;
            }
            if !watch.changed().await {
                break;
            }
            // Shortly after an outage it fails once more. Nothing tells when to try again.
            while pool.sync().await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn known(pool: &Pool) -> Vec<Account> {
    let account = |status: tower_credentials::CredentialStatus| {
        let state = match status.standing.health {
            Health::NeedsSignIn { .. } => State::NeedsSignIn,
            _ if status.ready_in(pool.now()).is_zero() => State::Ready,
            _ => State::CoolingDown,
        };
        let metadata = status.credential;
        Account { label: metadata.label.to_string(), generation: metadata.generation.get(), state }
    };
    pool.status().into_iter().map(account).collect()
}

fn say(line: &Said) {
    let line = serde_json::to_string(line).expect("a line has no map with other keys than strings");
    let mut stdout = io::stdout().lock();
    if writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_err() {
        // The example is gone.
        std::process::exit(1);
    }
}

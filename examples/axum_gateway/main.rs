//! A reverse proxy for any API that adds a vault's accounts to the requests of its clients: an SDK in any
//! language gets rotation and refreshes with a change of its base URL.
//!
//! ```text
//! cargo run --release --example axum_gateway --all-features -- \
//!     --listen 127.0.0.1:8080 --upstream https://api.anthropic.com --provider anthropic
//! ```
//!
//! `--help` says the rest. To copy: [`accounts`] for a pool from settings, [`gateway`] for the layers.

mod admin;
mod arguments;
mod ending;
mod forward;
mod guard;
mod responses;

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::serve::ListenerExt;
use bytes::Bytes;
use forward::{Upload, Upstream};
use guard::AllowedOrigin;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Empty};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpListener;
use tower::timeout::TimeoutLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_credentials::connect::{EarlyResponse, EarlyResponseLayer};
use tower_credentials::events::{Event, EventKind};
use tower_credentials::registry::Registry;
use tower_credentials::settings::{KeySource, ProviderSettings, SettingsError};
use tower_credentials::setup::{Setup, SetupError};
use tower_credentials::{
    BoxError, ErrorBodyLayer, ErrorResponseLayer, FirstEventLayer, Pool, ReplayBody, ReplayLayer,
    WhenAllCoolingDown,
};

use arguments::Arguments;
use ending::Signals;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::read();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let reasons: Vec<_> = responses::causes(&*error).map(ToString::to_string).collect();
            say(&reasons.join("\n  because: "));
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard error. If that is closed, the program goes on.
fn say(message: &str) {
    let _ = writeln!(io::stderr(), "axum_gateway: {message}");
}

async fn run(arguments: Arguments) -> Result<(), BoxError> {
    let listen = arguments.listen;
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        format!("can't listen on {listen}: {error}; choose another --listen, such as 127.0.0.1:0")
    })?;
    // Before the first wait, so that no signal is missed.
    let mut signals = Signals::new()?;
    let (setup, nearest) = setup(&arguments)?;
    let registry = setup.registry();
    let pool = accounts(&setup, &arguments).await?;
    let recording = ending::record(&setup, &pool);
    if pool.status().is_empty() {
        let meant = nearest.map(|name| format!(" (no vendor has this name; the nearest is {name})"));
        let (key, meant) = (pool.key(), meant.unwrap_or_default());
        say(&format!("pool {key} has no account yet{meant}; until one is added, the response is 503"));
    }
    let served = serve(listener, router(registry, pool.clone(), &arguments)?, &mut signals, &arguments);
    let served = served.await;
    // Also after an error: a renewal that is cut off can cost the account its sign-in.
    ending::close(&pool, recording, &mut signals).await;
    served
}

/// Serves until a signal comes, and then until the requests in flight have ended or another signal comes.
async fn serve(
    listener: TcpListener,
    router: Router,
    signals: &mut Signals,
    arguments: &Arguments,
) -> Result<(), BoxError> {
    let address = listener.local_addr()?;
    let mut stdout = io::stdout();
    // Standard output may be closed.
    let _ = writeln!(stdout, "listening on http://{address}").and_then(|()| stdout.flush());

    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    let (begin, begun) = tokio::sync::oneshot::channel();
    let make = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, make).with_graceful_shutdown(async move {
        let _ = begun.await;
    });
    let too_late = async {
        signals.next().await;
        let _ = begin.send(());
        let _ = tokio::time::timeout(arguments.drain, signals.next()).await;
    };
    tokio::select! {
        result = serving => result?,
        () = too_late => say("requests that are still under way are broken off"),
    }
    Ok(())
}

/// The vault, its key and the providers' settings, from the usual places unless the command line says otherwise. Also
/// the nearest known name if ours is unknown: then its accounts are sent as `authorization: Bearer`.
fn setup(arguments: &Arguments) -> Result<(Setup, Option<String>), BoxError> {
    let name = &arguments.provider;
    let build = |settings: ProviderSettings| {
        let mut builder = Setup::builder().registry(Registry::builder().set(name, settings));
        if let Some(vault) = &arguments.vault {
            builder = builder.vault(vault);
        }
        if let Some(file) = &arguments.config {
            builder = builder.config(file);
        }
        if let Some(file) = &arguments.key_file {
            builder = builder.key(KeySource::File(file.clone()));
        }
        builder.build()
    };
    // The credentials may be sent here, whatever a file says, and to the vendor's own API.
    let origin = arguments.upstream()?.origin().to_string();
    let mut settings = ProviderSettings::new().set("origins", &origin)?;
    if let Some(namespace) = &arguments.namespace {
        settings = settings.set("namespace", namespace)?;
    }
    if let Some(header) = &arguments.header {
        settings = settings.set("header", header.as_str())?;
    }
    match build(settings.clone()) {
        Err(SetupError::Settings(SettingsError::UnknownProvider { name: unknown, nearest, .. }))
            if unknown == *name =>
        {
            Ok((build(settings.set("type", "generic")?)?, nearest))
        }
        setup => Ok((setup?, None)),
    }
}

/// Opens the pool of the provider's accounts, by its settings.
async fn accounts(setup: &Setup, arguments: &Arguments) -> Result<Pool, BoxError> {
    let (name, registry) = (&arguments.provider, setup.registry());
    let vault = setup.vault_or_new().await?;
    if let Some(key) = setup.key_in_vault() {
        let key = key.display();
        eprintln!(
            "the key {key} is in the vault's directory: a copy of the vault has its key; move it elsewhere"
        );
    }
    let builder = match setup.pool(name, vault.clone()) {
        // Keys can still be used.
        Err(error @ SetupError::Https(_)) => {
            say(&error.to_string());
            registry.pool(name, vault)?
        }
        builder => builder?,
    };
    // A client that waits can be told for how long; a connection that hangs tells nothing.
    Ok(builder.when_all_cooling_down(WhenAllCoolingDown::Fail).on_event(tell).open().await?)
}

/// Writes the events that a person should know about. Nothing in an event is secret.
fn tell(event: &Event) {
    match &event.kind {
        EventKind::NeedsSignIn { account, reason } => {
            say(&format!("account {} needs a new sign-in: {reason}", account.label));
        }
        EventKind::Spent { account, reason } => {
            say(&format!("account {} is spent: {reason}", account.label));
        }
        EventKind::RefreshFailed { account, error } => {
            say(&format!("the tokens of account {} could not be renewed: {error}", account.label));
        }
        EventKind::SecretNotSaved { account, error } => {
            say(&format!("the new tokens of account {} are not saved yet: {error}", account.label));
        }
        EventKind::SaveFailed { error } => say(&format!("cooldowns are not saved yet: {error}")),
        EventKind::Damaged { damage } => say(&damage.to_string()),
        _ => {}
    }
}

type UpstreamClient<B> = Client<HttpsConnector<EarlyResponse<HttpConnector>>, B>;

/// The client to the upstream, over HTTP/1.1 and HTTP/2.
fn client(arguments: &Arguments) -> Result<UpstreamClient<ClientBody>, BoxError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_keepalive(Some(Duration::from_secs(60)));
    http.set_connect_timeout(Some(arguments.connect_timeout));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = HttpsConnectorBuilder::new();
    let builder = if arguments.upstream()?.to_string().starts_with("https:") {
        builder.with_provider_and_platform_verifier(provider).map_err(|error| {
            format!("the system's certificates can't be loaded: {error}; install ca-certificates")
        })?
    } else {
        // Accounts may name their own hosts, which nothing else vouches for.
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        builder.with_tls_config(config)
    };
    let connector = builder.https_or_http().enable_all_versions();
    // A server may close the connection of an upload that it refuses early.
    let connector = connector.wrap_connector(EarlyResponseLayer::new().layer(http));
    Ok(Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_only(arguments.http2)
        // One HTTP/2 connection has all requests: if it is lost silently, it must not take minutes of requests with it.
        .http2_keep_alive_interval(Duration::from_secs(15))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .http2_keep_alive_while_idle(true)
        .build(connector))
}

/// A client's body on its way to the upstream. It streams, and is kept up to a bound so that it can be sent again.
type ClientBody = ReplayBody<Body>;

/// Our layers over the client.
fn router(registry: &Registry, pool: Pool, arguments: &Arguments) -> Result<Router, BoxError> {
    let upstream = Upstream::new(arguments.upstream()?, arguments.http2, arguments.strip_query.clone());
    let layers = ServiceBuilder::new()
        .layer(ErrorResponseLayer::new().restate_limits().no_retry_beyond(arguments.no_retry_beyond))
        .layer(ReplayLayer::new().bound(arguments.replay))
        .layer(registry.layer(pool.clone()))
        .layer(ErrorBodyLayer::new(pool.clone()))
        .layer(FirstEventLayer::new(pool.clone()))
        .layer(TimeoutLayer::new(arguments.timeout))
        .service(client(arguments)?);
    let gateway = Arc::new(Gateway {
        upstream: upstream.ok_or("--upstream is no URL")?,
        name: arguments.upstream()?.to_string(),
        allow_remote: arguments.allow_remote,
        allowed: arguments.allow_origin.clone(),
    });
    let proxy = tower::service_fn(move |request| gateway.clone().respond(layers.clone(), request));
    let mut router = Router::new();
    if arguments.admin {
        router = router.nest(admin::PREFIX, admin::routes(pool));
    }
    Ok(router.fallback_service(proxy))
}

struct Gateway {
    upstream: Upstream,
    /// The upstream, in words.
    name: String,
    allow_remote: bool,
    allowed: Vec<AllowedOrigin>,
}

impl Gateway {
    async fn respond<S, R>(
        self: Arc<Self>,
        accounts: S,
        request: Request<Body>,
    ) -> Result<Response<Body>, Infallible>
    where
        S: Service<Request<Body>, Response = Response<Either<R, Empty<Bytes>>>, Error = BoxError>,
        R: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Ok(self.forward(accounts, request).await)
    }

    async fn forward<S, R>(&self, accounts: S, request: Request<Body>) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Either<R, Empty<Bytes>>>, Error = BoxError>,
        R: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        if !self.allow_remote && !guard::is_from_here(&request, &self.allowed) {
            let message = "this gateway is for programs on its own machine; --allow-origin opens it to the pages of an \
                           origin, and --allow-remote to everyone";
            return responses::error(StatusCode::FORBIDDEN, "forbidden", message);
        }
        // Without the upgrade it would be a different request, whose refusal would count against the account.
        if guard::asks_for_upgrade(request.headers()) {
            return responses::no_upgrade();
        }
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let (request, upload) = Upload::of(request);
        let request = match self.upstream.request(request) {
            Ok(request) => request,
            Err(error) => {
                let message = format!("can't be forwarded: {error}");
                return responses::error(StatusCode::BAD_REQUEST, "invalid_request", &message);
            }
        };
        match accounts.oneshot(request).await {
            Ok(mut response) => {
                forward::response(&mut response);
                let (head, body) = response.into_parts();
                match body {
                    Either::Left(body) => Response::from_parts(head, Body::new(body)),
                    Either::Right(_) => limited(head),
                }
            }
            Err(error) => {
                if upload.is_broken_off() {
                    // Nobody waits for this response any more.
                    let message = "the client has broken off its request";
                    return responses::error(StatusCode::BAD_REQUEST, "incomplete_request", message);
                }
                let (response, message) = responses::failure(&error, &self.name);
                // Without the query, which may be private.
                say(&format!("{method} {}: {}: {message}", uri.path(), response.status().as_u16()));
                response
            }
        }
    }
}

/// The 429 if every account is known to be limited.
fn limited(head: http::response::Parts) -> Response<Body> {
    let wait = head.headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let message = match wait {
        Some(wait) => format!("every account is limited; the first is ready in {wait} s"),
        None => "every account is limited, and none of their upstreams has said for how long".to_owned(),
    };
    let mut response = responses::error(head.status, "rate_limit_error", &message);
    response.headers_mut().extend(head.headers);
    response
}

//! Several accounts behind one HTTP client. These tower layers apply a credential to each request, use another
//! account if the upstream answers 429, renew a token if it answers 401 or 403, and save cooldowns to an
//! encrypted vault, all within one request of the caller.
//!
//! ```
//! use http::{Request, Response, StatusCode};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! use tower_credentials::provider::GenericProvider;
//! use tower_credentials::vault::{MemoryVault, VaultExt};
//! use tower_credentials::{Credential, CredentialsLayer, Pool, PoolKey, Secret};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let vault = MemoryVault::new();
//! for (label, key) in [("work", "sk-1"), ("spare", "sk-2")] {
//!     vault.put(Credential::new(PoolKey::new("example"), label, Secret::api_key(key))).await?;
//! }
//! let provider = GenericProvider::bearer("example").origin("https://api.example.com")?;
//! let pool = Pool::builder(provider, vault).open().await?;
//!
//! // An upstream, in place of a client. It limits the account `work`.
//! let upstream = service_fn(async |request: Request<String>| {
//!     let limited = request.headers()["authorization"] == "Bearer sk-1";
//!     let status = if limited { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
//!     Response::builder().status(status).body(String::new()).map_err(BoxError::from)
//! });
//! let client = ServiceBuilder::new().layer(CredentialsLayer::new(pool)).service(upstream);
//! let request = Request::post("https://api.example.com/v1").body(String::from("hello"))?;
//! assert_eq!(client.oneshot(request).await?.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```
//!
//! A [`Vault`](vault::Vault) stores credentials. A [`Provider`](provider::Provider) says how a credential becomes
//! headers, which origins may receive it, and what a response means. A [`Pool`] holds the vault's credentials of one
//! provider, picks one of them for each request, and records the responses. A [`Lease`] is such a pick: one credential
//! with its headers, ready to use. The layers put the lease on the request, send it, and act on the response.
//!
//! For accounts that outlive the process, see the module `vault::file`. To see it all over real HTTP, run
//! `cargo run --bin quickstart --features quickstart`.
//!
//! # The layers
//!
//! | Layer | What it does |
//! |---|---|
//! | [`RotateOn429Layer`] | Cools a limited credential down, and sends the request again with the next one. |
//! | [`RefreshOn401Layer`] | Renews a refused secret, once, and sends the request again with the new one. |
//! | [`AuthHeaderLayer`] | Puts the credential's headers on each attempt, in place of the caller's own. |
//! | [`CooldownPersistLayer`] | Saves cooldowns, order and health to the vault. |
//! | [`CredentialsLayer`] | These four in this order, as one. |
//! | [`ErrorBodyLayer`] | Reads the limits in the bodies of errors. |
//! | [`FirstEventLayer`] | Makes errors of streams that begin with one. |
//! | [`ModelScopeLayer`] | Gives each request the scope of the model that it is for. |
//! | [`ReplayLayer`] | Records bodies that stream, so that they can be sent again. |
//! | [`ErrorResponseLayer`] | Turns [`Error::AllCoolingDown`] into a 429. |
//!
//! The layers must run inside a tokio runtime.
//!
//! # The order of layers
//!
//! Start with [`CredentialsLayer`] alone, and add what you need around it, in this order from the caller to the client:
//!
//! 1. [`ErrorResponseLayer`] is first, since it makes responses of the errors of all others.
//! 2. [`ReplayLayer`] must be above every layer that sends a request again or looks into its body.
//! 3. [`ModelScopeLayer`] must set the scope before a credential is picked.
//! 4. [`CredentialsLayer`], or the four layers in its place.
//! 5. [`ErrorBodyLayer`], so that those above see what the errors say.
//! 6. [`FirstEventLayer`] is last, so that those above see an error that comes in a stream like any other.
//!
//! Use the four layers only if another layer must be between two of them. Any order and any subset of the four give the
//! same attempts, the same response and the same saved state. Other layers do depend on their place: a timeout under
//! [`RotateOn429Layer`] bounds each attempt, one above it the whole request.
//!
//! # With your client
//!
//! With hyper-util (the feature `hyper` adds hyper's bodies and errors):
//!
//! ```no_run
//! # use bytes::Bytes;
//! # use http::Request;
//! # use http_body_util::Full;
//! # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! # use tower::{BoxError, Layer, ServiceExt};
//! # use tower_credentials::{CredentialsLayer, Pool};
//! # async fn send(pool: Pool, request: Request<Full<Bytes>>) -> Result<(), BoxError> {
//! let client = CredentialsLayer::new(pool).layer(Client::builder(TokioExecutor::new()).build_http());
//! # client.oneshot(request).await?;
//! # Ok(())
//! # }
//! ```
//!
//! With reqwest (feature `reqwest`; see `reqwest_client` for reqwest-middleware and for redirects):
//!
#![cfg_attr(feature = "reqwest", doc = "```no_run")]
#![cfg_attr(not(feature = "reqwest"), doc = "```ignore")]
//! # use reqwest::{Client, Request};
//! # use tower::{BoxError, Layer};
//! # use tower_credentials::{CredentialsLayer, Pool, reqwest_client::ReqwestLayer};
//! # async fn send(pool: Pool, client: Client, request: Request) -> Result<(), BoxError> {
//! let client = ReqwestLayer::new(CredentialsLayer::new(pool)).layer(client);
//! # client.execute(request).await?;
//! # Ok(())
//! # }
//! ```
//!
//! With tonic, over hyper-util in place of a `Channel`. The messages stream, so they are recorded:
//!
//! ```no_run
//! # use http::Uri;
//! # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! # use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
//! # use tower::{BoxError, ServiceBuilder};
//! # use tower_credentials::{CredentialsLayer, Pool, ReplayLayer};
//! # async fn check(pool: Pool, origin: Uri) -> Result<(), BoxError> {
//! # let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
//! let layers = ServiceBuilder::new().layer(ReplayLayer::new()).layer(CredentialsLayer::new(pool));
//! let mut health = HealthClient::with_origin(layers.service(client), origin);
//! # health.check(HealthCheckRequest { service: String::new() }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! In an axum handler that passes requests on; their URI must name the upstream:
//!
//! ```no_run
//! # use axum::{Router, body::Body, extract::Request};
//! # use http::{Response, StatusCode};
//! # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! # use tower::{ServiceBuilder, ServiceExt};
//! # use tower_credentials::{CredentialsLayer, Pool, ReplayLayer};
//! # fn router(pool: Pool) -> Router {
//! # let client = Client::builder(TokioExecutor::new()).build_http();
//! let layers = ServiceBuilder::new().layer(ReplayLayer::new()).layer(CredentialsLayer::new(pool));
//! let client = layers.service(client);
//! Router::new().fallback(|request: Request| async {
//!     let sent = client.oneshot(request).await;
//!     sent.map(|response| response.map(Body::new)).map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))
//! })
//! # }
//! ```
//!
//! # Configuration
//!
//! The pool decides what a response means: [`Cooldowns`], [`WhenAllCoolingDown`], [`policy`]. [`RotateOn429Layer`] decides
//! how a request is sent again. A single request asks for something through its extensions: [`Pin`], [`Affinity`],
//! [`Scope`](standing::Scope).
//!
//! # Features
//!
//! | Feature | Default | What it adds |
//! |---|---|---|
//! | `file` | yes | `vault::file`: the vault in a directory, sealed; `history`. Implies `seal`. |
//! | `redis` | no | `vault::redis`: the vault of many hosts, sealed, in Redis or Valkey. Implies `seal`. |
//! | `seal` | by `file` | `vault::seal` and `vault::key`: AES-256-GCM over any vault backend. |
//! | `keyring` | no | `vault::key::KeyringKey`: a vault's key in the system's keyring. Implies `seal`. |
//! | `providers` | yes | The vendors' adapters, and a registry of providers by name. Implies `decompress`. |
//! | `decompress` | by `providers` | [`ErrorBodyLayer`] reads compressed bodies, too. |
//! | `config` | no | Providers and settings from a TOML file. Implies `providers`. |
//! | `oauth` | no | `oauth`: signing in, and renewing tokens. Implies `providers`. |
//! | `tls` | no | `https`: an HTTPS client for `oauth` and others, over hyper-util and rustls. Implies `oauth`. |
//! | `migrate` | no | `migrate`: the legacy auth files of other programs, as credentials. Implies `providers`. |
//! | `discovery` | no | `discovery`: the models that an upstream offers, cached. Implies `file` and `providers`. |
//! | `backup` | no | `vault::backup`: all accounts in one sealed file. Implies `seal`. |
//! | `setup` | no | `setup`: the places of a program's vault, key and settings. Implies `config` and `file`. |
//! | `hyper` | no | hyper's bodies and errors, so that the layers know what can be sent again; `connect`. With `tls`: `https::AutoClient`, which speaks HTTP/2. |
//! | `reqwest` | no | `reqwest_client`: the layers over a reqwest client, and a redirect policy. |
//! | `reqwest-middleware` | no | The layers as a middleware for reqwest-middleware. Implies `reqwest`. |
//! | `follow-redirect` | no | `redirect`: a policy for tower-http's `FollowRedirect`. |
//! | `metrics` | no | `metrics`: a pool's counters and gauges, through the crate `metrics`. |
//! | `conformance` | no | `conformance`: tests of what a vault promises, for a backend of your own. Implies `seal`. |
//! | `cli` | no | The program `credentials`. Implies `backup`, `discovery`, `hyper`, `migrate`, `redis`, `serve`, `setup`, `tls` and `tui`. |
//! | `tui` | no | `credentials tui`: the accounts on the screen of a terminal, live. |
//! | `serve` | no | `credentials exec` and `credentials serve`: one address at which tools find all accounts. |
//! | `quickstart` | no | The program `quickstart`, an example. Implies `file`. |
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(unreachable_pub, clippy::dbg_macro, clippy::todo)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accessors;
mod api_key;
mod body;
#[cfg(any(feature = "oauth", feature = "migrate"))]
mod claims;
mod clock;
#[cfg(feature = "conformance")]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
pub mod conformance;
#[cfg(any(feature = "hyper", feature = "tls"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "hyper", feature = "tls"))))]
pub mod connect;
pub mod counters;
mod credential;
#[cfg(feature = "discovery")]
#[cfg_attr(docsrs, doc(cfg(feature = "discovery")))]
pub mod discovery;
mod endpoint;
mod error;
mod error_response;
pub mod events;
mod hex_id;
#[cfg(feature = "file")]
#[cfg_attr(docsrs, doc(cfg(feature = "file")))]
pub mod history;
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub mod https;
mod layers;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub mod metrics;
#[cfg(feature = "migrate")]
#[cfg_attr(docsrs, doc(cfg(feature = "migrate")))]
pub mod migrate;
#[cfg(feature = "providers")]
mod nearest;
#[cfg(feature = "oauth")]
#[cfg_attr(docsrs, doc(cfg(feature = "oauth")))]
pub mod oauth;
mod origin;
#[cfg(any(feature = "oauth", feature = "discovery"))]
mod own_origin;
mod patience;
mod percent;
mod pool;
mod printable;
pub mod provider;
mod quoted;
mod random;
pub mod rate_limit;
#[cfg(feature = "follow-redirect")]
#[cfg_attr(docsrs, doc(cfg(feature = "follow-redirect")))]
pub mod redirect;
#[cfg(feature = "providers")]
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub mod registry;
#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub mod reqwest_client;
mod secret;
#[cfg(feature = "providers")]
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub mod settings;
#[cfg(feature = "setup")]
#[cfg_attr(docsrs, doc(cfg(feature = "setup")))]
pub mod setup;
pub mod standing;
pub mod vault;

pub use api_key::NotAnApiKey;
pub use body::{SendOnce, TryCloneBody};
pub use clock::{Clock, Timestamp};
pub use credential::{
    Credential, CredentialId, Generation, InvalidId, Kind, Metadata, OAuthTokens, PoolKey, Record,
    Secret,
};
pub use error::{BoxError, Error};
pub use error_response::ErrorResponseLayer;
pub use layers::{
    AnsweredBy, Attempt, AuthHeaderLayer, CooldownPersistLayer, CredentialsLayer, ErrorBodyLayer,
    NetworkRetry, NextReady, RefreshOn401Layer, ReplayLayer, RotateOn429Layer, is_connect_error,
};
#[cfg(feature = "providers")]
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub use layers::{FirstEventLayer, ModelScopeLayer};
pub use pool::{
    Affinity, Availability, Behind, Cooldowns, CredentialStatus, Explanation, Lease, Mode, Pin, Pool,
    PoolBuilder, Precedence, RefreshError, Refresher, Unfinished, VaultContact, WhenAllCoolingDown,
    policy,
};
pub use secret::SecretString;

// On the page of `service`, to keep this one short.
#[cfg(feature = "providers")]
#[doc(hidden)]
pub use layers::{FirstEvent, FirstEventFuture, ModelScope};
#[doc(hidden)]
pub use {
    body::{ReplayBody, ReplayError},
    error_response::{ErrorResponse, ErrorResponseFuture},
    layers::{
        AuthHeader, CooldownPersist, Credentials, ErrorBody, ErrorBodyFuture, PeekedBody, RefreshOn401,
        Replay, RotateOn429,
    },
};

/// The services of the layers, with their futures and bodies, for types that must be written out.
pub mod service {
    pub use crate::body::{ReplayBody, ReplayError};
    pub use crate::error_response::{ErrorResponse, ErrorResponseFuture};
    pub use crate::layers::{
        AuthHeader, CooldownPersist, Credentials, ErrorBody, ErrorBodyFuture, PeekedBody, RefreshOn401,
        Replay, ResponseFuture, RotateOn429, SendsAgain, SendsOnce,
    };
    #[cfg(feature = "providers")]
    #[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
    pub use crate::layers::{FirstEvent, FirstEventFuture, ModelScope};
}

/// The README's examples, as doc tests.
#[cfg(all(doctest, feature = "file", feature = "reqwest", feature = "tls"))]
#[doc = include_str!("../README.md")]
pub struct ReadmeExample;

/// The tutorial's and the guides' examples, as doc tests.
#[cfg(all(doctest, feature = "file", feature = "oauth"))]
mod guides {
    #[cfg(all(feature = "setup", feature = "tls"))]
    #[doc = include_str!("../specs/tutorial.md")]
    struct Tutorial;

    #[doc = include_str!("../specs/guides/provider.md")]
    struct Provider;

    #[cfg(feature = "conformance")]
    #[doc = include_str!("../specs/guides/vault.md")]
    struct Vault;

    #[doc = include_str!("../specs/guides/policy.md")]
    struct Policy;

    #[doc = include_str!("../specs/guides/refresher.md")]
    struct Refresher;
}

//! Several accounts behind one HTTP client: tower layers that apply a credential to each request, take
//! another account when the upstream answers 429, renew a token when it answers 401 or 403, and save
//! what was learnt to an encrypted vault, all within the caller's one request.
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
//! // In place of a client: an upstream at which `work` is limited.
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
//! A [`Vault`](vault::Vault) keeps the accounts, a [`Pool`] picks one for each request, a
//! [`Provider`](provider::Provider) says where they may go, and the layers do the rest. For accounts
//! that outlive the process, see the `vault::file` module; for a program that shows it all over real
//! HTTP, `cargo run --bin quickstart --features quickstart`.
//!
//! # The layers
//!
//! | Layer | What it does |
//! |---|---|
//! | [`RotateOn429Layer`] | Cools a limited credential down and sends the request again with the next. |
//! | [`RefreshOn401Layer`] | Renews a refused secret, once, and sends the request again with it. |
//! | [`AuthHeaderLayer`] | Puts the credential's headers on each attempt, in place of the caller's own. |
//! | [`CooldownPersistLayer`] | Saves what was learnt to the vault. |
//! | [`CredentialsLayer`] | The four in the order above, as one. |
//! | [`ErrorBodyLayer`] | Under the others: reads the limits that stand in the bodies of errors. |
//! | [`ModelScopeLayer`] | Over the others: gives each request the scope of the model that it is for. |
//! | [`ReplayLayer`] | Over the others: records bodies that stream, so that they can be sent again. |
//! | [`ErrorResponseLayer`] | Over the others: makes a 429 of [`Error::AllCoolingDown`]. |
//!
//! Any order and any subset of the four give the same attempts, the same answer and the same saved
//! state. Each acts at its own place, though: a timeout under [`RotateOn429Layer`] bounds an attempt,
//! one over it the whole request.
//!
//! The layers run inside of a tokio runtime.
//!
//! # What can be set where
//!
//! What an answer means is the pool's: [`Cooldowns`], [`WhenAllCoolingDown`], [`policy`]. What sending
//! again involves is [`RotateOn429Layer`]'s. What one request wants goes into its extensions: [`Pin`],
//! [`Affinity`], [`Scope`](standing::Scope).
//!
//! # Features
//!
//! | Feature | Default | What it adds |
//! |---|---|---|
//! | `file` | yes | `vault::file`: the vault in a directory, sealed. Implies `seal`. |
//! | `seal` | by `file` | `vault::seal` and `vault::key`: AES-256-GCM over any vault backend. |
//! | `keyring` | no | `vault::key::KeyringKey`: a vault's key in the system's keyring. Implies `seal`. |
//! | `providers` | yes | The vendors' adapters, and a registry of providers by name. |
//! | `decompress` | by `providers` | Errors whose bodies are compressed are read by [`ErrorBodyLayer`]. |
//! | `config` | no | Providers and settings from a TOML file. |
//! | `oauth` | no | `oauth`: signing in, and renewing tokens. |
//! | `tls` | no | `https`: an HTTPS client for `oauth` and others, over hyper-util and rustls. Implies `oauth`. |
//! | `migrate` | no | `migrate`: the legacy auth files of other programs, as credentials. |
//! | `discovery` | no | `discovery`: the models that an upstream offers, cached. Implies `file`. |
//! | `backup` | no | `vault::backup`: all accounts in one sealed file. Implies `seal`. |
//! | `setup` | no | `setup`: where vault, key and settings are, the same for all programs. Implies `config` and `file`. |
//! | `hyper` | no | Bodies and errors of hyper and hyper-util, known to the layers; `connect`, for early answers. |
//! | `reqwest` | no | `reqwest_client`: the layers over a reqwest client. |
//! | `reqwest-middleware` | no | `reqwest_client::CredentialsMiddleware` and `TowerMiddleware`: the layers as a middleware. Implies `reqwest`. |
//! | `follow-redirect` | no | `redirect`: a policy for tower-http's `FollowRedirect`. |
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
#[cfg(any(feature = "hyper", feature = "tls"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "hyper", feature = "tls"))))]
pub mod connect;
mod credential;
#[cfg(feature = "discovery")]
#[cfg_attr(docsrs, doc(cfg(feature = "discovery")))]
pub mod discovery;
mod endpoint;
mod error;
mod error_response;
pub mod events;
mod hex_id;
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub mod https;
mod layers;
#[cfg(feature = "migrate")]
#[cfg_attr(docsrs, doc(cfg(feature = "migrate")))]
pub mod migrate;
#[cfg(feature = "oauth")]
#[cfg_attr(docsrs, doc(cfg(feature = "oauth")))]
pub mod oauth;
mod origin;
#[cfg(any(feature = "oauth", feature = "discovery"))]
mod own_origin;
mod patience;
mod pool;
mod printable;
pub mod provider;
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
pub use body::{ReplayBody, ReplayError, SendOnce, TryCloneBody};
pub use clock::{Clock, Timestamp};
pub use credential::{
    Credential, CredentialId, Generation, InvalidId, Kind, Metadata, OAuthTokens, PoolKey, Record,
    Secret,
};
pub use error::{BoxError, Error};
pub use error_response::{ErrorResponse, ErrorResponseFuture, ErrorResponseLayer};
pub use layers::{
    AnsweredBy, Attempt, AuthHeader, AuthHeaderLayer, CooldownPersist, CooldownPersistLayer,
    Credentials, CredentialsLayer, ErrorBody, ErrorBodyFuture, ErrorBodyLayer, NetworkRetry, NextReady,
    PeekedBody, RefreshOn401, RefreshOn401Layer, Replay, ReplayLayer, RotateOn429, RotateOn429Layer,
    is_connect_error,
};
#[cfg(feature = "providers")]
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub use layers::{ModelScope, ModelScopeLayer};
pub use pool::{
    Affinity, Cooldowns, CredentialStatus, Lease, Mode, Pin, Pool, PoolBuilder, RefreshError, Refresher,
    Unfinished, WhenAllCoolingDown, policy,
};
pub use secret::SecretString;

/// Parts of the layers' services that have to be named by type.
pub mod service {
    pub use crate::layers::{ResponseFuture, SendsAgain, SendsOnce};
}

/// The README's examples, as doc tests.
#[cfg(all(doctest, feature = "file", feature = "reqwest", feature = "tls"))]
#[doc = include_str!("../README.md")]
pub struct ReadmeExample;

/// The tutorial's and the guides' examples, as doc tests.
#[cfg(all(doctest, feature = "file", feature = "oauth"))]
mod guides {
    #[cfg(feature = "setup")]
    #[doc = include_str!("../specs/tutorial.md")]
    struct Tutorial;

    #[doc = include_str!("../specs/guides/provider.md")]
    struct Provider;

    #[doc = include_str!("../specs/guides/vault.md")]
    struct Vault;

    #[doc = include_str!("../specs/guides/policy.md")]
    struct Policy;

    #[doc = include_str!("../specs/guides/refresher.md")]
    struct Refresher;
}

//! Sign-in to accounts, and renewal of their tokens.
//!
//! An [`OAuthConfig`] has the URLs of a vendor's server and says how it differs from the standard; an [`OAuthHttp`] carries
//! the requests; an [`OAuthClient`] joins both under a provider's name. It makes a [`SignIn`] for each account, whose
//! [`SignedIn`] goes into a vault, and a [`TokenRefresher`] for the pool that uses the accounts.
//!
//! ```no_run
//! use tower_credentials::oauth::{OAuthClient, OAuthConfig, OAuthHttp, Progress, Prompt};
//! use tower_credentials::vault::MemoryVault;
//! use tower_credentials::{BoxError, PoolKey, Refresher};
//! # async fn example(http: OAuthHttp) -> Result<(), BoxError> {
//! let vault = MemoryVault::new();
//! let config = OAuthConfig::google().client_id("an id of yours").client_secret("and its secret");
//! let google = OAuthClient::new("google", config, http);
//!
//! let mut sign_in = google.sign_in(google.first_flow()?).await?;
//! match sign_in.prompt() {
//!     Prompt::Browser { url, .. } | Prompt::Paste { url } => println!("Open {url}"),
//!     Prompt::Device { user_code, verification_url, .. } => println!("{user_code} at {verification_url}"),
//!     _ => {}
//! }
//! while let Some(progress) = sign_in.next().await {
//!     match progress? {
//!         Progress::SignedIn(account) => {
//!             let label = account.label.clone().unwrap_or_else(|| "default".to_owned());
//!             account.store(&vault, PoolKey::new("google"), label).await?;
//!         }
//!         other => println!("{other}"),
//!     }
//! }
//! let refresher = Refresher::from(google.refresher());
//! # drop(refresher);
//! # Ok(())
//! # }
//! ```
//!
//! A service that acts in its own name needs no sign-in: [`OAuthClient::client_credentials`].
//!
//! # Whose client
//!
//! No client id or secret of any product is shipped: sign in with an OAuth client that you may use under the vendor's
//! terms. Without one, the error names the missing setting.
//!
//! # Secrets
//!
//! No error, progress or `Debug` output quotes a token, a code or a client's secret, even if the server's own words do.
//! Tokens, verifiers and client secrets are wiped when dropped. The contents of a [`Prompt`] and the parameters that a
//! browser brings are not wiped, and the `oauth2` crate, the HTTP client and the TLS library may leave copies in freed memory.

mod client;
mod client_credentials;
mod config;
mod copilot;
mod cursor;
mod endpoint;
mod error;
mod grant;
mod http;
mod identity;
mod members;
mod progress;
mod redact;
mod refresher;
mod refusal;
mod seconds;
mod sign_in;
mod signed_in;
#[cfg(feature = "tls")]
mod tls;
mod token_response;
mod vendors;

pub use client::OAuthClient;
pub use client_credentials::ClientCredentials;
pub use config::{Dialect, FlowKind, OAuthConfig, TokenEncoding};
pub use error::OAuthError;
pub use http::OAuthHttp;
pub use progress::Progress;
pub use refresher::{TokenRefresh, TokenRefresher};
pub use sign_in::{Prompt, SignIn};
pub use signed_in::{ReplaceError, SignedIn};

//! The errors of the layers themselves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::credential::PoolKey;
use crate::vault::{Damage, VaultError};

/// Any error, boxed, as in tower's own middleware.
///
/// The layers return it, since services of other crates are under them. All other errors of this crate are types of their
/// own. A box is not a `std::error::Error` itself, so anyhow's `?` does not take it, but `anyhow::Error::from_boxed` does.
///
/// ```
/// use tower_credentials::{BoxError, Error};
///
/// fn sent() -> Result<(), BoxError> {
///     # Err(Error::LostBody.into())
///     // client.oneshot(request).await
/// }
///
/// fn run() -> anyhow::Result<()> {
///     Ok(sent().map_err(anyhow::Error::from_boxed)?)
/// }
///
/// let error = run().unwrap_err();
/// // An error of this crate is in the box.
/// let own = error.downcast_ref::<BoxError>().and_then(|error| error.downcast_ref::<Error>());
/// assert!(matches!(own, Some(Error::LostBody)));
/// ```
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The reason why a layer or a pool of this crate failed. A layer's error is a [`BoxError`], which is either the
/// inner service's own error or one of these.
///
/// ```
/// # fn handle(error: tower_credentials::BoxError) {
/// match error.downcast_ref::<tower_credentials::Error>() {
///     Some(own) => eprintln!("not sent: {own}"),
///     None => eprintln!("the client failed: {error}"),
/// }
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The credential may not be sent to the request's origin. The request was not sent.
    UntrustedOrigin {
        /// Scheme, host and port of the request's URI, or words for a URI without them.
        origin: String,
        /// The credential's provider.
        provider: String,
    },
    /// The pool is empty, or has no credential that its mode allows.
    NoCredential {
        /// The pool.
        pool: PoolKey,
        /// The kinds that its mode allows, in words.
        wanted: &'static str,
        /// A credential of the pool that can't be read, and the way out.
        damaged: Option<Box<Damage>>,
    },
    /// The request is pinned to a credential that is not in the pool.
    UnknownPin {
        /// The pool.
        pool: PoolKey,
        /// The label or id that was asked for.
        pin: String,
    },
    /// Every credential cools down, and the pool is configured to fail then.
    AllCoolingDown {
        /// The pool.
        pool: PoolKey,
        /// The time until the first of them is ready.
        retry_after: Duration,
        /// Whether its upstream has stated that time. Otherwise it is a guess, or was stated to another process.
        is_stated: bool,
    },
    /// Every credential that is not paused needs a new sign-in, or the one that the request is pinned to
    /// does.
    NeedsSignIn {
        /// The pool.
        pool: PoolKey,
        /// The label or id that the request is pinned to, if it is pinned.
        pin: Option<String>,
    },
    /// Every credential that is not paused is out of use, at least one of them because its account is out of money; or the
    /// one that the request is pinned to is.
    Spent {
        /// The pool.
        pool: PoolKey,
        /// The label or id that the request is pinned to, if it is pinned.
        pin: Option<String>,
    },
    /// A credential has no access token, nothing can create one or that has just failed, and no other credential was ready.
    NoToken {
        /// The pool.
        pool: PoolKey,
        /// The credential's label.
        label: Arc<str>,
    },
    /// Every credential is paused, or the one that the request is pinned to is.
    Paused {
        /// The pool.
        pool: PoolKey,
        /// The label or id that the request is pinned to, if it is pinned.
        pin: Option<String>,
    },
    /// The request carries a credential of the pool, but has lost its extensions between two layers, as in a
    /// redirect to another origin. It was not sent, since the layer can't tell which credential it carries.
    LostContext {
        /// The pool.
        pool: PoolKey,
    },
    /// The request's body failed when the request was about to be sent again, because another copy of the
    /// body failed or went past the bound.
    LostBody,
    /// The client has followed a redirect to another origin, and sent the credential there. The credential must
    /// be replaced. The response is withheld.
    Redirected {
        /// Scheme, host and port of the response's origin.
        origin: String,
    },
    /// A response future was polled after it had ended.
    Polled,
    /// The vault could not load the pool.
    Vault(VaultError),
}

impl Error {
    /// Returns its kind, for a trace: a fixed text.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::UntrustedOrigin { .. } => "untrusted_origin",
            Self::NoCredential { .. } => "no_credential",
            Self::UnknownPin { .. } => "unknown_pin",
            Self::AllCoolingDown { .. } => "all_cooling_down",
            Self::NeedsSignIn { .. } => "needs_sign_in",
            Self::Spent { .. } => "spent",
            Self::NoToken { .. } => "no_token",
            Self::Paused { .. } => "paused",
            Self::LostContext { .. } => "lost_context",
            Self::LostBody => "lost_body",
            Self::Redirected { .. } => "redirected",
            Self::Polled => "polled",
            Self::Vault(_) => "vault",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UntrustedOrigin { origin, provider } => write!(
                f,
                "a credential of {provider} may not be sent to {origin}; \
                 add the origin to the provider if that is intended"
            ),
            Self::NoCredential { pool, wanted, damaged: None } => {
                write!(f, "no {wanted} in pool {pool}; add one to its vault")
            }
            Self::NoCredential { pool, wanted, damaged: Some(damage) } => {
                write!(f, "no {wanted} in pool {pool} can be used: {damage}")
            }
            Self::UnknownPin { pool, pin } => {
                write!(f, "the request is pinned to {pin}, which is not in pool {pool}")
            }
            Self::AllCoolingDown { pool, retry_after, .. } => write!(
                f,
                "every credential of pool {pool} is limited; the first is ready in {:.1} s",
                retry_after.as_secs_f64()
            ),
            Self::NeedsSignIn { pool, pin: None } => write!(
                f,
                "every credential of pool {pool} that is not paused needs a new sign-in; sign in to one again, \
                 for example with the command `credentials login`"
            ),
            Self::NeedsSignIn { pool, pin: Some(pin) } => write!(
                f,
                "the request is pinned to {pin} of pool {pool}, which needs a new sign-in; sign in to it again, \
                 for example with the command `credentials login`"
            ),
            Self::Spent { pool, pin: None } => write!(
                f,
                "every credential of pool {pool} that is not paused is spent, or needs a new sign-in; see to the \
                 accounts' billing, then use Pool::reset or the command `credentials test`"
            ),
            Self::Spent { pool, pin: Some(pin) } => write!(
                f,
                "the request is pinned to {pin} of pool {pool}, which is spent; see to the account's billing, then \
                 use Pool::reset or the command `credentials test`"
            ),
            Self::NoToken { pool, label } => write!(
                f,
                "the account {label} of pool {pool} has no access token, and none could be made for it; sign in to it \
                 again, give the pool a Refresher that mints (Refresher::mints), or see in the event RefreshFailed \
                 why that has failed"
            ),
            Self::Paused { pool, pin: None } => write!(
                f,
                "every credential of pool {pool} is paused; resume one with Pool::resume or the command \
                 `credentials resume`"
            ),
            Self::Paused { pool, pin: Some(pin) } => write!(
                f,
                "the request is pinned to {pin} of pool {pool}, which is paused; resume it with \
                 Pool::resume or the command `credentials resume`"
            ),
            Self::LostContext { pool } => write!(
                f,
                "the request carries a credential of pool {pool} but has lost its extensions on the \
                 way, as in a redirect to another origin; put what redirects above the layers"
            ),
            Self::LostBody => f.write_str(
                "the body of the request failed, or went past the bound of its recording, just before it was \
                 sent again; send the request once more",
            ),
            Self::Redirected { origin } => write!(
                f,
                "the client has followed a redirect to {origin} and sent the credential there; replace \
                 the credential, and build the client with a redirect policy that stays in one origin"
            ),
            Self::Polled => f.write_str("a response future was polled after it had ended"),
            Self::Vault(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Vault(error) => error.source(),
            _ => None,
        }
    }
}

impl From<VaultError> for Error {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

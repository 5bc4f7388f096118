//! What the layers themselves can fail with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::credential::PoolKey;
use crate::vault::{Damage, VaultError};

/// Any error: what tower's own middleware uses where layers of several crates meet.
///
/// It is no `std::error::Error` itself, so anyhow's `?` does not take it: `anyhow::Error::from_boxed` does. All other errors
/// of this crate are types of their own and go through `?`; a `BoxError` comes from layers, since services of others are in
/// between.
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
/// // What is ours is found in the box.
/// let own = error.downcast_ref::<BoxError>().and_then(|error| error.downcast_ref::<Error>());
/// assert!(matches!(own, Some(Error::LostBody)));
/// ```
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a layer or a pool of this crate failed. A layer's error is a [`BoxError`] that is either the
/// inner service's own, or one of these.
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
    /// The request was about to carry a credential to where it may not go. It was not sent.
    UntrustedOrigin {
        /// Scheme, host and port of the request's URI, or that it has none.
        origin: String,
        /// The provider whose credentials don't go there.
        provider: String,
    },
    /// The pool is empty, or has nothing that its mode allows.
    NoCredential {
        /// Which pool.
        pool: PoolKey,
        /// Which kinds its mode allows, in words.
        wanted: &'static str,
        /// A credential of it that can't be read, and the way out.
        damaged: Option<Box<Damage>>,
    },
    /// The request is pinned to a credential that the pool has not got.
    UnknownPin {
        /// Which pool.
        pool: PoolKey,
        /// The label or id that was asked for.
        pin: String,
    },
    /// Every credential cools down, and the pool is set to fail then rather than to try one.
    AllCoolingDown {
        /// Which pool.
        pool: PoolKey,
        /// How long until the first of them is ready.
        retry_after: Duration,
        /// Whether its upstream has stated that time. Otherwise it is a guess, or was stated to another process.
        is_stated: bool,
    },
    /// Every credential that is not paused needs a new sign-in, or the one that the request is pinned to
    /// does.
    NeedsSignIn {
        /// Which pool.
        pool: PoolKey,
        /// The label or id that the request is pinned to, if it is pinned.
        pin: Option<String>,
    },
    /// Every credential that is not paused is out of use, and at least one for want of money; or the one that the
    /// request is pinned to is.
    Spent {
        /// Which pool.
        pool: PoolKey,
        /// The label or id that the request is pinned to, if it is pinned.
        pin: Option<String>,
    },
    /// A credential has no access token, and none could be had in its place: nothing can make one, or that has failed
    /// now. No other credential was ready.
    NoToken {
        /// Which pool.
        pool: PoolKey,
        /// Its label.
        label: Arc<str>,
    },
    /// Every credential is paused, or the one that the request is pinned to is.
    Paused {
        /// Which pool.
        pool: PoolKey,
        /// The label or id that the request is pinned to, if it is pinned.
        pin: Option<String>,
    },
    /// The request carries a credential of the pool's, but not what came with it: something between
    /// two layers has dropped the request's extensions, as a redirect to another origin does. It was
    /// not sent, since nobody knows who it is for.
    LostContext {
        /// Which pool.
        pool: PoolKey,
    },
    /// The request was to be sent again, and its body failed just then, as something else that shares
    /// the body was sending it.
    LostBody,
    /// The client has followed a redirect to another origin, and taken the credential along. It must be
    /// replaced; the response is withheld.
    Redirected {
        /// Scheme, host and port of where the response came from.
        origin: String,
    },
    /// A response future was polled after it had ended.
    Polled,
    /// The vault could not give the pool.
    Vault(VaultError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UntrustedOrigin { origin, provider } => write!(
                f,
                "a credential of {provider} may not be sent to {origin}; \
                 add the origin to the provider if it is meant to"
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
                 by the command `credentials login` for instance"
            ),
            Self::NeedsSignIn { pool, pin: Some(pin) } => write!(
                f,
                "the request is pinned to {pin} of pool {pool}, which needs a new sign-in; sign in to it again, \
                 by the command `credentials login` for instance"
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
                 again, give the pool a Refresher that mints (Refresher::mints), or see by the event RefreshFailed \
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
                "the body of the request failed, or went past what is recorded of it, as the request was \
                 to be sent again; send it anew",
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

//! Exchanging one secret for another, and how that fails.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tower::util::BoxCloneService;
use tower_service::Service;

use super::presenting::may_present;
use crate::BoxError;
use crate::credential::{Credential, PoolKey, Secret};
use crate::pool::lease::Lease;
use crate::secret::SecretString;

/// Exchanges a credential for a new secret, for example at the vendor's token endpoint.
///
/// ```
/// use tower_credentials::{Credential, OAuthTokens, RefreshError, Refresher};
///
/// let refresher = Refresher::new(|credential: Credential| async move {
///     let token = credential.secret.refresh_token().ok_or(RefreshError::rejected("no token"))?;
///     // Ask the token endpoint here.
///     Ok::<_, RefreshError>(OAuthTokens::new("new").refresh(token.clone()))
/// });
/// ```
#[derive(Clone)]
pub struct Refresher {
    exchange: Arc<Exchange>,
    concurrency: Concurrency,
    mints: bool,
}

type Exchange = Mutex<BoxCloneService<Credential, Secret, BoxError>>;

/// A weak reference to a refresher, since a refresher may hold the pool that remembers it.
#[derive(Clone)]
pub(in crate::pool) struct KnownRefresher {
    exchange: Weak<Exchange>,
    concurrency: Concurrency,
    mints: bool,
}

impl KnownRefresher {
    pub(in crate::pool) fn get(&self) -> Option<Refresher> {
        let Self { exchange, concurrency, mints } = self;
        Some(Refresher {
            exchange: exchange.upgrade()?,
            concurrency: concurrency.clone(),
            mints: *mints,
        })
    }
}

/// How many refreshes of different credentials may run at once.
#[derive(Clone)]
enum Concurrency {
    OnePerProvider,
    OnePerClient(Arc<str>),
    Unlimited,
}

impl Refresher {
    /// Creates a refresher from an async function that takes a credential and returns its new secret: a [`Secret`], or
    /// [`OAuthTokens`](crate::OAuthTokens). Its error may be a [`RefreshError`]; any other counts as temporary.
    pub fn new<F, Fut, T, E>(exchange: F) -> Self
    where
        F: FnMut(Credential) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Secret> + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::from_service(tower::service_fn(exchange))
    }

    /// Creates a refresher from a service, for example one with a timeout around it. Errors count as they do for
    /// [`new`](Self::new).
    pub fn from_service<S>(service: S) -> Self
    where
        S: Service<Credential, Response: Into<Secret>, Error: Into<BoxError>, Future: Send + 'static>
            + Clone
            + Send
            + 'static,
    {
        let service = tower::util::MapErr::new(service, Into::into as fn(S::Error) -> BoxError);
        let service = tower::util::MapResponse::new(service, Into::into as fn(S::Response) -> Secret);
        let exchange = Arc::new(Mutex::new(BoxCloneService::new(service)));
        Self { exchange, concurrency: Concurrency::OnePerProvider, mints: false }
    }

    /// Declares that this refresher makes secrets without a refresh token of the credential: an installation token of
    /// a GitHub App, a token for client credentials (RFC 6749, section 4.4), a service account's token, or one of a
    /// security token service.
    ///
    /// It is then called for credentials of every kind: after a 401, after the expiry, and before the first request if
    /// the vault has an empty token (`OAuthTokens::new("")`); once for all requests and all processes, like any
    /// refresh. Without this it is called only for credentials that have a refresh token.
    ///
    /// ```
    /// # use tower_credentials::{Credential, OAuthTokens, RefreshError, Refresher};
    /// let refresher = Refresher::new(|installation: Credential| async move {
    ///     let id = installation.metadata.attributes.get("installation");
    ///     let id = id.ok_or(RefreshError::Failed("the account has no attribute `installation`".into()))?;
    ///     // Ask for a token with a key of your own here.
    ///     Ok::<_, RefreshError>(OAuthTokens::new(format!("a token for {id}")))
    /// })
    /// .mints();
    /// ```
    #[must_use]
    pub fn mints(mut self) -> Self {
        self.mints = true;
        self
    }

    /// Refreshes all credentials of this OAuth client one at a time, whatever their provider. By default, those of one
    /// provider are: some vendors revoke sibling sign-ins that are renewed at the same time.
    #[must_use]
    pub fn client(mut self, client_id: impl Into<Arc<str>>) -> Self {
        self.concurrency = Concurrency::OnePerClient(client_id.into());
        self
    }

    /// Refreshes different credentials at the same time, for vendors that are known to allow it. Refreshes of one
    /// credential are never concurrent.
    #[must_use]
    pub fn concurrent(mut self) -> Self {
        self.concurrency = Concurrency::Unlimited;
        self
    }

    /// Returns whether the refresh that this is called in may still present its token; `true` outside of a refresh.
    ///
    /// A vault over a network holds a refresh's lease for a limited time, and then gives it to another process. The pool
    /// checks that time before it calls the refresher, and [`OAuthHttp`](crate::oauth::OAuthHttp) right before it sends. A
    /// refresher that may wait for something else, such as its turn, checks it after that; if this is `false`, it returns any
    /// error and sends nothing. Once the token is sent nothing has to be cut off.
    pub fn may_present() -> bool {
        may_present()
    }

    /// Returns the name of the lock that this pool's refreshes share, if they are not concurrent.
    pub(super) fn lock_name(&self, pool: &PoolKey) -> Option<Arc<str>> {
        match &self.concurrency {
            // No client id looks like this.
            Concurrency::OnePerProvider => Some(format!("provider {}", pool.provider()).into()),
            Concurrency::OnePerClient(client) => Some(client.clone()),
            Concurrency::Unlimited => None,
        }
    }

    /// Returns whether it makes secrets without a refresh token.
    pub(in crate::pool) fn is_minting(&self) -> bool {
        self.mints
    }

    /// Returns whether it may renew this lease's secret.
    pub(crate) fn renews(&self, lease: &Lease) -> bool {
        self.mints || lease.has_refresh_token()
    }

    pub(in crate::pool) fn known(&self) -> KnownRefresher {
        let Self { exchange, concurrency, mints } = self;
        KnownRefresher {
            exchange: Arc::downgrade(exchange),
            concurrency: concurrency.clone(),
            mints: *mints,
        }
    }

    pub(super) async fn exchange(&self, credential: Credential) -> Result<Secret, RefreshError> {
        let mut service = self.exchange.lock().unwrap_or_else(PoisonError::into_inner).clone();
        std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
        Ok(service.call(credential).await?)
    }
}

impl fmt::Debug for Refresher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refresher")
    }
}

/// Why a secret could not be renewed.
#[derive(Debug)]
#[non_exhaustive]
pub enum RefreshError {
    /// The vendor has rejected the refresh token (`invalid_grant`, RFC 6749, section 5.2): only a new sign-in helps.
    Rejected {
        /// The vendor's reason, in words. It is shown and saved, so it must not contain a secret.
        reason: String,
    },
    /// A temporary failure, such as one of the network or of a server.
    Failed(BoxError),
    /// Like [`Failed`](Self::Failed), but the token endpoint has stated when to ask again (`retry-after`, RFC 9110,
    /// section 10.2.3). No process that shares the vault refreshes this credential before that time.
    AskAgain {
        /// How long to wait from when the response arrived. More than eight days count as eight.
        after: Duration,
        /// The error.
        error: BoxError,
    },
    /// Like [`Failed`](Self::Failed), but the token endpoint has sent a response that could not be read, or not all of
    /// it. The refresh token may be spent, so the received text is kept with the credential, as
    /// [`UNREAD_RESPONSE`](crate::OAuthTokens::UNREAD_RESPONSE).
    Unread {
        /// The text that was received.
        received: SecretString,
        /// Why it could not be read.
        error: BoxError,
    },
}

impl RefreshError {
    /// Creates the error of a vendor that has rejected the refresh token.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self::Rejected { reason: reason.into() }
    }

    /// Returns how long to wait, if the token endpoint has stated that.
    pub(super) fn ask_again_in(&self) -> Option<Duration> {
        match self {
            Self::AskAgain { after, .. } => Some((*after).min(crate::rate_limit::MAX_STATED)),
            Self::Rejected { .. } | Self::Failed(_) | Self::Unread { .. } => None,
        }
    }

    /// Removes the secret from the text: token endpoints quote it, and errors are shown.
    pub(super) fn redacted(self, secret: &Secret) -> Self {
        match self {
            Self::Rejected { reason } => Self::Rejected { reason: secret.redact(reason) },
            Self::Failed(error) => Self::Failed(redacted(error, secret)),
            Self::AskAgain { after, error } => Self::AskAgain { after, error: redacted(error, secret) },
            Self::Unread { received, error } => {
                Self::Unread { received, error: redacted(error, secret) }
            }
        }
    }
}

fn redacted(error: BoxError, secret: &Secret) -> BoxError {
    let text = error.to_string();
    let redacted = secret.redact(text.clone());
    if redacted == text { error } else { redacted.into() }
}

impl fmt::Display for RefreshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected { reason } => write!(f, "a new sign-in is needed: {reason}"),
            Self::Failed(error) | Self::AskAgain { error, .. } | Self::Unread { error, .. } => {
                error.fmt(f)
            }
        }
    }
}

impl std::error::Error for RefreshError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Rejected { .. } => None,
            Self::Failed(error) | Self::AskAgain { error, .. } | Self::Unread { error, .. } => {
                error.source()
            }
        }
    }
}

impl From<BoxError> for RefreshError {
    fn from(error: BoxError) -> Self {
        error.downcast().map_or_else(Self::Failed, |error| *error)
    }
}

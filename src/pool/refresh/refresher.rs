//! What exchanges one secret for another, and how that fails.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tower::util::BoxCloneService;
use tower_service::Service;

use crate::BoxError;
use crate::credential::{Credential, PoolKey, Secret};
use crate::pool::Lease;
use crate::secret::SecretString;

/// Exchanges a credential for a new secret, at the vendor's token endpoint for instance.
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
    turns: Turns,
    mints: bool,
}

type Exchange = Mutex<BoxCloneService<Credential, Secret, BoxError>>;

/// A refresher for as long as others have it: it may hold the pool that knows it.
#[derive(Clone)]
pub(in crate::pool) struct KnownRefresher {
    exchange: Weak<Exchange>,
    turns: Turns,
    mints: bool,
}

impl KnownRefresher {
    pub(in crate::pool) fn get(&self) -> Option<Refresher> {
        let Self { exchange, turns, mints } = self;
        Some(Refresher { exchange: exchange.upgrade()?, turns: turns.clone(), mints: *mints })
    }
}

/// Which refreshes are made one at a time.
#[derive(Clone)]
enum Turns {
    OfProvider,
    OfClient(Arc<str>),
    None,
}

impl Refresher {
    /// A refresher that calls an async function, from a credential to its new secret: a [`Secret`], or
    /// [`OAuthTokens`](crate::OAuthTokens). The function's error may be a [`RefreshError`]; any other is taken for a failure
    /// that may pass.
    pub fn new<F, Fut, T, E>(exchange: F) -> Self
    where
        F: FnMut(Credential) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Secret> + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::from_service(tower::service_fn(exchange))
    }

    /// A refresher that calls a service: one with a timeout around it, say. Errors as at [`new`](Self::new).
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
        Self { exchange, turns: Turns::OfProvider, mints: false }
    }

    /// Says that it makes secrets from what it has itself, without a refresh token of the credential's: an installation
    /// token of a GitHub App, a token for client credentials (RFC 6749, section 4.4), a service account's, one of a
    /// security token service. Then it is called for credentials of every kind: after a 401, after the expiry, and
    /// before the first request where the vault has an empty token (`OAuthTokens::new("")`). Once for all requests and
    /// all processes, as any refresh. Without this it is called for credentials that have a refresh token, and for no
    /// other.
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

    /// Makes the refreshes of all credentials that go by this OAuth client one at a time, whatever their
    /// provider. Unless set, those of one provider are: some vendors revoke sibling sign-ins that are
    /// renewed at the same time.
    #[must_use]
    pub fn client(mut self, client_id: impl Into<Arc<str>>) -> Self {
        self.turns = Turns::OfClient(client_id.into());
        self
    }

    /// Makes refreshes of different credentials at the same time, where the vendor is known to bear that.
    /// Those of one credential are never.
    #[must_use]
    pub fn concurrent(mut self) -> Self {
        self.turns = Turns::None;
        self
    }

    /// By what name the refreshes of this pool's credentials take turns.
    pub(super) fn turns(&self, pool: &PoolKey) -> Option<Arc<str>> {
        match &self.turns {
            // No client id is named like this.
            Turns::OfProvider => Some(format!("provider {}", pool.provider()).into()),
            Turns::OfClient(client) => Some(client.clone()),
            Turns::None => None,
        }
    }

    /// Whether it makes secrets by itself.
    pub(in crate::pool) fn is_minting(&self) -> bool {
        self.mints
    }

    /// Whether it may renew what this lease has.
    pub(crate) fn renews(&self, lease: &Lease) -> bool {
        self.mints || lease.has_refresh_token()
    }

    pub(in crate::pool) fn known(&self) -> KnownRefresher {
        let Self { exchange, turns, mints } = self;
        KnownRefresher { exchange: Arc::downgrade(exchange), turns: turns.clone(), mints: *mints }
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
    /// The vendor's own verdict that the refresh token is no good (`invalid_grant`, RFC 6749, section
    /// 5.2): only a new sign-in helps.
    Rejected {
        /// The vendor's reason, in words. Shown to people and saved: nothing secret.
        reason: String,
    },
    /// Anything that may pass: the network, a server's trouble.
    Failed(BoxError),
    /// As [`Failed`](Self::Failed), and the token endpoint has stated when to ask again (`retry-after`, RFC 9110,
    /// section 10.2.3). No process that shares the vault asks for this credential before.
    AskAgain {
        /// In how long, from the answer on. More than eight days are not believed.
        after: Duration,
        /// What has failed.
        error: BoxError,
    },
    /// The token endpoint has answered, and the answer could not be read, or not whole. The refresh token may be
    /// spent, so what was received is kept with the credential, as
    /// [`UNREAD_ANSWER`](crate::OAuthTokens::UNREAD_ANSWER). As [`Failed`](Self::Failed) otherwise.
    Unread {
        /// What was received.
        received: SecretString,
        /// What was wrong with it.
        error: BoxError,
    },
}

impl RefreshError {
    /// That the vendor has rejected the refresh token.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self::Rejected { reason: reason.into() }
    }

    /// When the token endpoint wants to be asked again, where it has stated that.
    pub(super) fn ask_again_in(&self) -> Option<Duration> {
        match self {
            Self::AskAgain { after, .. } => Some((*after).min(crate::rate_limit::MAX_STATED)),
            Self::Rejected { .. } | Self::Failed(_) | Self::Unread { .. } => None,
        }
    }

    /// Without the secret, where its text quotes it: token endpoints do that, and errors are shown.
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

//! What exchanges one secret for another, and how that fails.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tower::util::BoxCloneService;
use tower_service::Service;

use crate::BoxError;
use crate::credential::{Credential, PoolKey, Secret};
use crate::secret::SecretString;

/// Exchanges a credential for a new secret, at the vendor's token endpoint for instance.
///
/// ```
/// use tower_credentials::{Credential, OAuthTokens, RefreshError, Refresher, Secret};
///
/// let refresher = Refresher::new(|credential: Credential| async move {
///     let token = credential.secret.refresh_token().ok_or(RefreshError::rejected("no token"))?;
///     // Ask the token endpoint here.
///     Ok::<Secret, RefreshError>(OAuthTokens::new("new").refresh(token.clone()).into())
/// });
/// ```
#[derive(Clone)]
pub struct Refresher {
    exchange: Arc<Mutex<BoxCloneService<Credential, Secret, BoxError>>>,
    turns: Turns,
}

/// Which refreshes are made one at a time.
#[derive(Clone)]
enum Turns {
    OfProvider,
    OfClient(Arc<str>),
    None,
}

impl Refresher {
    /// A refresher that calls an async function. The function's error may be a [`RefreshError`]; any
    /// other is taken for a failure that may pass.
    pub fn new<F, Fut, E>(exchange: F) -> Self
    where
        F: FnMut(Credential) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<Secret, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::from_service(tower::service_fn(exchange))
    }

    /// A refresher that calls a service: one with a timeout around it, say. Errors as at [`new`](Self::new).
    pub fn from_service<S>(service: S) -> Self
    where
        S: Service<Credential, Response = Secret, Error: Into<BoxError>, Future: Send + 'static>
            + Clone
            + Send
            + 'static,
    {
        let service = tower::util::MapErr::new(service, Into::into as fn(S::Error) -> BoxError);
        let exchange = Arc::new(Mutex::new(BoxCloneService::new(service)));
        Self { exchange, turns: Turns::OfProvider }
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

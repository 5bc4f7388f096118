//! Renews a credential's tokens, for a pool.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use tower_service::Service;

use super::client::OAuthClient;
use super::config::Dialect;
use super::error::OAuthError;
use super::grant::NotRenewed;
use super::refusal::is_verdict;
use super::{copilot, cursor, grant};
use crate::credential::{Credential, OAuthTokens, Secret};
use crate::pool::{RefreshError, Refresher};

/// Renews a credential's tokens at its vendor's server.
///
/// It converts into a [`Refresher`], and is a service for [`Refresher::from_service`] if other layers should wrap it. Made
/// by [`OAuthClient::refresher`].
///
/// If the server refuses the refresh token, the error is [`RefreshError::Rejected`], with the server's words. If it can't
/// answer now and says when it can, it is [`RefreshError::AskAgain`]. Anything else is [`RefreshError::Failed`] with an
/// [`OAuthError`]: a network error, a response that can't be read, and also a refusal of the client or of the request,
/// which would meet a new sign-in as well.
#[derive(Clone, Debug)]
pub struct TokenRefresher {
    client: OAuthClient,
}

/// The future of a [`TokenRefresher`] and of [`ClientCredentials`](super::ClientCredentials).
pub struct TokenRefresh(Pin<Box<dyn Future<Output = Result<Secret, RefreshError>> + Send>>);

impl TokenRefresh {
    pub(super) fn new(
        renewing: impl Future<Output = Result<Secret, RefreshError>> + Send + 'static,
    ) -> Self {
        Self(Box::pin(renewing))
    }
}

impl OAuthClient {
    /// Returns a service that renews tokens, for a [`Refresher`].
    pub fn refresher(&self) -> TokenRefresher {
        TokenRefresher { client: self.for_refreshes() }
    }
}

/// Renews one account at a time among all accounts of the client's id: some vendors end sibling sign-ins that are
/// renewed at the same time.
impl From<TokenRefresher> for Refresher {
    fn from(service: TokenRefresher) -> Self {
        let client = service.client.clone();
        one_at_a_time(Refresher::from_service(service), &client)
    }
}

/// Makes a secret of tokens.
type ToSecret = fn(OAuthTokens) -> Secret;

/// The tokens of a secret, and a function that makes a secret of the same kind from others.
pub(super) fn tokens_of(secret: &Secret) -> Result<(&OAuthTokens, ToSecret), RefreshError> {
    match secret {
        Secret::OAuth(tokens) => Ok((tokens, Secret::OAuth)),
        Secret::Mcp(tokens) => Ok((tokens, Secret::Mcp)),
        other => Err(not_a_verdict(OAuthError::NotOAuth { kind: other.kind() })),
    }
}

/// Renews the accounts of this client's id one at a time.
pub(super) fn one_at_a_time(refresher: Refresher, client: &OAuthClient) -> Refresher {
    match &client.config().client_id {
        Some(id) => refresher.client(id.clone()),
        None => refresher,
    }
}

impl Service<Credential> for TokenRefresher {
    type Response = Secret;
    type Error = RefreshError;
    type Future = TokenRefresh;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RefreshError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, credential: Credential) -> TokenRefresh {
        let client = self.client.clone();
        TokenRefresh::new(async move {
            let (tokens, secret) = tokens_of(&credential.secret)?;
            renew(&client, tokens).await.map(secret)
        })
    }
}

impl Future for TokenRefresh {
    type Output = Result<Secret, RefreshError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for TokenRefresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenRefresh")
    }
}

async fn renew(client: &OAuthClient, tokens: &OAuthTokens) -> Result<OAuthTokens, RefreshError> {
    let refresh = tokens.refresh.as_ref().filter(|token| !token.is_empty());
    let refresh =
        refresh.ok_or_else(|| RefreshError::rejected("it was signed in without a refresh token"))?;
    let renewed = match client.dialect() {
        Dialect::Copilot => copilot::renew(client, tokens, refresh).await,
        Dialect::Cursor => cursor::refresh(client, tokens, refresh.expose()).await,
        _ => grant::refresh(client, tokens, refresh.expose()).await,
    };
    renewed.map_err(|NotRenewed { error, received }| match error {
        OAuthError::Refused { code, description, .. } if is_verdict(&code, description.as_deref()) => {
            RefreshError::rejected(match description {
                Some(description) => format!("{code}: {description}"),
                None => code,
            })
        }
        error => match received {
            Some(received) => RefreshError::Unread { received, error: error.into() },
            None => not_a_verdict(error),
        },
    })
}

/// An error that says nothing about the account itself.
pub(super) fn not_a_verdict(error: OAuthError) -> RefreshError {
    match error.retry_after() {
        Some(after) => RefreshError::AskAgain { after, error: error.into() },
        None => RefreshError::Failed(error.into()),
    }
}

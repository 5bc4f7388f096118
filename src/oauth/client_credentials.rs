//! Tokens for a client in its own name (RFC 6749, section 4.4).

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use oauth2::TokenUrl;
use tower_service::Service;

use super::client::OAuthClient;
use super::endpoint::Endpoint;
use super::error::OAuthError;
use super::grant::{scopes, standard};
use super::refresher::{TokenRefresh, one_at_a_time, passing, tokens_of};
use crate::credential::{Credential, OAuthTokens, Secret};
use crate::pool::{RefreshError, Refresher};
use crate::secret::SecretString;

/// Asks a server for tokens in the client's own name, by its id and secret (RFC 6749, section 4.4): a [`Refresher`] that
/// [mints](Refresher::mints), and a service for [`Refresher::from_service`]; made by
/// [`OAuthClient::client_credentials`]. The credential in the vault needs no token of its own.
///
/// ```
/// # use tower_credentials::oauth::{OAuthClient, OAuthConfig, OAuthHttp};
/// # use tower_credentials::vault::{MemoryVault, VaultExt};
/// # use tower_credentials::{BoxError, Credential, OAuthTokens, Pool, PoolKey, provider::GenericProvider};
/// # async fn example(http: OAuthHttp) -> Result<(), BoxError> {
/// let vault = MemoryVault::new();
/// vault.put(Credential::new(PoolKey::new("example"), "service", OAuthTokens::new(""))).await?;
///
/// let mut config = OAuthConfig::default().client_id("the service's id").client_secret("and its secret");
/// config.token_url = Some("https://login.example.com/token".to_owned());
/// config.scopes = vec!["read".to_owned()];
/// let client = OAuthClient::new("example", config, http);
/// let provider = GenericProvider::bearer("example").origin("https://api.example.com")?;
/// let pool = Pool::builder(provider, vault).refresher(client.client_credentials()).open().await?;
/// # Ok(())
/// # }
/// ```
///
/// No answer is a verdict on the account, which is the client itself: that `invalid_client` is answered is trouble with a
/// setting, and [`RefreshError::Failed`]. A server that says when to ask again is [`RefreshError::AskAgain`].
#[derive(Clone)]
pub struct ClientCredentials {
    client: OAuthClient,
    params: Arc<Vec<(String, SecretString)>>,
}

impl ClientCredentials {
    pub(super) fn new(client: OAuthClient) -> Self {
        Self { client, params: Arc::default() }
    }

    /// Sends this parameter as well: an `audience`, or a `resource` (RFC 8707), as some servers want.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, value: impl Into<SecretString>) -> Self {
        Arc::make_mut(&mut self.params).push((name.into(), value.into()));
        self
    }

    async fn ask(&self, old: &OAuthTokens) -> Result<OAuthTokens, OAuthError> {
        let client = &self.client;
        if client.client_secret().is_none() {
            return Err(client.missing("client_secret"));
        }
        let values = self.params.iter().map(|(_, value)| value.expose());
        let endpoint = Endpoint::new(client, client.token_url()?, values);
        let standard = standard(client)?.set_token_uri(TokenUrl::from_url(endpoint.url.clone()));
        let request = standard.exchange_client_credentials().add_scopes(scopes(client));
        let request = self.params.iter().fold(request, |request, (name, value)| {
            request.add_extra_param(name.as_str(), value.expose())
        });
        let now = client.now();
        let answer = request.request_async(&endpoint).await;
        let answer = answer.map_err(|error| endpoint.failed(error))?;
        Ok(answer.minted(old, client.dialect(), now))
    }
}

/// One request at a time for all accounts of the client's id.
impl From<ClientCredentials> for Refresher {
    fn from(service: ClientCredentials) -> Self {
        let client = service.client.clone();
        one_at_a_time(Refresher::from_service(service).mints(), &client)
    }
}

impl Service<Credential> for ClientCredentials {
    type Response = Secret;
    type Error = RefreshError;
    type Future = TokenRefresh;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RefreshError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, credential: Credential) -> TokenRefresh {
        let this = self.clone();
        TokenRefresh::new(async move {
            let (old, secret) = tokens_of(&credential.secret)?;
            this.ask(old).await.map(secret).map_err(passing)
        })
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials").field("client", &self.client).finish_non_exhaustive()
    }
}

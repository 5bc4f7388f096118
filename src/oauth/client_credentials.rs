//! Tokens that a client gets in its own name (RFC 6749, section 4.4).

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use oauth2::TokenUrl;
use tower_service::Service;

use super::client::OAuthClient;
use super::endpoint::Endpoint;
use super::error::OAuthError;
use super::grant::{scopes, standard};
use super::refresher::{TokenRefresh, not_a_verdict, one_at_a_time, tokens_of};
use crate::credential::{Credential, OAuthTokens, Secret};
use crate::pool::{RefreshError, Refresher};
use crate::secret::SecretString;

/// Requests tokens in the client's own name, with its id and secret (RFC 6749, section 4.4).
///
/// It converts into a [`Refresher`] that [mints](Refresher::mints), and is a service for [`Refresher::from_service`]. Made
/// by [`OAuthClient::client_credentials`]. The credential in the vault needs no token of its own.
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
/// No response ends the account, which is the client itself: `invalid_client` means that a setting is wrong, and becomes
/// [`RefreshError::Failed`]. If the server says when to ask again, the error is [`RefreshError::AskAgain`].
#[derive(Clone)]
pub struct ClientCredentials {
    client: OAuthClient,
    params: Arc<Vec<(String, SecretString)>>,
}

impl OAuthClient {
    /// Returns a service that requests tokens in the client's own name (RFC 6749, section 4.4), for a [`Refresher`] that
    /// [mints](Refresher::mints).
    pub fn client_credentials(&self) -> ClientCredentials {
        ClientCredentials { client: self.clone(), params: Arc::default() }
    }
}

impl ClientCredentials {
    /// Adds a parameter to the request. Some servers want an `audience`, or a `resource` (RFC 8707).
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, value: impl Into<SecretString>) -> Self {
        Arc::make_mut(&mut self.params).push((name.into(), value.into()));
        self
    }

    async fn request(&self, old: &OAuthTokens) -> Result<OAuthTokens, OAuthError> {
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
        let response = request.request_async(&endpoint).await;
        let response = response.map_err(|error| endpoint.failed(error))?;
        Ok(response.minted(old, client.dialect(), now))
    }
}

/// Sends one request at a time for all accounts of the client's id.
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
            this.request(old).await.map(secret).map_err(not_a_verdict)
        })
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials").field("client", &self.client).finish_non_exhaustive()
    }
}

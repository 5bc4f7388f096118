//! The client of one provider: its configuration, and the HTTP client that carries its requests.

use std::fmt;
use std::sync::Arc;

use url::Url;

use super::config::{Dialect, FlowKind, OAuthConfig};
use super::error::OAuthError;
use super::http::OAuthHttp;
use crate::clock::{Clock, Timestamp};
use crate::origin::Origin;

/// A client that signs in to accounts of one provider and renews their tokens. Clones are cheap.
#[derive(Clone)]
pub struct OAuthClient(Arc<Parts>);

#[derive(Clone)]
struct Parts {
    provider: String,
    config: OAuthConfig,
    http: OAuthHttp,
    clock: Clock,
}

impl OAuthClient {
    /// Creates a client for the provider of this name, which errors quote.
    pub fn new(provider: impl Into<String>, config: OAuthConfig, http: OAuthHttp) -> Self {
        Self(Arc::new(Parts { provider: provider.into(), config, http, clock: Clock::system() }))
    }

    /// Sets the clock by which tokens expire. Defaults to the system's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        Arc::make_mut(&mut self.0).clock = clock;
        self
    }

    /// The provider's name.
    pub fn provider(&self) -> &str {
        &self.0.provider
    }

    /// The configuration.
    pub fn config(&self) -> &OAuthConfig {
        &self.0.config
    }

    /// Returns the way to sign in that should be offered first.
    ///
    /// # Errors
    /// [`OAuthError::MissingSetting`] if the configuration has none.
    pub fn first_flow(&self) -> Result<FlowKind, OAuthError> {
        self.config().flows.first().copied().ok_or_else(|| self.missing("flows"))
    }

    /// The same client with the longer timeout of refreshes.
    pub(super) fn for_refreshes(&self) -> Self {
        let mut client = self.clone();
        let parts = Arc::make_mut(&mut client.0);
        parts.http = parts.http.clone().for_refreshes();
        client
    }

    pub(super) fn http(&self) -> &OAuthHttp {
        &self.0.http
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.config().dialect
    }

    pub(super) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(super) fn missing(&self, setting: &'static str) -> OAuthError {
        OAuthError::MissingSetting { provider: self.provider().to_owned(), setting }
    }

    pub(super) fn invalid(&self, setting: &'static str, reason: impl fmt::Display) -> OAuthError {
        let provider = self.provider().to_owned();
        OAuthError::InvalidSetting { provider, setting, reason: reason.to_string() }
    }

    pub(super) fn client_id(&self) -> Result<&str, OAuthError> {
        let id = self.config().client_id.as_deref();
        id.filter(|id| !id.is_empty()).ok_or_else(|| self.missing("client_id"))
    }

    pub(super) fn client_secret(&self) -> Option<&str> {
        self.config()
            .client_secret
            .as_ref()
            .map(|secret| secret.expose())
            .filter(|text| !text.is_empty())
    }

    /// A URL that secrets may be sent to: HTTPS, or a loopback host.
    pub(super) fn url(&self, setting: &'static str, value: Option<&String>) -> Result<Url, OAuthError> {
        let value = value.ok_or_else(|| self.missing(setting))?;
        let url = Url::parse(value).map_err(|error| self.invalid(setting, error))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(self.invalid(setting, "it must not name a user"));
        }
        if url.fragment().is_some() {
            return Err(self.invalid(setting, "it must have no fragment"));
        }
        url.origin()
            .ascii_serialization()
            .parse::<Origin>()
            .map_err(|error| self.invalid(setting, error))?;
        Ok(url)
    }

    pub(super) fn token_url(&self) -> Result<Url, OAuthError> {
        self.url("token_url", self.config().token_url.as_ref())
    }
}

impl fmt::Debug for OAuthClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthClient")
            .field("provider", &self.0.provider)
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

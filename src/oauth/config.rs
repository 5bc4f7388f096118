//! The URLs of a vendor's OAuth server, and what it expects of a client.

use crate::credential::OAuthTokens;
use crate::secret::SecretString;

/// The entry of [`OAuthTokens::extra`] that has the refresh token of GitHub's own token, if that expires.
pub(super) const GITHUB_REFRESH: &str = "github_refresh_token";

/// The configuration by which accounts of one provider sign in and their tokens are renewed. Every field can be changed:
/// vendors change theirs, and the user brings the client id.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OAuthConfig {
    /// The client's id at the vendor (RFC 6749, section 2.2). None is shipped.
    pub client_id: Option<String>,
    /// The client's secret, if the vendor has given one (RFC 6749, section 2.3.1).
    pub client_secret: Option<SecretString>,
    /// The scopes to request (RFC 6749, section 3.3).
    pub scopes: Vec<String>,
    /// The ways to sign in that the vendor has, the preferred one first.
    pub flows: Vec<FlowKind>,
    /// The page where a person signs in (RFC 6749, section 3.1).
    pub authorize_url: Option<String>,
    /// More parameters of that URL.
    pub authorize_params: Vec<(String, String)>,
    /// The URI to which the browser returns (RFC 8252, section 7.3).
    pub redirect_uri: Option<String>,
    /// The endpoint that gives a device its code (RFC 8628, section 3.1).
    pub device_url: Option<String>,
    /// The endpoint that exchanges a grant for tokens (RFC 6749, section 3.2).
    pub token_url: Option<String>,
    /// The endpoint that renews tokens. Defaults to `token_url`.
    pub refresh_url: Option<String>,
    /// The endpoint that exchanges the grant's token for one that the API takes.
    pub exchange_url: Option<String>,
    /// The endpoint that says whether a person has opened the link and signed in.
    pub poll_url: Option<String>,
    /// The endpoint at which GitHub says whose token it is. None of its other responses does.
    pub account_url: Option<String>,
    /// The encoding of requests to the token endpoint.
    pub token_encoding: TokenEncoding,
    /// How the vendor's server differs from the standard.
    pub dialect: Dialect,
}

impl OAuthConfig {
    /// Sets the client id that you have from the vendor.
    #[must_use]
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = Some(id.into());
        self
    }

    /// Sets the client secret. A program that is given to people can't keep one secret (RFC 8252, section 8.5), but some
    /// vendors require it all the same.
    #[must_use]
    pub fn client_secret(mut self, secret: impl Into<SecretString>) -> Self {
        self.client_secret = Some(secret.into());
        self
    }

    /// Sets the address to which the browser returns. Without a port, or with port 0, a loopback sign-in takes any free
    /// port (RFC 8252, section 7.3). If the vendor compares the port with a registered one, name that one.
    #[must_use]
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.redirect_uri = Some(uri.into());
        self
    }

    /// Returns the first unset field that is needed to renew these tokens, or `None` if nothing is missing.
    pub fn missing_for_refresh(&self, tokens: &OAuthTokens) -> Option<&'static str> {
        let grant = [
            ("client_id", &self.client_id),
            ("token_url", if self.refresh_url.is_some() { &self.refresh_url } else { &self.token_url }),
        ];
        let exchange = ("exchange_url", &self.exchange_url);
        let needed = match self.dialect {
            // If GitHub's own token expires, the standard's grant renews it.
            Dialect::Copilot if tokens.extra.contains_key(GITHUB_REFRESH) => {
                vec![exchange, grant[0], grant[1]]
            }
            Dialect::Copilot => vec![exchange],
            Dialect::Cursor => vec![("refresh_url", &self.refresh_url)],
            _ => grant.to_vec(),
        };
        let is_missing = |value: &Option<String>| value.as_deref().is_none_or(str::is_empty);
        needed.into_iter().find_map(|(name, value)| is_missing(value).then_some(name))
    }
}

/// A way to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FlowKind {
    /// Authorization code with PKCE (RFC 7636); the browser comes back to a loopback address (RFC 8252).
    Loopback,
    /// Authorization code with PKCE; a person copies the code.
    PastedCode,
    /// A person types a code into a page on another device (RFC 8628).
    Device,
    /// A person opens a link, and the client polls the server until they have signed in.
    LinkPoll,
}

impl FlowKind {
    /// Its name in settings.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::PastedCode => "pasted-code",
            Self::Device => "device",
            Self::LinkPoll => "link-poll",
        }
    }
}

impl std::fmt::Display for FlowKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Loopback => "browser",
            Self::PastedCode => "pasted code",
            Self::Device => "device code",
            Self::LinkPoll => "link",
        })
    }
}

/// The encoding of a token request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenEncoding {
    /// `application/x-www-form-urlencoded` (RFC 6749, appendix B).
    #[default]
    Form,
    /// `application/json`.
    Json,
}

/// How a vendor's server differs from the standard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// Not at all.
    #[default]
    Standard,
    /// The token request carries the `state`; a pasted code may be `code#state`.
    Anthropic,
    /// The account's id is a claim of the id token.
    OpenAi,
    /// The grant's token is exchanged for a short-lived one.
    Copilot,
    /// The device flow carries PKCE; the token response names the API's host.
    Qwen,
    /// No OAuth: a link, a poll and a JSON refresh.
    Cursor,
}

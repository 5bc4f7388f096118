//! What a vendor's OAuth server needs to be told, and where it is.

use super::copilot::GITHUB_REFRESH;
use crate::credential::OAuthTokens;
use crate::secret::SecretString;

/// How accounts of one provider are signed in and their tokens renewed. Every field can be changed: vendors
/// change theirs, and a client id is the user's own to bring.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OAuthConfig {
    /// The client's id at the vendor (RFC 6749, section 2.2). None is shipped.
    pub client_id: Option<String>,
    /// The client's secret, where the vendor has given one (RFC 6749, section 2.3.1).
    pub client_secret: Option<SecretString>,
    /// What is asked for (RFC 6749, section 3.3).
    pub scopes: Vec<String>,
    /// The ways to sign in that the vendor has, the one to be offered first in front.
    pub flows: Vec<FlowKind>,
    /// Where a person is sent to sign in (RFC 6749, section 3.1).
    pub authorize_url: Option<String>,
    /// More parameters of that URL.
    pub authorize_params: Vec<(String, String)>,
    /// Where the browser comes back to (RFC 8252, section 7.3).
    pub redirect_uri: Option<String>,
    /// Where a device asks for its code (RFC 8628, section 3.1).
    pub device_url: Option<String>,
    /// Where a grant is exchanged for tokens (RFC 6749, section 3.2).
    pub token_url: Option<String>,
    /// Where tokens are renewed, if not there.
    pub refresh_url: Option<String>,
    /// Where the grant's token is exchanged for one that the API takes.
    pub exchange_url: Option<String>,
    /// Where to ask whether a person has signed in by a link.
    pub poll_url: Option<String>,
    /// Where GitHub tells whose its token is, since no other answer of its does.
    pub account_url: Option<String>,
    /// What the token endpoint's requests are written in.
    pub token_encoding: TokenEncoding,
    /// In what the vendor's server differs from the standard.
    pub dialect: Dialect,
}

impl OAuthConfig {
    /// With this client id, which you have from the vendor.
    #[must_use]
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = Some(id.into());
        self
    }

    /// With this client secret. A program that is given to people can keep none (RFC 8252, section 8.5):
    /// some vendors ask for one nevertheless.
    #[must_use]
    pub fn client_secret(mut self, secret: impl Into<SecretString>) -> Self {
        self.client_secret = Some(secret.into());
        self
    }

    /// With this address for the browser to come back to. Without a port, or with port 0, a loopback
    /// sign-in takes any that is free (RFC 8252, section 7.3); where the vendor compares the port with a
    /// registered one, name that.
    #[must_use]
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.redirect_uri = Some(uri.into());
        self
    }

    /// The field without which tokens like these can't be renewed, and which is not set; `None` where all are.
    pub fn missing_for_refresh(&self, tokens: &OAuthTokens) -> Option<&'static str> {
        let grant = [
            ("client_id", &self.client_id),
            ("token_url", if self.refresh_url.is_some() { &self.refresh_url } else { &self.token_url }),
        ];
        let exchange = ("exchange_url", &self.exchange_url);
        let needed = match self.dialect {
            // GitHub's own token is renewed by the standard's grant, where it ends.
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
    /// A code is typed into a page on another device (RFC 8628).
    Device,
    /// A link is opened, and the server asked until a person has signed in.
    LinkPoll,
}

impl FlowKind {
    /// What it is called in settings.
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

/// What a token request is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenEncoding {
    /// `application/x-www-form-urlencoded`, as RFC 6749, appendix B, has it.
    #[default]
    Form,
    /// `application/json`.
    Json,
}

/// In what a vendor's server differs from the standard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// In nothing.
    #[default]
    Standard,
    /// The token request carries the `state`; a pasted code may be `code#state`.
    Anthropic,
    /// The account's id is a claim of the id token.
    OpenAi,
    /// The grant's token is exchanged for a short-lived one.
    Copilot,
    /// The device flow carries PKCE; the token answer names the API's host.
    Qwen,
    /// No OAuth: a link, a poll and a JSON refresh.
    Cursor,
}

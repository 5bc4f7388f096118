//! The secret part of a credential.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::secret::SecretString;

/// The kind of a credential's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// An OAuth access token, usually with a refresh token: a subscription.
    OAuth,
    /// An API key.
    Api,
    /// A token with the name of the environment variable in which programs expect it.
    WellKnown,
    /// The OAuth tokens of an MCP server.
    Mcp,
}

impl Kind {
    /// Returns the kind's name in files and tables: `oauth`, `api`, `wellknown` or `mcp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::OAuth => "oauth",
            Kind::Api => "api",
            Kind::WellKnown => "wellknown",
            Kind::Mcp => "mcp",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The secret part of a credential. `Debug` prints its shape, never its contents.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Secret {
    /// See [`Kind::OAuth`].
    OAuth(OAuthTokens),
    /// See [`Kind::Api`].
    Api {
        /// The key.
        key: SecretString,
    },
    /// See [`Kind::WellKnown`].
    WellKnown {
        /// The name of the environment variable that programs expect the token in.
        variable: String,
        /// The token.
        token: SecretString,
    },
    /// See [`Kind::Mcp`].
    Mcp(OAuthTokens),
}

/// The tokens of one OAuth sign-in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OAuthTokens {
    /// The access token (RFC 6749, section 1.4).
    pub access: SecretString,
    /// The refresh token (RFC 6749, section 1.5), if the server gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<SecretString>,
    /// When the access token expires, if the server said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Other values from the server that a provider needs, such as an account id or an id token.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, SecretString>,
}

impl OAuthTokens {
    /// The key in [`extra`](Self::extra) of a token response that could not be read. It is kept unchanged, since the
    /// refresh token may be spent. The next successful renewal or sign-in removes it.
    pub const UNREAD_RESPONSE: &'static str = "unread_response";

    /// Creates tokens with an access token only.
    pub fn new(access: impl Into<SecretString>) -> Self {
        Self { access: access.into(), refresh: None, expires_at: None, extra: BTreeMap::new() }
    }

    /// Sets the refresh token.
    #[must_use]
    pub fn refresh(mut self, token: impl Into<SecretString>) -> Self {
        self.refresh = Some(token.into());
        self
    }

    /// Sets when the access token expires.
    #[must_use]
    pub fn expires_at(mut self, moment: Timestamp) -> Self {
        self.expires_at = Some(moment);
        self
    }
}

impl Secret {
    /// Returns whether a token response that could not be read is kept with it.
    pub(crate) fn has_unread_response(&self) -> bool {
        match self {
            Self::OAuth(tokens) | Self::Mcp(tokens) => {
                tokens.extra.contains_key(OAuthTokens::UNREAD_RESPONSE)
            }
            _ => false,
        }
    }

    /// Creates the secret of an API key.
    pub fn api_key(key: impl Into<SecretString>) -> Self {
        Secret::Api { key: key.into() }
    }

    /// Returns the kind of this secret.
    pub fn kind(&self) -> Kind {
        match self {
            Secret::OAuth(_) => Kind::OAuth,
            Secret::Api { .. } => Kind::Api,
            Secret::WellKnown { .. } => Kind::WellKnown,
            Secret::Mcp(_) => Kind::Mcp,
        }
    }

    /// Returns what a request carries: the access token, the key or the token.
    pub fn token(&self) -> &SecretString {
        match self {
            Secret::OAuth(tokens) | Secret::Mcp(tokens) => &tokens.access,
            Secret::Api { key } => key,
            Secret::WellKnown { token, .. } => token,
        }
    }

    /// Returns whether there is nothing that a request could carry.
    pub(crate) fn is_blank(&self) -> bool {
        self.token().expose().trim().is_empty()
    }

    /// Returns whether the token may be in a header value.
    pub(crate) fn fits_a_header(&self) -> bool {
        !self.token().expose().chars().any(char::is_control)
    }

    /// Removes the token, so that it is renewed before it is sent.
    pub(crate) fn without_token(mut self) -> Self {
        match &mut self {
            Secret::OAuth(tokens) | Secret::Mcp(tokens) => tokens.access = "".into(),
            Secret::Api { key } => *key = "".into(),
            Secret::WellKnown { token, .. } => *token = "".into(),
        }
        self
    }

    /// Returns every secret text in it.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let (first, tokens) = match self {
            Secret::OAuth(tokens) | Secret::Mcp(tokens) => (&tokens.access, Some(tokens)),
            Secret::Api { key } => (key, None),
            Secret::WellKnown { token, .. } => (token, None),
        };
        let others =
            tokens.into_iter().flat_map(|tokens| tokens.refresh.iter().chain(tokens.extra.values()));
        std::iter::once(first).chain(others).map(SecretString::expose).filter(|text| !text.is_empty())
    }

    /// Returns whether both have the same effect.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        fn parts(secret: &Secret) -> (&str, Option<&str>, Option<&str>) {
            let variable = match secret {
                Secret::WellKnown { variable, .. } => Some(variable.as_str()),
                _ => None,
            };
            let refresh = secret.refresh_token().map(SecretString::expose);
            (secret.token().expose(), refresh, variable)
        }
        self.kind() == other.kind() && parts(self) == parts(other)
    }

    /// Returns whether this text contains any of its secret texts.
    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        self.texts().any(|secret| text.windows(secret.len()).any(|part| part == secret.as_bytes()))
    }

    /// Removes the secret texts from a text.
    pub(crate) fn redact(&self, text: String) -> String {
        // Longest first, since one token may be a prefix of another.
        let mut secrets: Vec<_> = self.texts().collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.into_iter().fold(text, |text, secret| text.replace(secret, "…"))
    }

    /// Returns when the access token expires, if that is known.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Secret::OAuth(tokens) | Secret::Mcp(tokens) => tokens.expires_at,
            Secret::Api { .. } | Secret::WellKnown { .. } => None,
        }
    }

    /// Returns the refresh token, if there is one.
    pub fn refresh_token(&self) -> Option<&SecretString> {
        match self {
            Secret::OAuth(tokens) | Secret::Mcp(tokens) => tokens.refresh.as_ref(),
            Secret::Api { .. } | Secret::WellKnown { .. } => None,
        }
    }
}

impl From<OAuthTokens> for Secret {
    fn from(tokens: OAuthTokens) -> Self {
        Secret::OAuth(tokens)
    }
}

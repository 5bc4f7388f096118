//! One account's secret and what is known about it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::hex_id::hex_id;
use crate::printable::Shown;
use crate::secret::SecretString;

/// A credential's name for life: 128 random bits, written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialId([u8; 16]);

impl CredentialId {
    /// A new random id.
    ///
    /// # Panics
    /// Where the operating system has no random numbers to give; nothing safe can be done without.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
        Self(bytes)
    }

    /// The id made of these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

hex_id!(CredentialId, InvalidId, "a credential id", "32");

/// Which pool: a provider and a namespace under it. Credentials of one key stand in for each other.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PoolKey {
    provider: Arc<str>,
    namespace: Arc<str>,
}

impl PoolKey {
    /// The namespace that is used where none is named.
    pub const DEFAULT_NAMESPACE: &'static str = "default";

    /// The provider's pool in the default namespace.
    pub fn new(provider: impl Into<Arc<str>>) -> Self {
        Self::with_namespace(provider, Self::DEFAULT_NAMESPACE)
    }

    /// The provider's pool in a namespace of the caller's.
    pub fn with_namespace(provider: impl Into<Arc<str>>, namespace: impl Into<Arc<str>>) -> Self {
        Self { provider: provider.into(), namespace: namespace.into() }
    }

    /// The provider's name.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

impl fmt::Display for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Shown(&self.provider), Shown(&self.namespace))
    }
}

impl fmt::Debug for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What sort of secret a credential holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// An OAuth access token, most often with a refresh token: a subscription.
    OAuth,
    /// An API key.
    Api,
    /// A token that also goes by the name of an environment variable.
    WellKnown,
    /// An MCP server's OAuth entry.
    Mcp,
}

impl Kind {
    /// The kind's name in files and tables: `oauth`, `api`, `wellknown` or `mcp`.
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

/// What must not be seen of a credential. `Debug` shows the shape, never the text.
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
    /// The refresh token (RFC 6749, section 1.5), where the server gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<SecretString>,
    /// When the access token stops working, where the server said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What else the server gave and a provider needs: an account's id, an id token.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, SecretString>,
}

impl OAuthTokens {
    /// The entry of [`extra`](Self::extra) with an answer of the token endpoint that could not be read, as it
    /// came: the refresh token may be spent on it. It is gone with the next renewal or sign-in that works.
    pub const UNREAD_ANSWER: &'static str = "unread_response";

    /// An access token and nothing else.
    pub fn new(access: impl Into<SecretString>) -> Self {
        Self { access: access.into(), refresh: None, expires_at: None, extra: BTreeMap::new() }
    }

    /// With this refresh token.
    #[must_use]
    pub fn refresh(mut self, token: impl Into<SecretString>) -> Self {
        self.refresh = Some(token.into());
        self
    }

    /// With this end of the access token's life.
    #[must_use]
    pub fn expires_at(mut self, moment: Timestamp) -> Self {
        self.expires_at = Some(moment);
        self
    }
}

impl Secret {
    /// Whether an answer is kept with it that could not be read.
    pub(crate) fn has_unread_response(&self) -> bool {
        match self {
            Self::OAuth(tokens) | Self::Mcp(tokens) => {
                tokens.extra.contains_key(OAuthTokens::UNREAD_ANSWER)
            }
            _ => false,
        }
    }

    /// An API key.
    pub fn api_key(key: impl Into<SecretString>) -> Self {
        Secret::Api { key: key.into() }
    }

    /// Which kind of credential this secret makes.
    pub fn kind(&self) -> Kind {
        match self {
            Secret::OAuth(_) => Kind::OAuth,
            Secret::Api { .. } => Kind::Api,
            Secret::WellKnown { .. } => Kind::WellKnown,
            Secret::Mcp(_) => Kind::Mcp,
        }
    }

    /// What a request carries: the access token, the key or the token.
    pub fn token(&self) -> &SecretString {
        match self {
            Secret::OAuth(tokens) | Secret::Mcp(tokens) => &tokens.access,
            Secret::Api { key } => key,
            Secret::WellKnown { token, .. } => token,
        }
    }

    /// Whether there is nothing that a request could carry.
    pub(crate) fn is_blank(&self) -> bool {
        self.token().expose().trim().is_empty()
    }

    /// Whether a header takes what a request would carry.
    pub(crate) fn fits_a_header(&self) -> bool {
        !self.token().expose().chars().any(char::is_control)
    }

    /// The same with an empty token, which is renewed before it is sent.
    pub(crate) fn without_token(mut self) -> Self {
        match &mut self {
            Secret::OAuth(tokens) | Secret::Mcp(tokens) => tokens.access = "".into(),
            Secret::Api { key } => *key = "".into(),
            Secret::WellKnown { token, .. } => *token = "".into(),
        }
        self
    }

    /// Every text in it that is secret.
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

    /// Whether two would do the same.
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

    /// Whether any of its secret texts is part of this one.
    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        self.texts().any(|secret| text.windows(secret.len()).any(|part| part == secret.as_bytes()))
    }

    /// The text without what of it is secret.
    pub(crate) fn redact(&self, text: String) -> String {
        // One token may be the beginning of another.
        let mut secrets: Vec<_> = self.texts().collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.into_iter().fold(text, |text, secret| text.replace(secret, "…"))
    }

    /// When the access token stops working, where that is known.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Secret::OAuth(tokens) | Secret::Mcp(tokens) => tokens.expires_at,
            Secret::Api { .. } | Secret::WellKnown { .. } => None,
        }
    }

    /// The refresh token, where there is one.
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

/// A number that grows with each new secret of a credential; the first is 1. It tells a stale answer
/// from a real one, and what a compare and swap compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(u64);

impl Generation {
    /// A credential's first generation.
    pub const FIRST: Generation = Generation(1);

    /// The generation of this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The generation that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is known of a credential and may be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The credential's name for life.
    pub id: CredentialId,
    /// The pool it belongs to.
    pub pool: PoolKey,
    /// The name a person gave it, unique in its pool.
    pub label: Arc<str>,
    /// What sort of secret it holds.
    pub kind: Kind,
    /// Which of its secrets this is.
    pub generation: Generation,
    /// When it was first put into a vault.
    pub created_at: Timestamp,
    /// When its secret was last replaced.
    pub updated_at: Timestamp,
    /// What a provider keeps about the account: an account id, a host. Not secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// Metadata and a secret: in clear (a [`Credential`]), or sealed as a vault's backend holds it.
#[derive(Clone, Debug)]
pub struct Record<T> {
    /// What may be seen.
    pub metadata: Metadata,
    /// What may not.
    pub secret: T,
}

/// One account: its secret and what is known about it.
pub type Credential = Record<Secret>;

impl Credential {
    /// A new credential with a random id, at its first generation.
    ///
    /// ```
    /// use tower_credentials::{Credential, PoolKey, Secret};
    ///
    /// let work = Credential::new(PoolKey::new("example"), "work", Secret::api_key("sk-1"));
    /// assert_eq!(&*work.metadata.label, "work");
    /// ```
    pub fn new(pool: PoolKey, label: impl Into<Arc<str>>, secret: impl Into<Secret>) -> Self {
        let secret = secret.into();
        let now = Timestamp::from(std::time::SystemTime::now());
        let metadata = Metadata {
            id: CredentialId::random(),
            pool,
            label: label.into(),
            kind: secret.kind(),
            generation: Generation::FIRST,
            created_at: now,
            updated_at: now,
            attributes: BTreeMap::new(),
        };
        Self { metadata, secret }
    }

    /// With an attribute that the provider reads.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.attributes.insert(name.into(), value.into());
        self
    }
}

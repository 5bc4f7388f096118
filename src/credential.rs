//! A credential: one account's secret and its metadata.

mod id;
mod secret;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::printable::Shown;

pub use id::{CredentialId, InvalidId};
pub use secret::{Kind, OAuthTokens, Secret};

/// The key of a pool: a provider and a namespace. Credentials with the same key are interchangeable.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PoolKey {
    provider: Arc<str>,
    namespace: Arc<str>,
}

impl PoolKey {
    /// The namespace that is used if none is named.
    pub const DEFAULT_NAMESPACE: &'static str = "default";

    /// Creates the key of the provider's pool in the default namespace.
    pub fn new(provider: impl Into<Arc<str>>) -> Self {
        Self::with_namespace(provider, Self::DEFAULT_NAMESPACE)
    }

    /// Creates the key of the provider's pool in this namespace.
    pub fn with_namespace(provider: impl Into<Arc<str>>, namespace: impl Into<Arc<str>>) -> Self {
        Self { provider: provider.into(), namespace: namespace.into() }
    }

    /// Returns the provider's name.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Returns the namespace.
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

/// A number that grows with each new secret of a credential; the first is 1. It shows whether a response was to an
/// older secret, and is what a compare-and-swap compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(u64);

impl Generation {
    /// A credential's first generation.
    pub const FIRST: Generation = Generation(1);

    /// Creates the generation with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the following generation.
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

/// The part of a credential that is not secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The credential's permanent id.
    pub id: CredentialId,
    /// The pool it belongs to.
    pub pool: PoolKey,
    /// The name that a person gave it, unique in its pool.
    pub label: Arc<str>,
    /// The kind of its secret.
    pub kind: Kind,
    /// The generation of its secret.
    pub generation: Generation,
    /// When it was first put into a vault.
    pub created_at: Timestamp,
    /// When its secret was last replaced.
    pub updated_at: Timestamp,
    /// Facts about the account that its provider needs, such as an account id or a host. Not secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// Metadata and a secret: in clear (a [`Credential`]), or sealed as a vault's backend stores it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record<T> {
    /// The part that is not secret.
    pub metadata: Metadata,
    /// The secret part.
    pub secret: T,
}

/// One account: its secret and its metadata.
pub type Credential = Record<Secret>;

impl Credential {
    /// Creates a credential with a random id, at its first generation.
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

    /// Adds an attribute that the provider reads.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.attributes.insert(name.into(), value.into());
        self
    }
}

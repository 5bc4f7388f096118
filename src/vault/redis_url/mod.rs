//! The address of an engine, as a URL.

mod address;
mod parse;
mod target;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub(in crate::vault) use address::Address;
pub(in crate::vault) use target::{Login, Target, Topology};

/// The text is not the URL of an engine. It is not repeated here, since a password may be in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidRedisUrl {
    reason: &'static str,
}

impl InvalidRedisUrl {
    fn new(reason: &'static str) -> Self {
        Self { reason }
    }
}

impl fmt::Display for InvalidRedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the engine's URL can't be used: {}", self.reason)
    }
}

impl std::error::Error for InvalidRedisUrl {}

/// The [URL](crate::vault::redis#urls) of a Redis or Valkey that keeps a vault.
///
/// `Display` and `Debug` show it without name and password. What `Display` shows is a URL again.
///
/// ```
/// use tower_credentials::vault::RedisUrl;
///
/// let url: RedisUrl = "rediss://vault:password@redis.example.com/1?prefix=team".parse()?;
/// assert!(url.has_password());
/// assert_eq!(url.to_string(), "rediss://redis.example.com:6379/1?prefix=team");
/// assert!(!url.uses_discovery());
/// # Ok::<(), tower_credentials::vault::InvalidRedisUrl>(())
/// ```
#[derive(Clone)]
pub struct RedisUrl(pub(in crate::vault) Arc<Target>);

impl RedisUrl {
    /// Returns whether a password is in it: the engine's, or that of its Sentinels.
    pub fn has_password(&self) -> bool {
        self.has_own_password() || self.has_sentinel_password()
    }

    pub(crate) fn has_own_password(&self) -> bool {
        self.0.login.password.is_some()
    }

    pub(crate) fn has_sentinel_password(&self) -> bool {
        self.0.sentinel_login.password.is_some()
    }

    /// Returns whether the URL names Sentinels, or some nodes of a cluster: they say which node has the vault, also after
    /// another one has taken over.
    pub fn uses_discovery(&self) -> bool {
        !matches!(self.0.topology, Topology::Alone(_))
    }

    /// Returns what the names of all keys begin with, if the URL says it.
    pub fn prefix(&self) -> Option<&str> {
        self.0.prefix.as_deref()
    }

    /// Sets the prefix, unless the URL has one.
    #[cfg(feature = "setup")]
    pub(crate) fn with_prefix(mut self, prefix: Option<&str>) -> Self {
        if self.0.prefix.is_none() {
            Arc::make_mut(&mut self.0).prefix = prefix.map(str::to_owned);
        }
        self
    }

    /// Returns whether both lead to the same engine and database, whatever their names, passwords and prefixes are.
    #[cfg(feature = "setup")]
    pub(crate) fn is_same_engine(&self, other: &Self) -> bool {
        let place = |url: &Self| (url.0.topology.clone(), url.0.tls, url.0.database);
        place(self) == place(other)
    }
}

impl FromStr for RedisUrl {
    type Err = InvalidRedisUrl;

    fn from_str(text: &str) -> Result<Self, InvalidRedisUrl> {
        Target::parse(text).map(|target| Self(Arc::new(target)))
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({})", self.0)
    }
}

/// Two are equal if they show the same: their names and passwords do not count.
impl PartialEq for RedisUrl {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for RedisUrl {}

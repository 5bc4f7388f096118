//! The place of a vault: a directory, or an engine.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::vault::{InvalidRedisUrl, RedisUrl};

/// The place of a vault. `Display` shows no name and no password.
///
/// ```
/// use tower_credentials::setup::VaultPlace;
///
/// let place = VaultPlace::parse("rediss://vault@redis.example.com")?;
/// assert_eq!(place.to_string(), "rediss://redis.example.com:6379");
/// assert_eq!(VaultPlace::parse("/srv/vault")?, VaultPlace::Directory("/srv/vault".into()));
/// # Ok::<(), tower_credentials::vault::InvalidRedisUrl>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VaultPlace {
    /// A directory.
    Directory(PathBuf),
    /// A Redis or Valkey. Opening it needs the feature `redis`.
    Engine(RedisUrl),
}

impl VaultPlace {
    /// Reads a text that begins with a scheme and `://` as a URL, and any other one as a directory.
    ///
    /// # Errors
    /// [`InvalidRedisUrl`] if it is a URL that can't be used.
    pub fn parse(text: impl AsRef<OsStr>) -> Result<Self, InvalidRedisUrl> {
        let text = text.as_ref();
        match text.to_str().filter(|text| is_url(text)) {
            Some(url) => url.parse().map(Self::Engine),
            None => Ok(Self::Directory(text.into())),
        }
    }

    /// Returns the directory, if it is one.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(directory) => Some(directory),
            Self::Engine(_) => None,
        }
    }

    /// Returns the engine's URL, if it is one.
    pub fn engine(&self) -> Option<&RedisUrl> {
        match self {
            Self::Directory(_) => None,
            Self::Engine(url) => Some(url),
        }
    }
}

/// Whether a text begins as a URL does (RFC 3986, section 3.1). A single letter is a drive.
fn is_url(text: &str) -> bool {
    let is_of_scheme = |char: char| char.is_ascii_alphanumeric() || "+-.".contains(char);
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.len() > 1
            && scheme.starts_with(|char: char| char.is_ascii_alphabetic())
            && scheme.chars().all(is_of_scheme)
    })
}

impl fmt::Display for VaultPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => directory.display().fmt(f),
            Self::Engine(url) => url.fmt(f),
        }
    }
}

impl From<PathBuf> for VaultPlace {
    fn from(directory: PathBuf) -> Self {
        Self::Directory(directory)
    }
}

impl From<RedisUrl> for VaultPlace {
    fn from(url: RedisUrl) -> Self {
        Self::Engine(url)
    }
}

//! What is wrong with an engine, or with the way to it.

use std::fmt;

use crate::vault::VaultError;

/// Why an engine has not done what it was asked, in words. It is in the [`VaultError::Unreachable`] or
/// [`VaultError::Layer`] of a [`RedisBackend`](super::RedisBackend).
///
/// ```
/// use tower_credentials::vault::VaultError;
/// use tower_credentials::vault::redis::{EngineError, EngineErrorKind};
///
/// fn needs_another_password(error: &VaultError) -> bool {
///     EngineError::of(error).is_some_and(|error| error.kind() == EngineErrorKind::Login)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineError {
    kind: EngineErrorKind,
    words: String,
}

/// What kind of error an [`EngineError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EngineErrorKind {
    /// The engine, or a Sentinel, can't be reached, or is not ready. Later it may be.
    Away,
    /// The engine is a read-only replica.
    Replica,
    /// The engine's certificate can't be trusted, or the engine wants a certificate from its clients.
    Certificate,
    /// The engine refuses the name or the password, or wants one.
    Login,
    /// A Sentinel refuses the name or the password of the Sentinels, or wants one.
    SentinelLogin,
    /// The engine is reached, and refuses for another reason.
    Refused,
}

impl EngineError {
    pub(super) fn new(kind: EngineErrorKind, words: String) -> Self {
        Self { kind, words }
    }

    /// Returns the engine's error in a vault's, if there is one.
    pub fn of(error: &VaultError) -> Option<&Self> {
        match error {
            VaultError::Unreachable(error) | VaultError::Layer(error) => error.downcast_ref(),
            _ => None,
        }
    }

    /// Returns what kind of error it is.
    pub fn kind(&self) -> EngineErrorKind {
        self.kind
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for EngineError {}

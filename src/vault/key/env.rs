//! A key in an environment variable.

use std::ffi::{OsStr, OsString};

use zeroize::Zeroizing;

use super::future::KeyFuture;
use super::service::{KeyRequest, key_service};
use super::vault_key::{EXPECTED, VaultKey};
use crate::vault::VaultError;

/// A key in an environment variable, in base64. Never makes a key.
#[derive(Clone, Debug)]
pub struct EnvKey {
    variable: OsString,
}

impl EnvKey {
    /// Returns the place of the key in the variable with this name.
    pub fn new(variable: impl Into<OsString>) -> Self {
        Self { variable: variable.into() }
    }
}

impl Default for EnvKey {
    /// Returns the place of the key in [`VaultKey::VARIABLE`].
    fn default() -> Self {
        Self::new(VaultKey::VARIABLE)
    }
}

key_service!(EnvKey);

impl EnvKey {
    pub(crate) fn respond(&self, request: KeyRequest) -> KeyFuture {
        KeyFuture::known(match request {
            KeyRequest::LoadPrevious => Ok(None),
            KeyRequest::Load | KeyRequest::LoadOrCreate => from_variable(&self.variable),
        })
    }
}

impl VaultKey {
    /// Reads the key from the environment variable [`VaultKey::VARIABLE`], if it is set.
    ///
    /// # Errors
    /// [`VaultError::Key`] if it is set to anything but 32 bytes in base64, or is empty.
    pub fn from_env() -> Result<Option<Self>, VaultError> {
        from_variable(Self::VARIABLE.as_ref())
    }
}

fn from_variable(name: &OsStr) -> Result<Option<VaultKey>, VaultError> {
    let Some(value) = std::env::var_os(name) else { return Ok(None) };
    let text = Zeroizing::new(value.into_encoded_bytes());
    let key = str::from_utf8(&text).ok().and_then(VaultKey::decode);
    let no_key = || {
        let name = name.display();
        VaultError::Key(format!("the variable {name} is not {EXPECTED}; correct it or unset it"))
    };
    key.map(Some).ok_or_else(no_key)
}

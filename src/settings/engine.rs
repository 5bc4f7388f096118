//! The engine of a vault of many hosts: the settings of `[vault]` that belong to its URL.

use std::path::{Path, PathBuf};

use super::raw::Raw;
use super::vault::{command, path};
use crate::vault::RedisUrl;

/// The settings of the Redis or Valkey that keeps a vault, from a settings file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineSettings {
    /// Its URL. There is no password in it.
    pub url: Option<RedisUrl>,
    /// A command that prints its password: its name, which is looked up in `PATH`, and its arguments.
    pub password_command: Option<Vec<String>>,
    /// A command that prints the Sentinels' own password.
    pub sentinel_password_command: Option<Vec<String>>,
    /// The file with the certificates, in PEM, of the authorities that may have signed its certificate.
    pub root_certificates: Option<PathBuf>,
    /// What the names of all keys begin with.
    pub prefix: Option<String>,
    /// Whether an engine that may lose a secret is refused.
    pub require_durable: Option<bool>,
}

pub(super) const NAMES: [&str; 6] = [
    "password_command",
    "prefix",
    "require_durable",
    "root_certificates",
    "sentinel_password_command",
    "url",
];

impl EngineSettings {
    /// Takes a setting. An error never quotes it.
    pub(super) fn take(&mut self, name: &str, raw: &Raw<'_>, base: &Path) -> Result<(), String> {
        match name {
            "url" => self.url = Some(url(raw.text()?)?),
            "password_command" => self.password_command = Some(command(raw)?),
            "sentinel_password_command" => self.sentinel_password_command = Some(command(raw)?),
            "root_certificates" => self.root_certificates = Some(path(raw.text()?, base)?),
            "prefix" => match raw.text()? {
                "" => return Err("is empty".to_owned()),
                prefix => self.prefix = Some(prefix.to_owned()),
            },
            _ => match raw {
                Raw::Boolean(is_required) => self.require_durable = Some(*is_required),
                _ => return Err("must be true or false".to_owned()),
            },
        }
        Ok(())
    }

    /// Returns the prefix, wherever it is set.
    #[cfg(feature = "setup")]
    pub(crate) fn prefix(&self) -> Option<&str> {
        self.prefix.as_deref().or_else(|| self.url.as_ref()?.prefix())
    }

    /// Returns what is wrong between the settings, by the setting's name.
    pub(super) fn conflict(&self) -> Option<(&'static str, String)> {
        let has_two =
            self.prefix.is_some() && self.url.as_ref().is_some_and(|url| url.prefix().is_some());
        has_two.then(|| ("prefix", "is in the URL, too; keep one of them".to_owned()))
    }
}

fn url(text: &str) -> Result<RedisUrl, String> {
    let url: RedisUrl =
        text.parse().map_err(|error: crate::vault::InvalidRedisUrl| error.to_string())?;
    match url.has_password() {
        true => Err("has a password in it, which a settings file must not have; use `password_command`, or the variable \
                     TOWER_CREDENTIALS_VAULT_PASSWORD"
            .to_owned()),
        false => Ok(url),
    }
}

//! The engine of a vault of many hosts: its URL, its password and its settings.

use std::ffi::OsString;
use std::path::PathBuf;
#[cfg(feature = "redis")]
use std::time::Duration;

#[cfg(feature = "redis")]
use tokio::sync::OnceCell;

use super::SetupError;
use crate::secret::SecretString;
use crate::settings::EngineSettings;
use crate::vault::RedisUrl;
#[cfg(feature = "redis")]
use crate::vault::VaultError;
#[cfg(feature = "redis")]
use crate::vault::redis::RedisBackend;

const PASSWORD: &str = "TOWER_CREDENTIALS_VAULT_PASSWORD";
const SENTINEL_PASSWORD: &str = "TOWER_CREDENTIALS_VAULT_SENTINEL_PASSWORD";

/// How long a command of the engine may take. More than the backend's default: a person's machine may be far away from it.
#[cfg(feature = "redis")]
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// The source of a password.
#[derive(Clone)]
#[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "only a backend needs it"))]
enum Source {
    Given(SecretString),
    Command(Vec<String>),
}

/// An engine, as the program, the environment and the settings name it.
#[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "only a backend connects"))]
pub(super) struct Engine {
    url: RedisUrl,
    password: Option<Source>,
    sentinel_password: Option<Source>,
    root_certificates: Option<PathBuf>,
    require_durable: bool,
    /// Made when it is first needed, since a password command may ask.
    #[cfg(feature = "redis")]
    backend: OnceCell<RedisBackend>,
}

impl Engine {
    /// Returns the engine at this URL, and the URL with the prefix of the settings. `is_of_environment` says that the
    /// environment has named it, so that it may not have two passwords.
    pub(super) fn new(
        url: RedisUrl,
        is_of_environment: bool,
        settings: &EngineSettings,
    ) -> Result<(Self, RedisUrl), SetupError> {
        // Those of another engine are not for this one: above all, it must not get the other's password.
        let is_its = settings.url.as_ref().is_none_or(|of| of.is_same_engine(&url));
        let other = EngineSettings::default();
        let settings = if is_its { settings } else { &other };
        let url = url.with_prefix(settings.prefix());
        let source = |in_url: bool, variable, command: &Option<Vec<String>>| {
            match secret(variable) {
                Some(_) if in_url && is_of_environment => Err(SetupError::TwoPasswords { variable }),
                // The URL that the program names has its own.
                _ if in_url => Ok(None),
                Some(password) => Ok(Some(Source::Given(password))),
                None => Ok(command.clone().map(Source::Command)),
            }
        };
        let engine = Self {
            password: source(url.has_own_password(), PASSWORD, &settings.password_command)?,
            sentinel_password: source(
                url.has_sentinel_password(),
                SENTINEL_PASSWORD,
                &settings.sentinel_password_command,
            )?,
            root_certificates: settings.root_certificates.clone(),
            require_durable: settings.require_durable.unwrap_or(false),
            url: url.clone(),
            #[cfg(feature = "redis")]
            backend: OnceCell::new(),
        };
        Ok((engine, url))
    }

    /// Returns the backend, which connects with its first request.
    #[cfg(feature = "redis")]
    pub(super) async fn backend(&self) -> Result<&RedisBackend, SetupError> {
        self.backend.get_or_try_init(|| self.build()).await
    }

    #[cfg(feature = "redis")]
    async fn build(&self) -> Result<RedisBackend, SetupError> {
        let mut builder = RedisBackend::at(self.url.clone())
            .command_timeout(COMMAND_TIMEOUT)
            .require_durable(self.require_durable);
        if let Some(password) = read(self.password.as_ref()).await? {
            builder = builder.password(password);
        }
        if let Some(password) = read(self.sentinel_password.as_ref()).await? {
            builder = builder.sentinel_password(password);
        }
        let Some(file) = &self.root_certificates else { return Ok(builder.build()?) };
        let unusable = |reason: String| SetupError::RootCertificates { file: file.clone(), reason };
        let pem = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
        // The URL was read before, so it is the certificates that are wrong.
        builder.root_certificates(pem).build().map_err(|error| unusable(error.to_string()))
    }
}

#[cfg(feature = "redis")]
async fn read(source: Option<&Source>) -> Result<Option<SecretString>, VaultError> {
    match source {
        None => Ok(None),
        Some(Source::Given(password)) => Ok(Some(password.clone())),
        Some(Source::Command(words)) => crate::vault::key::password(words).await.map(Some),
    }
}

/// Returns the password in a variable; an empty one counts as unset.
fn secret(variable: &str) -> Option<SecretString> {
    let value = std::env::var_os(variable).filter(|value| !value.is_empty());
    value.and_then(|value: OsString| value.into_string().ok()).map(SecretString::from)
}

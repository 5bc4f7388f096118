//! A registry of providers by name, with their settings.
//!
//! It is above [providers](crate::provider), [settings](crate::settings) and [pools](crate::Pool), and puts them together:
//! settings from the program, a file and environment variables go in, and pools and layers for a provider's name come out.

mod builder;
mod configured;
mod names;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use crate::CredentialsLayer;
use crate::credential::PoolKey;
#[cfg(feature = "oauth")]
use crate::oauth::{OAuthClient, OAuthHttp};
use crate::origin::Origin;
use crate::pool::{Mode, Pool, PoolBuilder};
use crate::provider::Provider;
#[cfg(feature = "config")]
use crate::settings::VaultSettings;
use crate::settings::{FromEnvironment, ProviderSettings, SettingsError, nearest};
use crate::vault::{EnvironmentLayer, Vault};

pub use builder::RegistryBuilder;

/// Providers by name: the vendors' adapters, those that a settings file declares, and your own, each with its
/// [settings](crate::settings).
///
/// ```
/// use tower_credentials::registry::Registry;
/// use tower_credentials::vault::MemoryVault;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_credentials::BoxError> {
/// let registry = Registry::builder().environment(std::env::vars_os()).build()?;
/// let pool = registry.pool("claude", MemoryVault::new())?.open().await?;
/// assert_eq!(pool.key().provider(), "anthropic");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Registry {
    entries: BTreeMap<String, Entry>,
    /// Each alias, with its provider's name.
    aliases: BTreeMap<String, String>,
    from_environment: Vec<FromEnvironment>,
    #[cfg(feature = "config")]
    vault: VaultSettings,
}

#[derive(Clone)]
struct Entry {
    provider: Arc<dyn Provider>,
    settings: ProviderSettings,
    api_key_variable: Option<String>,
    has_api_keys: bool,
    /// Adds that variable's key, if it is set. All pools share one, and so its standing.
    environment: Option<EnvironmentLayer>,
}

impl Registry {
    /// Returns a builder with the vendors' adapters.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// Returns the file's settings of the program's own vault. The registry itself doesn't use them.
    #[cfg(feature = "config")]
    #[cfg_attr(docsrs, doc(cfg(feature = "config")))]
    pub fn vault_settings(&self) -> &VaultSettings {
        &self.vault
    }

    /// Returns the settings from environment variables that decide where secrets are sent and which secrets are used. Neither
    /// the program nor the file set them, so show them to the person, who may not know of a project's `.env`.
    pub fn from_environment(&self) -> &[FromEnvironment] {
        &self.from_environment
    }

    /// Returns the names of the providers, without aliases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Returns the provider of this name or alias.
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`], with the nearest known name.
    pub fn provider(&self, name: &str) -> Result<Arc<dyn Provider>, SettingsError> {
        Ok(self.entry(name)?.1.provider.clone())
    }

    /// Returns the key of the provider's pool: the provider's own name, even for an alias, and the namespace in its settings.
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn pool_key(&self, name: &str) -> Result<PoolKey, SettingsError> {
        let (name, entry) = self.entry(name)?;
        Ok(pool_key(name, &entry.settings))
    }

    /// Returns the namespace in the provider's settings, if it is set.
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn namespace(&self, name: &str) -> Result<Option<&str>, SettingsError> {
        Ok(self.entry(name)?.1.settings.values().namespace.as_deref())
    }

    /// Returns the kinds of credentials that the provider's pool uses.
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn mode(&self, name: &str) -> Result<Mode, SettingsError> {
        Ok(self.entry(name)?.1.settings.values().mode.unwrap_or_default())
    }

    /// Returns the maximum number of credentials to try per request, if it is set: for
    /// [`RotateOn429Layer::max_attempts`](crate::RotateOn429Layer::max_attempts).
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn max_attempts(&self, name: &str) -> Result<Option<NonZeroU32>, SettingsError> {
        Ok(self.entry(name)?.1.settings.values().max_attempts)
    }

    /// Returns the maximum number of concurrent requests per credential, if it is set.
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn max_in_flight(&self, name: &str) -> Result<Option<NonZeroU32>, SettingsError> {
        Ok(self.entry(name)?.1.settings.values().max_in_flight)
    }

    /// Returns how long a limited credential cools down if the response does not say, if it is set.
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn cooldown_limited(&self, name: &str) -> Result<Option<Duration>, SettingsError> {
        Ok(self.entry(name)?.1.settings.values().cooldown_limited)
    }

    /// Returns the origins that the provider's settings add.
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn origins(&self, name: &str) -> Result<&[Origin], SettingsError> {
        Ok(self.entry(name)?.1.settings.values().origins.as_deref().unwrap_or_default())
    }

    /// Returns the environment variable from which the provider's pool takes an API key if it has none.
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn api_key_variable(&self, name: &str) -> Result<Option<&str>, SettingsError> {
        Ok(self.entry(name)?.1.api_key_variable.as_deref())
    }

    /// Returns whether the provider takes API keys. If its vendor gives none out, all its accounts are sign-ins.
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn has_api_keys(&self, name: &str) -> Result<bool, SettingsError> {
        Ok(self.entry(name)?.1.has_api_keys)
    }

    /// Returns the origins to which the provider's settings allow credentials to go unencrypted. Whoever listens in on such a
    /// network can read them.
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn insecure_http_origins(&self, name: &str) -> Result<&[Origin], SettingsError> {
        Ok(self.entry(name)?.1.settings.values().insecure_http_origins.as_deref().unwrap_or_default())
    }

    /// Returns a builder of the provider's pool in this vault, with its settings. A pool without a stored API key uses the
    /// environment's, unless its mode is [`Mode::Subscription`].
    ///
    /// The pool has no refresher: give it that of the provider's OAuth client, or open it with `Setup::pool` (feature
    /// `setup`).
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn pool(&self, name: &str, vault: impl Vault) -> Result<PoolBuilder, SettingsError> {
        let (_, entry) = self.entry(name)?;
        let provider = entry.provider.clone();
        let uses_keys = entry.settings.values().mode != Some(Mode::Subscription);
        let builder = match entry.environment.as_ref().filter(|_| uses_keys) {
            Some(environment) => Pool::builder(provider, environment.layer(vault)),
            None => Pool::builder(provider, vault),
        };
        Ok(entry.settings.apply(builder))
    }

    /// Returns all layers for a pool of [this registry](Self::pool), with the provider's `max_attempts` and the
    /// pool's own [refresher](PoolBuilder::refresher).
    pub fn layer(&self, pool: Pool) -> CredentialsLayer {
        let attempts = self.max_attempts(pool.key().provider()).ok().flatten();
        let layer = CredentialsLayer::new(pool);
        match attempts {
            Some(attempts) => layer.rotate(|rotate| rotate.max_attempts(attempts)),
            None => layer,
        }
    }

    /// Returns the OAuth client of the provider's accounts, with its settings: for the first sign-in, and for
    /// [`PoolBuilder::refresher`].
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`], and [`SettingsError::Invalid`] if the provider has no OAuth.
    #[cfg(feature = "oauth")]
    #[cfg_attr(docsrs, doc(cfg(feature = "oauth")))]
    pub fn oauth(&self, name: &str, http: OAuthHttp) -> Result<OAuthClient, SettingsError> {
        let (name, entry) = self.entry(name)?;
        let config = entry.provider.oauth().ok_or_else(|| SettingsError::Invalid {
            place: format!("the settings of {name}"),
            key: "oauth".to_owned(),
            reason: "is not set, and the provider has none of its own: use API keys, or set it"
                .to_owned(),
        })?;
        Ok(OAuthClient::new(name, config.clone(), http))
    }

    fn entry(&self, name: &str) -> Result<(&str, &Entry), SettingsError> {
        let own = self.aliases.get(name).map_or(name, String::as_str);
        let found = self.entries.get_key_value(own);
        found.map(|(name, entry)| (name.as_str(), entry)).ok_or_else(|| {
            let known = self.entries.keys().chain(self.aliases.keys()).map(String::as_str);
            let nearest = nearest(name, known);
            SettingsError::UnknownProvider { place: None, name: name.to_owned(), nearest }
        })
    }
}

fn pool_key(name: &str, settings: &ProviderSettings) -> PoolKey {
    let namespace = settings.values().namespace.as_deref();
    PoolKey::with_namespace(name, namespace.unwrap_or(PoolKey::DEFAULT_NAMESPACE))
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("names", &self.entries.keys())
            .field("aliases", &self.aliases)
            .finish_non_exhaustive()
    }
}

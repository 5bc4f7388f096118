//! Providers by name, with their settings.

mod builder;
mod configured;
mod names;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

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

/// Providers by name: the vendors' adapters, those that a file declares, and those of your own, each with
/// its [settings](crate::settings).
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
    /// Other names, and whose each is.
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
    /// What adds that variable's key, where it is set; one for all pools, so that its standing is.
    environment: Option<EnvironmentLayer>,
}

impl Registry {
    /// A registry of the vendors' adapters, to be added to.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// What the file says of the program's own vault: nothing of it is heeded here.
    #[cfg(feature = "config")]
    #[cfg_attr(docsrs, doc(cfg(feature = "config")))]
    pub fn vault_settings(&self) -> &VaultSettings {
        &self.vault
    }

    /// What the environment has replaced of the settings that say where secrets are sent and which are taken: neither the
    /// program nor the file has said it. A program tells a person, who may not know of a project's `.env`.
    pub fn from_environment(&self) -> &[FromEnvironment] {
        &self.from_environment
    }

    /// The names of the providers, without aliases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The provider of this name or alias.
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`], with the nearest name that is known.
    pub fn provider(&self, name: &str) -> Result<Arc<dyn Provider>, SettingsError> {
        Ok(self.entry(name)?.1.provider.clone())
    }

    /// The key of the provider's pool: its own name, whatever alias it was asked by, and the namespace of
    /// its settings.
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn pool_key(&self, name: &str) -> Result<PoolKey, SettingsError> {
        let (name, entry) = self.entry(name)?;
        Ok(pool_key(name, &entry.settings))
    }

    /// Which kinds of credentials the provider's pool uses.
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn mode(&self, name: &str) -> Result<Mode, SettingsError> {
        Ok(self.entry(name)?.1.settings.values().mode.unwrap_or_default())
    }

    /// With how many credentials a request is tried at most, where that is set: for
    /// [`RotateOn429Layer::max_attempts`](crate::RotateOn429Layer::max_attempts).
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn max_attempts(&self, name: &str) -> Result<Option<NonZeroU32>, SettingsError> {
        Ok(self.entry(name)?.1.settings.values().max_attempts)
    }

    /// The environment variable from which the provider's pool takes an API key where it has none.
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn api_key_variable(&self, name: &str) -> Result<Option<&str>, SettingsError> {
        Ok(self.entry(name)?.1.api_key_variable.as_deref())
    }

    /// To where the provider's credentials may go in clear, by its settings: whoever listens in on that network reads them.
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn insecure_http_origins(&self, name: &str) -> Result<&[Origin], SettingsError> {
        Ok(self.entry(name)?.1.settings.values().insecure_http_origins.as_deref().unwrap_or_default())
    }

    /// The provider's pool in this vault, with its settings: to be opened, or changed first. A pool that has
    /// no API key stored uses the environment's, unless its mode is [`Mode::Subscription`].
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

    /// All layers for a pool of [this registry's](Self::pool), with the provider's `max_attempts` and the
    /// pool's own [refresher](PoolBuilder::refresher).
    pub fn layer(&self, pool: Pool) -> CredentialsLayer {
        let attempts = self.max_attempts(pool.key().provider()).ok().flatten();
        let layer = CredentialsLayer::new(pool);
        match attempts {
            Some(attempts) => layer.rotate(|rotate| rotate.max_attempts(attempts)),
            None => layer,
        }
    }

    /// What signs in to the provider's accounts and renews their tokens, with its settings: for
    /// [`PoolBuilder::refresher`], and for the first sign-in.
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`], and [`SettingsError::Invalid`] where the provider has no OAuth.
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

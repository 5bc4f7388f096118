//! Providers by name, with their settings.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroU32;
#[cfg(feature = "config")]
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "config")]
use zeroize::Zeroizing;

use super::configured::{self, Configured};
use super::{Provider, vendor};
use crate::credential::PoolKey;
use crate::pool::{Mode, Pool, PoolBuilder};
use crate::secret::SecretString;
use crate::settings::{Named, ProviderSettings, SettingsError, nearest};
use crate::vault::{EnvironmentLayer, Vault};

/// The `type` of a provider that is one by its settings.
const GENERIC: &str = "generic";

/// Where the program's own settings are, for errors.
const PROGRAM: &str = "the program's settings";

/// Providers by name: the vendors' adapters, those that a file declares, and those of your own, each with
/// its [settings](crate::settings).
///
/// ```
/// use tower_credentials::provider::Registry;
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
    /// The values of those environment variables that API keys are read from.
    api_keys: BTreeMap<String, SecretString>,
}

#[derive(Clone)]
struct Entry {
    provider: Arc<dyn Provider>,
    settings: ProviderSettings,
    api_key_variable: Option<String>,
}

impl Registry {
    /// A registry of the vendors' adapters, to be added to.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
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
        let namespace = entry.settings.values().namespace.as_deref();
        let namespace = namespace.unwrap_or(PoolKey::DEFAULT_NAMESPACE);
        Ok(PoolKey::with_namespace(name, namespace))
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

    /// The provider's pool in this vault, with its settings: to be opened, or changed first. A pool that has
    /// no API key stored uses the environment's, unless its mode is [`Mode::Subscription`].
    ///
    /// # Errors
    /// [`SettingsError::UnknownProvider`].
    pub fn pool(&self, name: &str, vault: impl Vault) -> Result<PoolBuilder, SettingsError> {
        let key = self.pool_key(name)?;
        let (_, entry) = self.entry(name)?;
        let provider = entry.provider.clone();
        let uses_keys = entry.settings.values().mode != Some(Mode::Subscription);
        let variable = entry.api_key_variable.as_deref().filter(|_| uses_keys);
        let from_environment =
            variable.and_then(|variable| Some((variable, self.api_keys.get(variable)?.clone())));
        let builder = match from_environment {
            Some((variable, token)) => {
                let layer = EnvironmentLayer::new(key, variable, move || Some(token.clone()));
                Pool::builder(provider, tower_layer::Layer::layer(&layer, vault))
            }
            None => Pool::builder(provider, vault),
        };
        Ok(entry.settings.apply(builder))
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

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("names", &self.entries.keys())
            .field("aliases", &self.aliases)
            .finish_non_exhaustive()
    }
}

/// What a [`Registry`] is made of. The order of calls does not matter, except that what is said later of one
/// thing replaces what was said before.
#[derive(Default)]
pub struct RegistryBuilder {
    own: Vec<Arc<dyn Provider>>,
    set: Vec<(String, ProviderSettings)>,
    #[cfg(feature = "config")]
    file: Option<ConfigFile>,
    variables: Vec<(OsString, OsString)>,
}

#[cfg(feature = "config")]
enum ConfigFile {
    Path { path: PathBuf, must_exist: bool },
    Text { name: String, text: Zeroizing<String> },
}

impl RegistryBuilder {
    /// Adds a provider of your own; one of a vendor's name takes the vendor's place.
    #[must_use]
    pub fn register(mut self, provider: impl Provider) -> Self {
        self.own.push(Arc::new(provider));
        self
    }

    /// The program's settings for the provider of this name or alias: they go before a file's and the
    /// environment's.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, settings: ProviderSettings) -> Self {
        self.set.push((name.into(), settings));
        self
    }

    /// Takes settings from this TOML file, which must be there.
    #[cfg(feature = "config")]
    #[cfg_attr(docsrs, doc(cfg(feature = "config")))]
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(ConfigFile::Path { path: path.into(), must_exist: true });
        self
    }

    /// Takes settings from this TOML file if it is there.
    #[cfg(feature = "config")]
    #[cfg_attr(docsrs, doc(cfg(feature = "config")))]
    #[must_use]
    pub fn optional_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(ConfigFile::Path { path: path.into(), must_exist: false });
        self
    }

    /// Takes settings from this text of a TOML file; `name` is what errors call it.
    #[cfg(feature = "config")]
    #[cfg_attr(docsrs, doc(cfg(feature = "config")))]
    #[must_use]
    pub fn toml(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        let (name, text) = (name.into(), Zeroizing::new(text.into()));
        self.file = Some(ConfigFile::Text { name, text });
        self
    }

    /// Takes settings and API keys from these environment variables: `std::env::vars_os()`, most often.
    /// None are read unless this is called, and of their values only those that are meant are kept.
    #[must_use]
    pub fn environment<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        self.variables =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self
    }

    /// Reads the file and the variables, and makes every provider ready.
    ///
    /// # Errors
    /// Whatever is wrong with settings, by [`SettingsError`]: what isn't known, what can't be used, what
    /// can't be read.
    pub fn build(self) -> Result<Registry, SettingsError> {
        let sources = [self.program(), self.in_file()?];
        let mut names = Names::default();
        for own in &self.own {
            names.add(own.name(), own.aliases())?;
        }
        for kind in vendor::KINDS {
            if names.find(kind.name).is_none() {
                names.add(kind.name, (kind.make)(&mut |_| {}).aliases())?;
            }
        }
        for Named { name, settings, .. } in sources.iter().flatten() {
            let values = settings.values();
            if values.kind.is_some() && names.find(name).is_none() {
                let aliases = values.aliases.iter().flatten().map(String::as_str);
                names.add(name, &aliases.collect::<Vec<_>>())?;
            }
        }
        let mut settings: BTreeMap<String, ProviderSettings> = BTreeMap::new();
        for source in sources {
            for (name, of_one) in names.resolve(source)? {
                settings.entry(name).or_default().fill_from(&of_one);
            }
        }
        for (name, of_one) in crate::settings::read_environment(&self.variables, &names.all())? {
            settings.entry(name).or_default().fill_from(&of_one);
        }
        let mut entries = BTreeMap::new();
        for name in &names.own {
            let settings = settings.remove(name).unwrap_or_default();
            entries.insert(name.clone(), self.entry(name, settings)?);
        }
        let api_keys = self.api_keys(&entries);
        Ok(Registry { entries, aliases: names.aliases, api_keys })
    }

    /// The program's own settings, the last of one provider's first.
    fn program(&self) -> Vec<Named> {
        let mut source: Vec<Named> = Vec::new();
        for (name, settings) in self.set.iter().rev() {
            match source.iter_mut().find(|known| known.name == *name) {
                Some(known) => known.settings.fill_from(settings),
                None => source.push(Named {
                    name: name.clone(),
                    place: PROGRAM.to_owned(),
                    settings: settings.clone(),
                }),
            }
        }
        source
    }

    #[cfg(feature = "config")]
    fn in_file(&self) -> Result<Vec<Named>, SettingsError> {
        self.file.as_ref().map_or(Ok(Vec::new()), ConfigFile::read)
    }

    #[cfg(not(feature = "config"))]
    #[allow(clippy::unnecessary_wraps, reason = "with the feature `config` it can fail")]
    fn in_file(&self) -> Result<Vec<Named>, SettingsError> {
        Ok(Vec::new())
    }

    /// The provider of this name with its settings.
    fn entry(&self, name: &str, settings: ProviderSettings) -> Result<Entry, SettingsError> {
        let invalid = |key: &str, reason: &str| SettingsError::Invalid {
            place: format!("the settings of {name}"),
            key: key.to_owned(),
            reason: reason.to_owned(),
        };
        let values = settings.values();
        let own = self.own.iter().rfind(|own| own.name() == name);
        let kind = values.kind.as_deref().unwrap_or(name);
        if own.is_some() && values.kind.is_some() {
            return Err(invalid("type", "can't be set: the program itself says what this provider is"));
        }
        if (own.is_some() || kind != GENERIC)
            && let Some(key) = settings.generic_only()
        {
            return Err(invalid(key, "is for providers of the type \"generic\" alone"));
        }
        let kind = match own {
            Some(_) => None,
            None if kind == GENERIC => None,
            None => Some(vendor::KINDS.iter().find(|known| known.name == kind).ok_or_else(|| {
                let known: Vec<_> =
                    vendor::KINDS.iter().map(|kind| format!("\"{}\"", kind.name)).collect();
                invalid("type", &format!("must be \"generic\" or one of {}", known.join(", ")))
            })?),
        };
        let (mut takes_hosts, mut takes_subscription) = (false, false);
        let provider = match (own, kind) {
            (Some(own), _) => own.clone(),
            (None, None) => configured::generic(name, &settings),
            (None, Some(kind)) => (kind.make)(&mut |vendor| {
                if kind.name != name {
                    vendor.rename(name);
                }
                takes_hosts =
                    vendor.allow_endpoints(values.endpoint_hosts.as_deref().unwrap_or_default());
                takes_subscription =
                    vendor.set_subscription_endpoint(values.subscription_endpoint.as_ref());
            }),
        };
        if values.endpoint_hosts.is_some() && !takes_hosts {
            return Err(invalid(
                "endpoint_hosts",
                "is for Copilot and Qwen: accounts of others name no host",
            ));
        }
        if values.subscription_endpoint.is_some() && !takes_subscription {
            return Err(invalid("subscription_endpoint", "is for OpenAI alone"));
        }
        let of_kind = kind.and_then(|kind| kind.api_key_variable).filter(|_| values.kind.is_none());
        let variable = values.api_key_variable.as_deref().or(of_kind).filter(|name| !name.is_empty());
        let api_key_variable = variable.map(str::to_owned);
        Ok(Entry { provider: Configured::over(provider, &settings), settings, api_key_variable })
    }

    fn api_keys(&self, entries: &BTreeMap<String, Entry>) -> BTreeMap<String, SecretString> {
        let wanted: Vec<_> = entries.values().filter_map(|it| it.api_key_variable.as_deref()).collect();
        let value = |(name, value): &(OsString, OsString)| {
            let name = name.to_str().filter(|name| wanted.contains(name))?;
            let value = value.to_str()?.trim();
            (!value.is_empty()).then(|| (name.to_owned(), value.into()))
        };
        self.variables.iter().filter_map(value).collect()
    }
}

impl fmt::Debug for RegistryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryBuilder").finish_non_exhaustive()
    }
}

#[cfg(feature = "config")]
impl ConfigFile {
    fn read(&self) -> Result<Vec<Named>, SettingsError> {
        match self {
            Self::Text { name, text } => crate::settings::read_file(name, text),
            Self::Path { path, must_exist } => match std::fs::read_to_string(path).map(Zeroizing::new) {
                Ok(text) => crate::settings::read_file(&path.display().to_string(), &text),
                Err(error) if !must_exist && error.kind() == std::io::ErrorKind::NotFound => {
                    Ok(Vec::new())
                }
                Err(source) => Err(SettingsError::Io { path: path.clone(), source }),
            },
        }
    }
}

/// Who has which name.
#[derive(Default)]
struct Names {
    own: BTreeSet<String>,
    aliases: BTreeMap<String, String>,
}

impl Names {
    fn add(&mut self, name: &str, aliases: &[&str]) -> Result<(), SettingsError> {
        for taken in [name].iter().chain(aliases) {
            if let Some(by) = self.find(taken) {
                return Err(SettingsError::NameTaken { name: (*taken).to_owned(), by: by.to_owned() });
            }
        }
        self.own.insert(name.to_owned());
        self.aliases.extend(aliases.iter().map(|alias| ((*alias).to_owned(), name.to_owned())));
        Ok(())
    }

    /// The own name of whoever has this name or alias.
    fn find(&self, name: &str) -> Option<&str> {
        let own = self.own.get(name).or_else(|| self.aliases.get(name));
        own.map(String::as_str)
    }

    /// Every name and alias, with the own name.
    fn all(&self) -> Vec<(String, String)> {
        let own = self.own.iter().map(|name| (name.clone(), name.clone()));
        let aliases = self.aliases.iter().map(|(alias, name)| (alias.clone(), name.clone()));
        own.chain(aliases).collect()
    }

    /// One source's settings by own names.
    fn resolve(&self, source: Vec<Named>) -> Result<BTreeMap<String, ProviderSettings>, SettingsError> {
        let mut resolved = BTreeMap::new();
        for Named { name, place, settings } in source {
            let Some(own) = self.find(&name) else {
                let known = self.own.iter().chain(self.aliases.keys()).map(String::as_str);
                let nearest = nearest(&name, known);
                return Err(SettingsError::UnknownProvider { place: Some(place), name, nearest });
            };
            if resolved.insert(own.to_owned(), settings).is_some() {
                let reason =
                    format!("is another name of {own}, which is set here, too; keep one of them");
                return Err(SettingsError::Invalid { place, key: name, reason });
            }
        }
        Ok(resolved)
    }
}

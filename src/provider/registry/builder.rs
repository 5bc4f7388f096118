//! What a registry is made of.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
#[cfg(feature = "config")]
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "config")]
use zeroize::Zeroizing;

use super::names::Names;
use super::{Entry, Registry};
use crate::provider::configured::{self, Configured};
use crate::provider::{Provider, vendor};
use crate::secret::SecretString;
use crate::settings::{Named, ProviderSettings, SettingsError};

/// The `type` of a provider that is one by its settings.
const GENERIC: &str = "generic";

/// Where the program's own settings are, for errors.
const PROGRAM: &str = "the program's settings";

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

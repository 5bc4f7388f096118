//! Builds a registry from its sources.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
#[cfg(feature = "config")]
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(feature = "config")]
use zeroize::Zeroizing;

use super::configured::{self, Configured};
use super::names::Names;
use super::{Entry, Registry, pool_key};
use crate::provider::{Provider, vendor};
use crate::secret::SecretString;
use crate::settings::{Faults, Named, ProviderSettings, SettingsError};
#[cfg(feature = "config")]
use crate::settings::{File, open_file, read_file};
use crate::vault::{EnvironmentLayer, check_name};

/// The `type` of a provider that only settings describe.
const GENERIC: &str = "generic";

/// The place of the program's own settings, for errors.
const PROGRAM: &str = "the program's settings";

/// The place of settings from environment variables, for errors.
const ENVIRONMENT: &str = "environment variables";

/// The builder of a [`Registry`]. The order of calls does not matter, except that a later value of the same setting replaces
/// an earlier one.
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
    /// Adds a provider of your own. If it has a vendor's name, it replaces the vendor's adapter.
    #[must_use]
    pub fn register(mut self, provider: impl Provider) -> Self {
        self.own.push(Arc::new(provider));
        self
    }

    /// Sets the program's own settings for the provider of this name or alias. They take precedence over a file's and the
    /// environment's.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, settings: ProviderSettings) -> Self {
        self.set.push((name.into(), settings));
        self
    }

    /// Reads settings from this TOML file. It must exist, and nobody else may
    /// [write](crate::settings#whose-word-a-file-is) to it.
    #[cfg(feature = "config")]
    #[cfg_attr(docsrs, doc(cfg(feature = "config")))]
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(ConfigFile::Path { path: path.into(), must_exist: true });
        self
    }

    /// The same as [`file`](Self::file), but the file may be missing.
    #[cfg(feature = "config")]
    #[cfg_attr(docsrs, doc(cfg(feature = "config")))]
    #[must_use]
    pub fn optional_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(ConfigFile::Path { path: path.into(), must_exist: false });
        self
    }

    /// Reads settings from the text of a TOML file. Errors call it `name`.
    #[cfg(feature = "config")]
    #[cfg_attr(docsrs, doc(cfg(feature = "config")))]
    #[must_use]
    pub fn toml(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        let (name, text) = (name.into(), Zeroizing::new(text.into()));
        self.file = Some(ConfigFile::Text { name, text });
        self
    }

    /// Reads settings and API keys from these environment variables, usually `std::env::vars_os()`. Without this call none are
    /// read. Only the values of relevant variables are kept.
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

    /// Reads the file and the variables, and builds every provider.
    ///
    /// # Errors
    /// A [`SettingsError`] if a setting is unknown or can't be used, or if the file can't be read;
    /// [`SettingsError::Several`] if several settings are wrong.
    pub fn build(self) -> Result<Registry, SettingsError> {
        #[cfg(feature = "config")]
        let mut file = self.file.as_ref().map_or_else(|| Ok(File::default()), ConfigFile::read)?;
        #[cfg(feature = "config")]
        let mut faults = std::mem::take(&mut file.faults);
        #[cfg(not(feature = "config"))]
        let mut faults = Faults::default();
        #[cfg(feature = "config")]
        let sources = [self.program(), file.providers];
        #[cfg(not(feature = "config"))]
        let sources = [self.program()];
        let mut names = Names::default();
        for own in &self.own {
            names.add(own.name(), own.aliases())?;
        }
        for kind in vendor::KINDS {
            if names.find(kind.name).is_none() {
                names.add(kind.name, (kind.make)(&mut |_| {}).aliases())?;
            }
        }
        // Declared, but their names can't be used.
        let mut refused = BTreeSet::new();
        for Named { name, place, settings } in sources.iter().flatten() {
            let values = settings.values();
            if values.kind.is_some() && names.find(name).is_none() {
                let checked = check_name("provider", name).map_err(|error| SettingsError::Invalid {
                    place: place.clone(),
                    key: format!("providers.{name}"),
                    reason: format!("can't be used: {error}"),
                });
                let aliases = values.aliases.iter().flatten().map(String::as_str);
                let added = checked.and_then(|()| names.add(name, &aliases.collect::<Vec<_>>()));
                if faults.value(added).is_none() {
                    refused.insert(name.clone());
                }
            }
        }
        let mut merged: BTreeMap<String, Merged> = BTreeMap::new();
        for mut source in sources {
            source.retain(|named| !refused.contains(&named.name));
            for (name, (place, settings)) in names.resolve(source, &mut faults) {
                merged.entry(name).or_default().add(&settings, place);
            }
        }
        // A variable may be of a provider that is unknown only because of a fault.
        let variables = if faults.is_empty() { self.variables.as_slice() } else { &[] };
        let (of_environment, mut from_environment) =
            crate::settings::read_environment(variables, &names.all(), &mut faults);
        for (name, settings) in of_environment {
            let merged = merged.entry(name.clone()).or_default();
            let (before, now) = (merged.settings.leading(), settings.leading());
            from_environment.retain(|from| {
                let leads = |settings: &[&str]| settings.contains(&&*from.setting);
                from.provider != name || (leads(&now) && !leads(&before))
            });
            merged.add(&settings, ENVIRONMENT.to_owned());
        }
        let mut entries = BTreeMap::new();
        for name in &names.own {
            let merged = merged.remove(name).unwrap_or_default();
            if let Some(entry) = self.entry(name, merged, &names, &mut faults) {
                entries.insert(name.clone(), entry);
            }
        }
        faults.end()?;
        Ok(Registry {
            entries,
            aliases: names.aliases,
            from_environment,
            #[cfg(feature = "config")]
            vault: file.vault,
        })
    }

    /// The program's own settings, merged by provider; later ones take precedence.
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

    /// The provider of this name with its settings. `None` if its type is one of the faults.
    fn entry(&self, name: &str, merged: Merged, names: &Names, faults: &mut Faults) -> Option<Entry> {
        let Merged { settings, places } = merged;
        let mut fault = |key: &str, reason: &str| {
            faults.add(SettingsError::Invalid {
                place: format!("the settings of {name} ({})", places.join("; ")),
                key: key.to_owned(),
                reason: reason.to_owned(),
            });
        };
        let values = settings.values();
        let own = self.own.iter().rfind(|own| own.name() == name);
        if own.is_some() && values.kind.is_some() {
            fault("type", "can't be set: the program itself defines this provider");
        }
        let kind = values.kind.as_deref().unwrap_or(name);
        if own.is_some() || kind != GENERIC {
            for key in settings.generic_only() {
                fault(key, "is for providers of the type \"generic\" alone");
            }
        }
        if values.aliases.iter().flatten().any(|alias| names.find(alias) != Some(name)) {
            let reason = "is for providers that a file or the program declares by a `type`, and there";
            fault("aliases", reason);
        }
        let vendor = match own {
            Some(_) => None,
            None if kind == GENERIC => None,
            None => {
                let vendor = vendor::KINDS.iter().find(|known| known.name == kind);
                if vendor.is_none() {
                    let known = vendor::KINDS.iter().map(|kind| format!("\"{}\"", kind.name));
                    let known = known.collect::<Vec<_>>().join(", ");
                    fault("type", &format!("must be \"generic\" or one of {known}"));
                }
                Some(vendor?)
            }
        };
        let (mut takes_hosts, mut takes_subscription) = (false, false);
        let provider = match (own, vendor) {
            (Some(own), _) => own.clone(),
            (None, None) => configured::generic(name, &settings),
            (None, Some(kind)) => (kind.make)(&mut |vendor| {
                if kind.name != name {
                    vendor.rename(name);
                }
                let hosts = values.endpoint_hosts.as_deref();
                takes_hosts = vendor.allow_endpoints(hosts.unwrap_or_default());
                let endpoint = values.subscription_endpoint.as_ref();
                takes_subscription = vendor.set_subscription_endpoint(endpoint);
            }),
        };
        if values.endpoint_hosts.is_some() && !takes_hosts {
            fault("endpoint_hosts", "is for Copilot and Qwen: other vendors' accounts name no host");
        }
        if values.subscription_endpoint.is_some() && !takes_subscription {
            fault("subscription_endpoint", "is for OpenAI alone");
        }
        // Only the vendor's own provider uses the vendor's variable: its key must not go to another server.
        let default = vendor.filter(|kind| kind.name == name).and_then(|kind| kind.api_key_variable);
        let variable = values.api_key_variable.as_deref().or(default).filter(|name| !name.is_empty());
        let api_key_variable = variable.map(str::to_owned);
        let environment = variable.and_then(|variable| {
            let token = self.value_of(variable)?;
            let key = pool_key(name, &settings);
            Some(EnvironmentLayer::new(key, variable, move || Some(token.clone())))
        });
        let provider = Configured::over(provider, &settings);
        let has_api_keys = vendor.is_none_or(|vendor| vendor.has_api_keys);
        Some(Entry { provider, settings, api_key_variable, has_api_keys, environment })
    }

    fn value_of(&self, variable: &str) -> Option<SecretString> {
        let (_, value) = self.variables.iter().rfind(|(name, _)| name == variable)?;
        // A value that isn't Unicode isn't a key either: the layer reports it.
        Some(value.to_string_lossy())
            .filter(|value| !value.trim().is_empty())
            .map(|value| (*value).into())
    }
}

/// One provider's settings from several sources.
#[derive(Default)]
struct Merged {
    settings: ProviderSettings,
    /// The place of each source, for errors.
    places: Vec<String>,
}

impl Merged {
    fn add(&mut self, settings: &ProviderSettings, place: String) {
        self.settings.fill_from(settings);
        self.places.push(place);
    }
}

impl fmt::Debug for RegistryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryBuilder").finish_non_exhaustive()
    }
}

#[cfg(feature = "config")]
impl ConfigFile {
    fn read(&self) -> Result<File, SettingsError> {
        match self {
            Self::Text { name, text } => read_file(name, text, Path::new("")),
            Self::Path { path, must_exist } => match open_file(path, *must_exist)? {
                Some(text) => {
                    let base = path.parent().unwrap_or(Path::new(""));
                    read_file(&path.display().to_string(), &text, base)
                }
                None => Ok(File::default()),
            },
        }
    }
}

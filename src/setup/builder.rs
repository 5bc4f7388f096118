//! Building a setup: what a program names itself, and what the environment and the settings file add.

use std::fmt;
use std::path::PathBuf;

use super::places::Places;
use super::{KeyPlace, Setup, SetupError, VaultPlace};
use crate::registry::RegistryBuilder;
use crate::settings::KeySource;

/// Builds a [`Setup`]; made by [`Setup::builder`].
#[derive(Default)]
pub struct SetupBuilder {
    vault: Option<VaultPlace>,
    config: Option<PathBuf>,
    key: Option<KeySource>,
    registry: RegistryBuilder,
}

impl SetupBuilder {
    /// Sets the vault's directory.
    #[must_use]
    pub fn vault(self, directory: impl Into<PathBuf>) -> Self {
        self.vault_place(VaultPlace::Directory(directory.into()))
    }

    /// Sets the vault's place.
    #[must_use]
    pub fn vault_place(mut self, place: VaultPlace) -> Self {
        self.vault = Some(place);
        self
    }

    /// Sets the settings file, which must exist.
    #[must_use]
    pub fn config(mut self, file: impl Into<PathBuf>) -> Self {
        self.config = Some(file.into());
        self
    }

    /// Sets the source of the vault's key.
    #[must_use]
    pub fn key(mut self, source: KeySource) -> Self {
        self.key = Some(source);
        self
    }

    /// Sets the program's own providers and settings. Its settings file and environment are replaced.
    #[must_use]
    pub fn registry(mut self, registry: RegistryBuilder) -> Self {
        self.registry = registry;
        self
    }

    /// Returns the settings file that would be read, whether it exists and is valid or not.
    ///
    /// # Errors
    /// The same as those of [`build`](Self::build), except for errors in the file.
    pub fn config_file(self) -> Result<PathBuf, SetupError> {
        Ok(Places::new(self.vault, self.config)?.config)
    }

    /// Reads the settings file and the environment. Makes nothing, and does not load the key.
    ///
    /// # Errors
    /// If a setting or a variable is wrong.
    pub fn build(self) -> Result<Setup, SetupError> {
        let places = Places::new(self.vault, self.config)?;
        let registry = self.registry.environment(std::env::vars_os());
        let registry = match places.is_config_named {
            true => registry.file(&places.config),
            false => registry.optional_file(&places.config),
        };
        let registry = registry.build()?;
        let settings = registry.vault_settings();
        let places = places.with_settings(settings);
        let named = match self.key {
            None => KeySource::from_environment(std::env::vars_os())?.or_else(|| settings.key.clone()),
            named => named,
        };
        let key = KeyPlace::new(named, &places)?;
        let (places, engine) = places.with_engine(&settings.engine)?;
        Ok(Setup { places, key, registry, engine })
    }
}

impl fmt::Debug for SetupBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetupBuilder")
            .field("vault", &self.vault)
            .field("key", &self.key)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

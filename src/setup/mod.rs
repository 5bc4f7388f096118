//! Where a program's vault, its key and its settings are: the same for the program `credentials`, for the gateway and
//! for programs of yours, so that what one of them has stored the others use.
//!
//! | What | Named by | Else |
//! |---|---|---|
//! | the settings file | the program, `TOWER_CREDENTIALS_CONFIG` | `config.toml` in the configuration directory |
//! | the vault's directory | the program, `TOWER_CREDENTIALS_DIR`, `vault.directory` in the settings file | `vault` in the data directory |
//! | the vault's key | the program, `TOWER_CREDENTIALS_VAULT_KEY` and [its like](crate::settings#the-environment), `[vault]` in the settings file | `vault.key` in the configuration directory |
//! | what can be asked for again | – | the cache directory |
//!
//! The directories are the platform's for a program named `tower-credentials`: on Unix under `$XDG_CONFIG_HOME`,
//! `$XDG_DATA_HOME` and `$XDG_CACHE_HOME`. `TOWER_CREDENTIALS_VAULT` is another name of `TOWER_CREDENTIALS_DIR`.
//!
//! A place that is named is the only one that is asked. A key is made only together with a vault: one that is there needs
//! the key that it was sealed with, and no other would open anything of it. Neither is made if the key file would lie in
//! the vault's directory: a copy of the vault would have its key.
//!
//! ```no_run
//! use tower_credentials::BoxError;
//! use tower_credentials::setup::Setup;
//!
//! # async fn example() -> Result<(), BoxError> {
//! let setup = Setup::from_env()?;
//! let vault = setup.vault_or_new().await?;
//! let pool = setup.registry().pool("openai", vault)?.open().await?;
//! # drop(pool);
//! # Ok(())
//! # }
//! ```

mod error;
mod key;
mod places;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::registry::{Registry, RegistryBuilder};
use crate::settings::KeySource;
use crate::vault::file::FileVault;
use crate::vault::key::{KeyServiceExt, Keys};
use places::Places;

pub use error::{MissingKey, SetupError};
pub use key::KeyPlace;

/// Where a program's vault, its key and its settings are: see [the module](self).
pub struct Setup {
    places: Places,
    key: KeyPlace,
    registry: Registry,
}

/// What a [`Setup`] is made of; by [`Setup::builder`].
#[derive(Default)]
pub struct SetupBuilder {
    vault: Option<PathBuf>,
    config: Option<PathBuf>,
    key: Option<KeySource>,
    registry: RegistryBuilder,
}

impl SetupBuilder {
    /// The vault's directory.
    #[must_use]
    pub fn vault(mut self, directory: impl Into<PathBuf>) -> Self {
        self.vault = Some(directory.into());
        self
    }

    /// The settings file, which must be there.
    #[must_use]
    pub fn config(mut self, file: impl Into<PathBuf>) -> Self {
        self.config = Some(file.into());
        self
    }

    /// Where the vault's key comes from.
    #[must_use]
    pub fn key(mut self, source: KeySource) -> Self {
        self.key = Some(source);
        self
    }

    /// With the program's own providers and settings. Its file and its environment are replaced.
    #[must_use]
    pub fn registry(mut self, registry: RegistryBuilder) -> Self {
        self.registry = registry;
        self
    }

    /// The settings file that would be read, whether it is there and well or not.
    ///
    /// # Errors
    /// As at [`build`](Self::build), but for what is in the file.
    pub fn config_file(self) -> Result<PathBuf, SetupError> {
        Ok(Places::new(self.vault, self.config)?.config)
    }

    /// Reads the settings file and the environment. Nothing is made, and the key is not asked for.
    ///
    /// # Errors
    /// Whatever is wrong with the settings or with a variable.
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
        Ok(Setup { places, key, registry })
    }
}

impl Setup {
    /// By the environment and the settings file alone.
    ///
    /// # Errors
    /// As at [`SetupBuilder::build`].
    pub fn from_env() -> Result<Self, SetupError> {
        Self::builder().build()
    }

    /// For a program that names some of it itself.
    pub fn builder() -> SetupBuilder {
        SetupBuilder::default()
    }

    /// The providers, with their settings.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The vault's directory, whether there is a vault in it or not.
    pub fn vault_directory(&self) -> &Path {
        &self.places.vault
    }

    /// The vault's directory if the program and the environment named none.
    pub fn usual_vault_directory(&self) -> &Path {
        &self.places.usual_vault
    }

    /// The settings file, whether it is there or not.
    pub fn config_file(&self) -> &Path {
        &self.places.config
    }

    /// The directory of what can be asked for again.
    pub fn cache_directory(&self) -> &Path {
        &self.places.cache
    }

    /// Where the vault's key comes from.
    pub fn key(&self) -> &KeyPlace {
        &self.key
    }

    /// The vault, if there is one.
    ///
    /// # Errors
    /// [`SetupError::MissingKey`], [`SetupError::NotADirectory`], or that the vault does not open.
    pub async fn vault(&self) -> Result<Option<FileVault>, SetupError> {
        let vault = &self.places.vault;
        if !FileVault::is_at(vault) {
            return match vault.exists() && !vault.is_dir() {
                true => Err(SetupError::NotADirectory(vault.clone())),
                false => Ok(None),
            };
        }
        let keys = self.vault_key().await?;
        // A key that another process gives the vault meanwhile is found there, too.
        let builder = FileVault::builder(vault).key_place(self.key.clone());
        Ok(Some(builder.open_with(&keys).await?))
    }

    /// The vault; a new one, with the key that is there or a new one, if there is none.
    ///
    /// # Errors
    /// As at [`vault`](Self::vault), and if none may be made there, as at [`has_room`](Self::has_room).
    pub async fn vault_or_new(&self) -> Result<FileVault, SetupError> {
        if let Some(vault) = self.vault().await? {
            return Ok(vault);
        }
        self.has_room()?;
        Ok(FileVault::open_from(&self.places.vault, self.key.clone()).await?)
    }

    /// The keys of the vault that is there: another one would open nothing of it.
    ///
    /// # Errors
    /// [`SetupError::MissingKey`], or that the place of the key can't be read.
    pub async fn vault_key(&self) -> Result<Keys, SetupError> {
        match self.key.load_keys().await? {
            Some(keys) => Ok(keys),
            None => Err(SetupError::MissingKey(MissingKey {
                vault: self.places.vault.clone(),
                place: self.key.to_string(),
                is_named: !self.key.is_default(),
                beside: self.places.key_beside_vault(),
            })),
        }
    }

    /// Whether a vault may be made in its directory: not among files of something else, nor with its key.
    ///
    /// # Errors
    /// [`SetupError::Occupied`] and [`SetupError::KeyInVault`].
    pub fn has_room(&self) -> Result<(), SetupError> {
        if let Some(key) = self.key_in_vault() {
            let vault = self.places.vault.clone();
            return Err(SetupError::KeyInVault { key: key.to_owned(), vault });
        }
        self.places.has_room()
    }

    /// The key file, if it lies in the vault's directory. Whoever has a copy of the vault has its key then, so no vault is
    /// made so. One that is there opens all the same: programs should warn of it.
    pub fn key_in_vault(&self) -> Option<&Path> {
        self.key.file().filter(|file| self.places.is_in_vault(file))
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("vault", &self.places.vault)
            .field("key", &self.key)
            .field("config", &self.places.config)
            .finish_non_exhaustive()
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

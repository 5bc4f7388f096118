//! The places of a program's vault, key and settings. They are the same for the program `credentials` and for your
//! programs, so that all of them use what one has stored.
//!
//! | What | Named by | Else |
//! |---|---|---|
//! | the settings file | the program, `TOWER_CREDENTIALS_CONFIG` | `config.toml` in the configuration directory |
//! | the vault: a directory, or the URL of a Redis or Valkey | the program, `TOWER_CREDENTIALS_DIR`, `vault.directory` or `vault.url` in the settings file | the directory `vault` in the data directory |
//! | the engine's password | the program in the URL, `TOWER_CREDENTIALS_VAULT_PASSWORD` or the URL in `TOWER_CREDENTIALS_DIR`, `vault.password_command` in the settings file | none |
//! | the vault's key | the program, `TOWER_CREDENTIALS_VAULT_KEY` and [its like](crate::settings#the-environment), `[vault]` in the settings file | `vault.key` in the configuration directory |
//! | what can be asked for again | – | the cache directory |
//!
//! The directories are the platform's for a program named `tower-credentials`: on Unix under `$XDG_CONFIG_HOME`,
//! `$XDG_DATA_HOME` and `$XDG_CACHE_HOME`. `TOWER_CREDENTIALS_VAULT` is another name of `TOWER_CREDENTIALS_DIR`.
//!
//! A vault that is in an engine has this host's own files in the state directory (on Unix under `$XDG_STATE_HOME`), such as its
//! history.
//!
//! If a place is named, no other is tried. A key is only made together with a vault: an existing vault needs the key that it
//! was sealed with, and no other would open anything of it. Neither is made if the key file would be in the vault's
//! directory: a copy of the vault would have its key.
//!
//! ```no_run
//! use tower_credentials::BoxError;
//! use tower_credentials::setup::Setup;
//!
//! # async fn example() -> Result<(), BoxError> {
//! let setup = Setup::from_env()?;
//! let vault = setup.vault_or_new().await?;
//! # #[cfg(feature = "tls")] {
//! let pool = setup.pool("openai", vault)?.open().await?; // its tokens are renewed (feature `tls`)
//! let layer = setup.registry().layer(pool);
//! # drop(layer); }
//! # Ok(())
//! # }
//! ```

mod builder;
mod engine;
mod error;
mod key;
mod place;
mod places;
mod vault;

use std::fmt;
use std::path::{Path, PathBuf};

#[cfg(feature = "tls")]
use crate::oauth::OAuthHttp;
#[cfg(feature = "tls")]
use crate::pool::PoolBuilder;
use crate::registry::Registry;
#[cfg(feature = "tls")]
use crate::vault::Vault;
use crate::vault::file::FileVault;
use crate::vault::key::{KeyServiceExt, Keys};
#[cfg(feature = "redis")]
use crate::vault::redis::RedisBackend;
use engine::Engine;
use places::Places;

pub use builder::SetupBuilder;
pub use error::{MissingKey, SetupError};
pub use key::KeyPlace;
pub use place::VaultPlace;
pub use vault::{SetupVault, SetupVaultFuture};

/// The places of a program's vault, key and settings: see [the module](self).
pub struct Setup {
    places: Places,
    key: KeyPlace,
    registry: Registry,
    /// What keeps the vault, if it is not in a directory.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "it is not opened"))]
    engine: Option<Engine>,
}

impl Setup {
    /// Reads the environment and the settings file, and nothing else.
    ///
    /// # Errors
    /// The same as those of [`SetupBuilder::build`].
    pub fn from_env() -> Result<Self, SetupError> {
        Self::builder().build()
    }

    /// Returns a builder, for a program that names some of the places itself.
    pub fn builder() -> SetupBuilder {
        SetupBuilder::default()
    }

    /// Returns the providers, with their settings.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns the vault's place, whether there is a vault or not.
    pub fn vault_place(&self) -> &VaultPlace {
        &self.places.vault
    }

    /// Returns the vault's place as it would be if the program and the environment named none.
    pub fn usual_vault_place(&self) -> &VaultPlace {
        &self.places.usual_vault
    }

    /// Returns the path that the names of this host's own files about the vault begin with, such as the list of a gateway's
    /// clients. For a vault in a directory it is that directory. For one in an engine it is in the state directory; nothing
    /// makes it before it is needed. As a directory it has the [history](crate::history::History::of).
    pub fn own_files(&self) -> PathBuf {
        self.places.own_files()
    }

    /// Returns the settings file, whether it exists or not.
    pub fn config_file(&self) -> &Path {
        &self.places.config
    }

    /// Returns the cache directory, for data that can be fetched again.
    pub fn cache_directory(&self) -> &Path {
        &self.places.cache
    }

    /// Returns the place of the vault's key.
    pub fn key(&self) -> &KeyPlace {
        &self.key
    }

    /// Returns a builder of the provider's pool in this vault, with its settings, as [`Registry::pool`] does. If the provider
    /// has OAuth, its client renews the tokens, over [`OAuthHttp::with_tls`](crate::oauth::OAuthHttp::with_tls).
    ///
    /// # Errors
    /// [`SetupError::Settings`] if there is no such provider, and [`SetupError::Https`] if the client can't be made.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn pool(&self, name: &str, vault: impl Vault) -> Result<PoolBuilder, SetupError> {
        let pool = self.registry.pool(name, vault)?;
        if self.registry.provider(name)?.oauth().is_none() {
            return Ok(pool);
        }
        let http = OAuthHttp::with_tls().map_err(SetupError::Https)?;
        Ok(pool.refresher(self.registry.oauth(name, http)?.refresher()))
    }

    /// Returns the engine that keeps the vault; `None` if the vault is in a directory. It connects with its first request. Clones
    /// are the same backend, and so is that of the vault.
    ///
    /// # Errors
    /// If the command that prints its password fails, or if there are no certificates to check its own with.
    #[cfg(feature = "redis")]
    #[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
    pub async fn engine(&self) -> Result<Option<&RedisBackend>, SetupError> {
        match &self.engine {
            Some(engine) => engine.backend().await.map(Some),
            None => Ok(None),
        }
    }

    /// Opens the vault, if there is one.
    ///
    /// # Errors
    /// [`SetupError::MissingKey`], [`SetupError::NotADirectory`], or an error of opening the vault:
    /// [`VaultError::Unreachable`](crate::vault::VaultError::Unreachable) if its engine is away.
    pub async fn vault(&self) -> Result<Option<SetupVault>, SetupError> {
        #[cfg(feature = "redis")]
        if let Some(engine) = self.engine().await? {
            return match engine.is_vault().await? {
                true => Ok(Some(SetupVault::Engine(engine.sealed(&self.vault_key().await?).await?))),
                false => Ok(None),
            };
        }
        let VaultPlace::Directory(vault) = &self.places.vault else { return Err(SetupError::NoRedis) };
        if !FileVault::is_at(vault) {
            return match vault.exists() && !vault.is_dir() {
                true => Err(SetupError::NotADirectory(vault.clone())),
                false => Ok(None),
            };
        }
        let keys = self.vault_key().await?;
        // If another process changes the vault's key later, the new one is loaded from there.
        let builder = FileVault::builder(vault).key_place(self.key.clone());
        Ok(Some(SetupVault::Directory(builder.open_with(&keys).await?)))
    }

    /// Opens the vault. If there is none, makes one, with the existing key or a new one.
    ///
    /// # Errors
    /// The errors of [`vault`](Self::vault), and of [`has_room`](Self::has_room) if a vault must be made.
    pub async fn vault_or_new(&self) -> Result<SetupVault, SetupError> {
        if let Some(vault) = self.vault().await? {
            return Ok(vault);
        }
        #[cfg(feature = "redis")]
        if let Some(engine) = self.engine().await? {
            let keys = match self.key.load_keys().await? {
                Some(keys) => keys,
                None => Keys::new(self.key.load_or_create().await?),
            };
            return Ok(SetupVault::Engine(engine.sealed(&keys).await?));
        }
        let VaultPlace::Directory(vault) = &self.places.vault else { return Err(SetupError::NoRedis) };
        self.has_room()?;
        Ok(SetupVault::Directory(FileVault::open_from(vault, self.key.clone()).await?))
    }

    /// Loads the keys of an existing vault; never makes one, since a new key would open nothing.
    ///
    /// # Errors
    /// [`SetupError::MissingKey`], or an error of reading the key's place.
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

    /// Checks that a vault may be made in its directory: not among other files, nor beside its key.
    ///
    /// # Errors
    /// [`SetupError::Occupied`] and [`SetupError::KeyInVault`].
    pub fn has_room(&self) -> Result<(), SetupError> {
        if let Some(key) = self.key_in_vault() {
            let vault = self.places.vault.directory().unwrap_or(key).to_owned();
            return Err(SetupError::KeyInVault { key: key.to_owned(), vault });
        }
        self.places.has_room()
    }

    /// Returns the key file if it is in the vault's directory. A copy of the vault then has its key, so no vault is made like
    /// that. An existing one opens all the same: programs should warn about it.
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

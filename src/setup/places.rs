//! The files and directories: named, or the platform's defaults, which are the XDG directories on Unix.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Component, Path, PathBuf};

use etcetera::app_strategy::{AppStrategy, AppStrategyArgs, choose_app_strategy};

use sha2::{Digest, Sha256};

use super::engine::Engine;
use super::{SetupError, VaultPlace};
use crate::settings::{EngineSettings, VaultSettings};
use crate::vault::file::FileVault;

/// All the places.
pub(super) struct Places {
    pub(super) vault: VaultPlace,
    /// The default vault.
    pub(super) usual_vault: VaultPlace,
    vault_named_by: Option<NamedBy>,
    pub(super) config: PathBuf,
    /// Whether it was named explicitly: then it must exist.
    pub(super) is_config_named: bool,
    /// The default key file.
    pub(super) key: PathBuf,
    /// The file to lock while a key is stored in the keyring.
    #[cfg_attr(not(feature = "keyring"), allow(dead_code, reason = "only a keyring needs it"))]
    pub(super) keyring_lock: PathBuf,
    pub(super) cache: PathBuf,
    /// For what this host keeps about vaults that are not in a directory.
    state: PathBuf,
}

/// Who has named the vault, but for the settings file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NamedBy {
    Program,
    Environment,
}

impl Places {
    pub(super) fn new(vault: Option<VaultPlace>, config: Option<PathBuf>) -> Result<Self, SetupError> {
        let args = AppStrategyArgs {
            top_level_domain: String::new(),
            author: String::new(),
            app_name: "tower-credentials".to_owned(),
        };
        let strategy =
            choose_app_strategy(args).map_err(|error| SetupError::NoHome(error.to_string()))?;
        let config = config.or_else(|| variable("TOWER_CREDENTIALS_CONFIG"));
        let (vault, vault_named_by) = match vault {
            Some(vault) => (Some(vault), Some(NamedBy::Program)),
            None => {
                let vault = vault_of_environment()?;
                let named_by = vault.is_some().then_some(NamedBy::Environment);
                (vault, named_by)
            }
        };
        let usual_vault = VaultPlace::Directory(strategy.in_data_dir("vault"));
        Ok(Self {
            vault: vault.unwrap_or_else(|| usual_vault.clone()),
            vault_named_by,
            usual_vault,
            is_config_named: config.is_some(),
            config: config.unwrap_or_else(|| strategy.in_config_dir("config.toml")),
            key: strategy.in_config_dir("vault.key"),
            keyring_lock: strategy.in_config_dir("keyring.lock"),
            cache: strategy.cache_dir(),
            state: strategy.state_dir().unwrap_or_else(|| strategy.data_dir()),
        })
    }

    /// Applies the settings file.
    pub(super) fn with_settings(mut self, settings: &VaultSettings) -> Self {
        let directory = settings.directory.clone().map(VaultPlace::Directory);
        if let Some(place) = directory.or_else(|| settings.engine.url.clone().map(VaultPlace::Engine)) {
            self.usual_vault.clone_from(&place);
            if self.vault_named_by.is_none() {
                self.vault = place;
            }
        }
        self
    }

    /// Applies the engine's settings, if the vault is in an engine.
    pub(super) fn with_engine(
        mut self,
        settings: &EngineSettings,
    ) -> Result<(Self, Option<Engine>), SetupError> {
        let VaultPlace::Engine(url) = &self.vault else { return Ok((self, None)) };
        if cfg!(not(feature = "redis")) {
            return Err(SetupError::NoRedis);
        }
        let is_of_environment = self.vault_named_by == Some(NamedBy::Environment);
        let (engine, url) = Engine::new(url.clone(), is_of_environment, settings)?;
        self.vault = VaultPlace::Engine(url);
        Ok((self, Some(engine)))
    }

    /// Returns the path that the names of this host's own files about the vault begin with. For an engine it is in a directory
    /// of its own, named after the URL, so that names and passwords may change.
    pub(super) fn own_files(&self) -> PathBuf {
        match &self.vault {
            VaultPlace::Directory(directory) => directory.clone(),
            VaultPlace::Engine(url) => {
                let digest = Sha256::digest(url.to_string().as_bytes());
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&digest[..8]);
                self.state
                    .join("engines")
                    .join(format!("{:016x}", u64::from_be_bytes(bytes)))
                    .join("vault")
            }
        }
    }

    /// Returns a key file beside the vault, with its name and `.key`, as programs have it that only ask for a vault.
    pub(super) fn key_beside_vault(&self) -> Option<PathBuf> {
        // Remove a slash at the end.
        let mut path = self.vault.directory()?.components().collect::<PathBuf>().into_os_string();
        path.push(".key");
        Some(PathBuf::from(path)).filter(|path| path.is_file())
    }

    /// Whether this file is in the vault's directory, or would be; neither has to exist.
    pub(super) fn is_in_vault(&self, file: &Path) -> bool {
        let Some(vault) = self.vault.directory() else { return false };
        let directory = file.parent().map(without_links);
        directory.is_some_and(|directory| directory.starts_with(without_links(vault)))
    }

    /// Refuses to make a vault among other files.
    pub(super) fn has_room(&self) -> Result<(), SetupError> {
        let Some(vault) = self.vault.directory() else { return Ok(()) };
        // Temporary files of a killed first run don't count.
        let is_other = |entry: io::Result<DirEntry>| {
            let name = entry.map(|entry| entry.file_name()).unwrap_or_default();
            let name = name.as_encoded_bytes();
            !(name.starts_with(b".") && name.ends_with(b".tmp"))
        };
        // In this order: a vault that another program makes meanwhile doesn't count.
        let has_others = fs::read_dir(vault).is_ok_and(|mut entries| entries.any(is_other));
        match has_others && !FileVault::is_at(vault) {
            true => Err(SetupError::Occupied(vault.to_owned())),
            false => Ok(()),
        }
    }
}

/// Resolves the links of a path, as far as it exists.
fn without_links(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    let Some((above, mut real)) = there else { return path };
    for component in path.strip_prefix(above).unwrap_or(Path::new("")).components() {
        match component {
            Component::ParentDir => drop(real.pop()),
            component => real.push(component),
        }
    }
    real
}

/// Returns the vault that the environment names.
fn vault_of_environment() -> Result<Option<VaultPlace>, SetupError> {
    let named = |by| match variable(by) {
        None => Ok(None),
        Some(text) => match VaultPlace::parse(&text) {
            Ok(place) => Ok(Some((text, place))),
            Err(error) => Err(SetupError::InvalidUrl { by, error }),
        },
    };
    match [named("TOWER_CREDENTIALS_DIR")?, named("TOWER_CREDENTIALS_VAULT")?] {
        [Some((text, one)), Some((other_text, other))] if text != other_text => {
            Err(SetupError::TwoVaults { one, other })
        }
        [one, other] => Ok(one.or(other).map(|(_, place)| place)),
    }
}

/// Returns the path in an environment variable; an empty one counts as unset.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

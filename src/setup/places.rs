//! The files and directories: named, or the platform's defaults, which are the XDG directories on Unix.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Component, Path, PathBuf};

use etcetera::app_strategy::{AppStrategy, AppStrategyArgs, choose_app_strategy};

use super::SetupError;
use crate::settings::VaultSettings;
use crate::vault::file::FileVault;

/// All the places.
pub(super) struct Places {
    pub(super) vault: PathBuf,
    /// The default vault.
    pub(super) usual_vault: PathBuf,
    is_vault_named: bool,
    pub(super) config: PathBuf,
    /// Whether it was named explicitly: then it must exist.
    pub(super) is_config_named: bool,
    /// The default key file.
    pub(super) key: PathBuf,
    /// The file to lock while a key is stored in the keyring.
    #[cfg_attr(not(feature = "keyring"), allow(dead_code, reason = "only a keyring needs it"))]
    pub(super) keyring_lock: PathBuf,
    pub(super) cache: PathBuf,
}

impl Places {
    pub(super) fn new(vault: Option<PathBuf>, config: Option<PathBuf>) -> Result<Self, SetupError> {
        let args = AppStrategyArgs {
            top_level_domain: String::new(),
            author: String::new(),
            app_name: "tower-credentials".to_owned(),
        };
        let strategy =
            choose_app_strategy(args).map_err(|error| SetupError::NoHome(error.to_string()))?;
        let config = config.or_else(|| variable("TOWER_CREDENTIALS_CONFIG"));
        let vault = match vault {
            None => vault_of_environment()?,
            vault => vault,
        };
        let usual_vault = strategy.in_data_dir("vault");
        Ok(Self {
            is_vault_named: vault.is_some(),
            vault: vault.unwrap_or_else(|| usual_vault.clone()),
            usual_vault,
            is_config_named: config.is_some(),
            config: config.unwrap_or_else(|| strategy.in_config_dir("config.toml")),
            key: strategy.in_config_dir("vault.key"),
            keyring_lock: strategy.in_config_dir("keyring.lock"),
            cache: strategy.cache_dir(),
        })
    }

    /// Applies the settings file.
    pub(super) fn with_settings(mut self, settings: &VaultSettings) -> Self {
        if let Some(directory) = &settings.directory {
            self.usual_vault.clone_from(directory);
            if !self.is_vault_named {
                self.vault.clone_from(directory);
            }
        }
        self
    }

    /// Returns a key file beside the vault, with its name and `.key`, as programs have it that only ask for a vault.
    pub(super) fn key_beside_vault(&self) -> Option<PathBuf> {
        // Remove a slash at the end.
        let mut path = self.vault.components().collect::<PathBuf>().into_os_string();
        path.push(".key");
        Some(PathBuf::from(path)).filter(|path| path.is_file())
    }

    /// Whether this file is in the vault's directory, or would be; neither has to exist.
    pub(super) fn is_in_vault(&self, file: &Path) -> bool {
        let directory = file.parent().map(without_links);
        directory.is_some_and(|directory| directory.starts_with(without_links(&self.vault)))
    }

    /// Refuses to make a vault among other files.
    pub(super) fn has_room(&self) -> Result<(), SetupError> {
        // Temporary files of a killed first run don't count.
        let is_other = |entry: io::Result<DirEntry>| {
            let name = entry.map(|entry| entry.file_name()).unwrap_or_default();
            let name = name.as_encoded_bytes();
            !(name.starts_with(b".") && name.ends_with(b".tmp"))
        };
        // In this order: a vault that another program makes meanwhile doesn't count.
        let has_others = fs::read_dir(&self.vault).is_ok_and(|mut entries| entries.any(is_other));
        match has_others && !FileVault::is_at(&self.vault) {
            true => Err(SetupError::Occupied(self.vault.clone())),
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
fn vault_of_environment() -> Result<Option<PathBuf>, SetupError> {
    let named = ["TOWER_CREDENTIALS_DIR", "TOWER_CREDENTIALS_VAULT"].map(variable);
    match named {
        [Some(one), Some(other)] if one != other => Err(SetupError::TwoVaults { one, other }),
        [one, other] => Ok(one.or(other)),
    }
}

/// Returns the path in an environment variable; an empty one counts as unset.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

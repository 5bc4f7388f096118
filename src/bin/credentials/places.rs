//! Where the program keeps its things.

use std::path::{Path, PathBuf};

use etcetera::{AppStrategy, AppStrategyArgs, choose_app_strategy};

use tower_credentials::settings::VaultSettings;

use crate::failure::Failure;

/// The directories of the program, by the platform's custom: `XDG_DATA_HOME`, `XDG_CONFIG_HOME` and
/// `XDG_CACHE_HOME` with their defaults on Unix, the known folders on Windows.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The vault.
    pub(crate) vault: PathBuf,
    /// Whether a flag or a variable has named it.
    is_vault_named: bool,
    /// The vault where nobody names one.
    usual_vault: PathBuf,
    /// The settings file.
    pub(crate) config: PathBuf,
    /// Whether a person has named it: it must be there then.
    pub(crate) is_config_named: bool,
    /// The file of the vault's key.
    pub(crate) key: PathBuf,
    /// What is locked while a key is put into the keyring.
    #[cfg(feature = "keyring")]
    pub(crate) keyring_lock: PathBuf,
    /// What can be asked for again.
    pub(crate) cache: PathBuf,
}

impl Places {
    pub(crate) fn new(vault: Option<&Path>, config: Option<&Path>) -> Result<Self, Failure> {
        let name = "tower-credentials";
        let args = AppStrategyArgs {
            top_level_domain: String::new(),
            author: String::new(),
            app_name: name.to_owned(),
        };
        let strategy = choose_app_strategy(args).map_err(|error| {
            Failure::failed("could not find the home directory").because(error).way_out("set HOME")
        })?;
        let config = config.map(Path::to_owned).or_else(|| variable("TOWER_CREDENTIALS_CONFIG"));
        let vault = vault.map(Path::to_owned).or_else(|| variable("TOWER_CREDENTIALS_DIR"));
        let usual_vault = strategy.in_data_dir("vault");
        Ok(Self {
            is_vault_named: vault.is_some(),
            vault: vault.unwrap_or_else(|| usual_vault.clone()),
            usual_vault,
            is_config_named: config.is_some(),
            config: config.unwrap_or_else(|| strategy.in_config_dir("config.toml")),
            key: strategy.in_config_dir("vault.key"),
            #[cfg(feature = "keyring")]
            keyring_lock: strategy.in_config_dir("keyring.lock"),
            cache: strategy.cache_dir(),
        })
    }

    /// With what the settings file says.
    pub(crate) fn with_settings(mut self, settings: &VaultSettings) -> Self {
        if let Some(directory) = &settings.directory {
            self.usual_vault.clone_from(directory);
            if !self.is_vault_named {
                self.vault.clone_from(directory);
            }
        }
        self
    }

    /// The vaults, beside the one at hand, that have the usual key.
    pub(crate) fn other_vaults(&self) -> impl Iterator<Item = &Path> {
        let is_ours = |path: &Path| match (path.canonicalize(), self.vault.canonicalize()) {
            (Ok(path), Ok(ours)) => path == ours,
            _ => path == self.vault,
        };
        Some(self.usual_vault.as_path()).filter(|path| !is_ours(path)).into_iter()
    }
}

/// The path in an environment variable; an empty one is none.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

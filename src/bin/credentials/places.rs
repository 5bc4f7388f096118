//! Where the program keeps its things.

use std::path::{Path, PathBuf};

use etcetera::{AppStrategy, AppStrategyArgs, choose_app_strategy};

use crate::failure::Failure;

/// The directories of the program, by the platform's custom: `XDG_DATA_HOME`, `XDG_CONFIG_HOME` and
/// `XDG_CACHE_HOME` with their defaults on Unix, the known folders on Windows.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The vault.
    pub(crate) vault: PathBuf,
    /// The settings file.
    pub(crate) config: PathBuf,
    /// Whether a person has named it: it must be there then.
    pub(crate) is_config_named: bool,
    /// The file of the vault's key.
    pub(crate) key: PathBuf,
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
        Ok(Self {
            vault: vault
                .map(Path::to_owned)
                .or_else(|| variable("TOWER_CREDENTIALS_DIR"))
                .unwrap_or_else(|| strategy.in_data_dir("vault")),
            is_config_named: config.is_some(),
            config: config.unwrap_or_else(|| strategy.in_config_dir("config.toml")),
            key: strategy.in_config_dir("vault.key"),
            cache: strategy.cache_dir(),
        })
    }
}

/// The path in an environment variable; an empty one is none.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

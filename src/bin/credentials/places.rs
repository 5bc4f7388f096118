//! The paths that the program uses.

use std::path::{Path, PathBuf};

use tower_credentials::setup::Setup;

/// The paths that the program uses.
pub(crate) struct Places {
    pub(crate) vault: PathBuf,
    pub(crate) config: PathBuf,
    /// For what can be asked for again.
    pub(crate) cache: PathBuf,
    /// The vault that is used if none is named.
    default_vault: PathBuf,
}

impl Places {
    pub(crate) fn of(setup: &Setup) -> Self {
        Self {
            vault: setup.vault_directory().to_owned(),
            config: setup.config_file().to_owned(),
            cache: setup.cache_directory().to_owned(),
            default_vault: setup.usual_vault_directory().to_owned(),
        }
    }

    /// The vaults besides this one that use the default key.
    pub(crate) fn other_vaults(&self) -> impl Iterator<Item = &Path> {
        let is_ours = |path: &Path| match (path.canonicalize(), self.vault.canonicalize()) {
            (Ok(path), Ok(ours)) => path == ours,
            _ => path == self.vault,
        };
        Some(self.default_vault.as_path()).filter(|path| !is_ours(path)).into_iter()
    }
}

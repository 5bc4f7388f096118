//! Where everything is.

use std::path::{Path, PathBuf};

use tower_credentials::setup::Setup;

/// Where everything is.
pub(crate) struct Places {
    pub(crate) vault: PathBuf,
    pub(crate) config: PathBuf,
    /// What can be asked for again.
    pub(crate) cache: PathBuf,
    /// The vault, unless somebody names another.
    usual_vault: PathBuf,
}

impl Places {
    pub(crate) fn of(setup: &Setup) -> Self {
        Self {
            vault: setup.vault_directory().to_owned(),
            config: setup.config_file().to_owned(),
            cache: setup.cache_directory().to_owned(),
            usual_vault: setup.usual_vault_directory().to_owned(),
        }
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

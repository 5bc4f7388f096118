//! The paths that the program uses.

use std::path::{Path, PathBuf};

use tower_credentials::setup::{Setup, VaultPlace};

use crate::files;

/// The paths that the program uses.
pub(crate) struct Places {
    pub(crate) vault: VaultPlace,
    /// How the names of this host's own files about the vault begin. It is the vault's directory, if it has one.
    pub(crate) own: PathBuf,
    pub(crate) config: PathBuf,
    /// For what can be asked for again.
    pub(crate) cache: PathBuf,
    /// The vault that is used if none is named.
    default_vault: VaultPlace,
}

impl Places {
    pub(crate) fn of(setup: &Setup) -> Self {
        Self {
            vault: setup.vault_place().clone(),
            own: setup.own_files(),
            config: setup.config_file().to_owned(),
            cache: setup.cache_directory().to_owned(),
            default_vault: setup.usual_vault_place().clone(),
        }
    }

    /// The directories of vaults besides this one that use the default key.
    pub(crate) fn other_vaults(&self) -> impl Iterator<Item = &Path> {
        let is_ours = |path: &Path| match (path.canonicalize(), self.own.canonicalize()) {
            (Ok(path), Ok(ours)) => path == ours,
            _ => path == self.own,
        };
        self.default_vault.directory().filter(|path| !is_ours(path)).into_iter()
    }

    /// Makes the directories of this host's own files about a vault that is in no directory.
    pub(crate) fn make_own(&self) -> std::io::Result<()> {
        if self.vault.directory().is_some() {
            return Ok(());
        }
        files::make_directories(&self.own)
    }
}

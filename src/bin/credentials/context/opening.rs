//! Opening the vault, making one, and why neither can be done.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tower::util::Either;
use tower_credentials::settings::KeySource;
use tower_credentials::setup::{SetupError, SetupVault};
use tower_credentials::vault::file::{Check, FileVault};
use tower_credentials::vault::key::{KeyId, Keys};
use tower_credentials::vault::{MemoryVault, VaultError};

use super::{AnyVault, Context};
use crate::failure::{Exit, Failure};
use crate::keys::KeyPlaceExt;
use crate::output;
use crate::recorder;
use crate::shell::quoted;

impl Context {
    /// Opens the vault, if there is one.
    pub(crate) async fn vault(&self) -> Result<Option<SetupVault>, Failure> {
        if let Some(opened) = self.opened.get() {
            return Ok(Some(opened.clone()));
        }
        let vault = match self.setup.vault().await {
            Ok(vault) => vault,
            Err(error) => return Err(self.not_opened(error).await),
        };
        Ok(vault.map(|vault| {
            self.begin_history();
            self.opened.get_or_init(|| vault).clone()
        }))
    }

    /// Records what happens to the accounts from now on, unless the settings say otherwise.
    fn begin_history(&self) {
        let is_kept = self.keeps_history() && self.own_files().is_ok();
        recorder::begin(is_kept.then(|| self.history()));
    }

    /// Loads the keys of the existing vault.
    pub(crate) async fn vault_key(&self) -> Result<Keys, Failure> {
        match self.setup.vault_key().await {
            Ok(keys) => Ok(keys),
            Err(error) => Err(self.not_opened(error).await),
        }
    }

    /// Returns the failure of opening the vault, with where its key is, as far as that is known.
    async fn not_opened(&self, error: SetupError) -> Failure {
        let is_of_key =
            matches!(&error, SetupError::Vault(VaultError::Key(_)) | SetupError::MissingKey(_));
        let is_missing = matches!(&error, SetupError::MissingKey(_));
        let failure = Failure::from(error);
        if !is_of_key {
            return failure;
        }
        let place = self.keys.to_string();
        let failure = match is_missing || failure.message().contains(&place) {
            true => failure,
            false => failure.because(format!("the key comes from {place}")),
        };
        match self.kept_key().await {
            Some(file) => failure.way_out(import_of(&file)),
            None if matches!(self.keys.source(), KeySource::Keyring) && !is_missing => failure
                .way_out("add --key-file FILE or --key-command COMMAND, if the key is elsewhere, too"),
            None => failure,
        }
    }

    /// Returns the file beside the vault's key in which the key that opens the vault is kept.
    async fn kept_key(&self) -> Option<PathBuf> {
        self.keys.file()?;
        let looking = Check::new(self.places.vault.directory()?).lock_timeout(Duration::ZERO);
        let report = looking.run().await.ok()?;
        let key = report.key.or_else(|| report.sealed.first().map(|sealed| sealed.key))?;
        self.keys.kept_key(key)
    }

    /// Opens the vault in its directory with these keys.
    pub(crate) async fn open(&self, keys: &Keys) -> Result<FileVault, Failure> {
        Ok(FileVault::builder(&self.places.own).open_with(keys).await?)
    }

    /// Opens the vault, or creates one with a key for it, and says so.
    pub(crate) async fn vault_or_new(&self) -> Result<SetupVault, Failure> {
        if let Some(vault) = self.vault().await? {
            return Ok(vault);
        }
        let vault = self.setup.vault_or_new().await?;
        let _ = self.made.set(());
        self.begin_history();
        let vault = self.opened.get_or_init(|| vault).clone();
        self.say_created(None);
        Ok(vault)
    }

    /// Whether there was no vault before.
    pub(crate) fn has_made_vault(&self) -> bool {
        self.made.get().is_some()
    }

    /// Says that a vault was created, where it is, and what to keep a copy of.
    pub(crate) fn say_created(&self, id: Option<KeyId>) {
        let id = id.map(|id| format!(" {id}")).unwrap_or_default();
        let is_kept = self.keys.can_keep();
        output::say(format_args!(
            "Made the vault {}; its key{id} {} {}",
            self.vault_name(),
            if is_kept { "is in" } else { "comes from" },
            self.keys
        ));
        if is_kept {
            output::say(
                "Without that key nothing opens the vault. Keep a copy elsewhere: credentials vault export --output FILE; \
                 or of all accounts: credentials backup FILE",
            );
        }
    }

    /// Refuses to create a vault among other files, or with its key in it.
    pub(crate) fn check_room(&self) -> Result<(), Failure> {
        Ok(self.setup.has_room()?)
    }

    /// Checks that the vault can be written to, or that one can be created.
    pub(crate) async fn check_vault(&self) -> Result<(), Failure> {
        if let Some(vault) = self.vault().await? {
            return Ok(vault.check_writable().await?);
        }
        self.check_room()?;
        for place in [self.places.vault.directory(), self.keys.file()].into_iter().flatten() {
            can_be_made(place)?;
        }
        Ok(())
    }

    /// Opens the vault, or an empty one in memory if there is none: the environment may have a key.
    pub(crate) async fn vault_or_empty(&self) -> Result<AnyVault, Failure> {
        Ok(self.vault().await?.map_or_else(|| Either::Right(MemoryVault::new()), Either::Left))
    }

    /// Opens the vault, which must exist.
    pub(crate) async fn vault_with_accounts(&self) -> Result<SetupVault, Failure> {
        self.vault().await?.ok_or_else(|| {
            Failure::not_found("there are no accounts yet").way_out("credentials login PROVIDER")
        })
    }
}

/// Returns the command that makes a kept key the vault's again.
pub(crate) fn import_of(file: &Path) -> String {
    format!("credentials vault import --file {}", quoted(file.display()))
}

/// Checks that there is a directory above it that can be written to.
fn can_be_made(place: &Path) -> Result<(), Failure> {
    let there = place.ancestors().skip(1).find(|above| above.as_os_str().is_empty() || above.exists());
    let above = there.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |because: &dyn std::fmt::Display| {
        Failure::new(Exit::Vault, format!("{} could not be created", place.display()))
            .because(because)
            .way_out(format!(
                "make {} writable, or choose other places with --vault DIR and --key-file FILE",
                quoted(above.display())
            ))
    };
    if !above.is_dir() {
        return Err(failed(&format_args!("{} is not a directory", above.display())));
    }
    #[cfg(unix)]
    rustix::fs::access(above, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|error| failed(&std::io::Error::from(error)))?;
    Ok(())
}

//! What commands work with: the settings, the vault and the HTTP client.

mod opening;
mod requests;

#[cfg(unix)]
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tower::util::Either;
use tower_credentials::PoolKey;
use tower_credentials::history::History;
use tower_credentials::registry::Registry;
use tower_credentials::settings::ProviderSettings;
use tower_credentials::setup::{KeyPlace, Setup, SetupBuilder, SetupVault};
use tower_credentials::vault::MemoryVault;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::redis::RedisBackend;

use crate::failure::Failure;
use crate::keys::from_flags;
use crate::mark::Mark;
use crate::options::Global;
use crate::output;
use crate::places::Places;
use crate::shell::quoted;

pub(crate) use opening::import_of;
pub(crate) use requests::Body;

/// A vault, or an empty one in memory if there is none.
pub(crate) type AnyVault = Either<SetupVault, MemoryVault>;

/// What commands work with.
pub(crate) struct Context {
    setup: Setup,
    /// The settings file, before it was read.
    settings: Mark,
    pub(crate) places: Places,
    pub(crate) keys: KeyPlace,
    pub(crate) registry: Registry,
    /// The vault, once it is open: a key command is asked once.
    opened: OnceLock<SetupVault>,
    /// Whether this has made the vault.
    made: OnceLock<()>,
}

impl Context {
    pub(crate) fn new(global: &Global) -> Result<Self, Failure> {
        Self::with_settings(global, None)
    }

    /// Returns the path of the settings file, which need not exist or be valid.
    pub(crate) fn config_file(global: &Global) -> Result<PathBuf, Failure> {
        Ok(named(global)?.config_file()?)
    }

    /// As [`new`](Self::new), with settings for a provider that take precedence.
    pub(crate) fn with_settings(
        global: &Global,
        settings: Option<(&str, ProviderSettings)>,
    ) -> Result<Self, Failure> {
        let context = Self::quiet(global, settings)?;
        context.say_what_is_used();
        Ok(context)
    }

    /// As [`with_settings`](Self::with_settings), but says nothing.
    pub(crate) fn quiet(
        global: &Global,
        settings: Option<(&str, ProviderSettings)>,
    ) -> Result<Self, Failure> {
        let read = Mark::of(&Self::config_file(global)?);
        let mut builder = named(global)?;
        if let Some((provider, settings)) = settings {
            builder = builder.registry(Registry::builder().set(provider, settings));
        }
        let setup = builder.build()?;
        let (places, keys, registry) =
            (Places::of(&setup), setup.key().clone(), setup.registry().clone());
        let (opened, made) = (OnceLock::new(), OnceLock::new());
        Ok(Self { setup, settings: read, places, keys, registry, opened, made })
    }

    /// Reads the settings again if their file has changed since these were read. The vault is opened anew then.
    pub(crate) fn changed(&self, global: &Global) -> Result<Option<Self>, Failure> {
        match Mark::of(&self.places.config) == self.settings {
            true => Ok(None),
            false => Self::quiet(global, None).map(Some),
        }
    }

    /// Says what is in use that a person may not know of, or may not want.
    fn say_what_is_used(&self) {
        let Self { places, keys, .. } = self;
        for from in self.registry.from_environment() {
            output::note(from);
        }
        let (vault, settings) = (&places.vault, places.config.display());
        tracing::info!(%vault, key = %keys, %settings, "in use");
        #[cfg(unix)]
        say_owner(&places.own);
        // For a vault that does not exist yet, this is an error when it is created.
        if self.is_key_in_vault() && self.has_vault() {
            output::warn(format_args!(
                "the key file {keys} is in the vault's directory: anyone with a copy of the vault has its key"
            ));
            output::way_out(format_args!(
                "move it elsewhere, and name its new place with --key-file, or with key_file in the table [vault] of {}",
                output::path(&places.config)
            ));
        }
    }

    /// Whether the vault's key is a file in the vault's directory.
    pub(crate) fn is_key_in_vault(&self) -> bool {
        self.setup.key_in_vault().is_some()
    }

    /// Returns the vault's history. There may be none, and no vault.
    pub(crate) fn history(&self) -> History {
        History::of(&self.places.own)
    }

    /// Whether the settings let the history be recorded.
    pub(crate) fn keeps_history(&self) -> bool {
        self.registry.vault_settings().history != Some(false)
    }

    /// Whether there is a vault. One in an engine must have been opened for that.
    pub(crate) fn has_vault(&self) -> bool {
        match self.places.vault.directory() {
            Some(directory) => FileVault::is_at(directory),
            None => self.opened.get().is_some(),
        }
    }

    /// Returns the vault's place, for a person.
    pub(crate) fn vault_name(&self) -> String {
        output::plain(&self.places.vault.to_string())
    }

    /// Returns the engine that keeps the vault, unless the vault is in a directory.
    pub(crate) async fn engine(&self) -> Result<Option<&RedisBackend>, Failure> {
        Ok(self.setup.engine().await?)
    }

    /// Returns the vault's directory, for a command that is for one alone.
    pub(crate) fn directory(&self, command: &str, way_out: &str) -> Result<&Path, Failure> {
        self.places.vault.directory().ok_or_else(|| {
            let message = format!(
                "`{command}` is for a vault in a directory, and this one is in {}",
                self.vault_name()
            );
            Failure::usage(message).way_out(way_out)
        })
    }

    /// Returns how the names of this host's own files about the vault begin. Their directory is made.
    pub(crate) fn own_files(&self) -> Result<&Path, Failure> {
        let own = &self.places.own;
        self.places.make_own().map_err(|error| {
            Failure::failed(format!("could not make the directory {}", own.display())).because(error)
        })?;
        Ok(own)
    }

    /// Whether a command prints the password of the engine: it may ask a person.
    pub(crate) fn asks_for_password(&self) -> bool {
        let engine = &self.registry.vault_settings().engine;
        self.places.vault.directory().is_none()
            && (engine.password_command.is_some() || engine.sentinel_password_command.is_some())
    }

    /// Returns the key of the provider's pool, in this namespace or in that of the settings.
    pub(crate) fn pool_key(&self, provider: &str, namespace: Option<&str>) -> Result<PoolKey, Failure> {
        let key =
            self.registry.pool_key(provider).map_err(|unknown| match self.of_account(provider) {
                Some((key, _)) => Failure::not_found(format!(
                    "{provider} names an account, and only a provider fits here"
                ))
                .way_out(format!("{} in place of it", quoted(key.provider()))),
                None => unknown.into(),
            })?;
        Ok(match namespace {
            Some(namespace) => PoolKey::with_namespace(key.provider(), namespace),
            None => key,
        })
    }

    /// Returns the pool of the provider, and what follows, if a text is the name of an account with its provider.
    pub(crate) fn of_account<'a>(&self, text: &'a str) -> Option<(PoolKey, &'a str)> {
        let (provider, rest) = text.split_once('/')?;
        Some((self.registry.pool_key(provider).ok()?, rest))
    }
}

/// Says so if the vault belongs to another user, so that only root can use it.
#[cfg(unix)]
fn say_owner(vault: &Path) {
    let owner = fs::metadata(vault).map(|vault| std::os::unix::fs::MetadataExt::uid(&vault));
    let user = rustix::process::geteuid().as_raw();
    if let Some(owner) = owner.ok().filter(|owner| *owner != user) {
        output::note(format_args!("the vault {} belongs to user {owner}", output::path(vault)));
    }
}

/// Returns a builder with what the flags name.
fn named(global: &Global) -> Result<SetupBuilder, Failure> {
    let mut builder = Setup::builder();
    if let Some(vault) = &global.vault {
        builder = builder.vault_place(vault.place()?);
    }
    if let Some(config) = &global.config {
        builder = builder.config(config);
    }
    Ok(match from_flags(global)? {
        Some(source) => builder.key(source),
        None => builder,
    })
}

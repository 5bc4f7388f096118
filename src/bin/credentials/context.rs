//! What commands work with: the settings, the vault and the HTTP client.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderValue, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use tower::Layer;
use tower::util::{Either, MapRequest};
use tower_credentials::history::History;
use tower_credentials::https::HttpsClient;
use tower_credentials::oauth::{OAuthClient, OAuthHttp};
use tower_credentials::registry::Registry;
use tower_credentials::settings::{KeySource, ProviderSettings};
use tower_credentials::setup::{KeyPlace, Setup, SetupBuilder, SetupError, SetupVault};
use tower_credentials::vault::file::{Check, FileVault};
use tower_credentials::vault::key::{KeyId, Keys};
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::{MemoryVault, Vault, VaultError};
use tower_credentials::{
    Credentials, CredentialsLayer, ErrorBody, ErrorBodyLayer, Kind, OAuthTokens, Pool, PoolBuilder,
    PoolKey, WhenAllCoolingDown,
};

use crate::ending;
use crate::failure::{Exit, Failure};
use crate::keys::{KeyPlaceExt, from_flags};
use crate::mark::Mark;
use crate::options::Global;
use crate::output;
use crate::places::Places;
use crate::recorder;
use crate::shell::quoted;

/// The HTTP client of the program.
pub(crate) type Http = MapRequest<HttpsClient<Body>, fn(Request<Body>) -> Request<Body>>;

/// The HTTP client with the layers of a pool.
pub(crate) type Client = Credentials<ErrorBody<Http>>;

/// The body of the program's requests.
pub(crate) type Body = Full<Bytes>;

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

    /// Builds a pool for one command: it does nothing in the background, and its requests wait for a renewal as long as it
    /// takes.
    pub(crate) fn pool(&self, key: &PoolKey, vault: impl Vault) -> Result<PoolBuilder, Failure> {
        let pool = self.registry.pool(key.provider(), vault)?;
        let pool = pool.namespace(key.namespace()).sync_every(None).renewal_patience(None);
        Ok(pool.on_event(ending::tell))
    }

    /// Builds a pool for one command that says which account requests take, or hands it out: it picks as the gateway's does.
    pub(crate) fn picking_pool(&self, key: &PoolKey, vault: impl Vault) -> Result<PoolBuilder, Failure> {
        Ok(without_guesses(self.pool(key, vault)?))
    }

    /// Builds a pool that serves requests for as long as the program runs: it renews tokens, and follows other processes.
    pub(crate) fn serving_pool(&self, key: &PoolKey, vault: impl Vault) -> Result<PoolBuilder, Failure> {
        Ok(without_guesses(self.setup.pool(key.provider(), vault)?.namespace(key.namespace())))
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

    /// Returns a client that sends requests with the pool's accounts.
    pub(crate) fn client(&self, pool: &Pool) -> Result<Client, Failure> {
        let errors = ErrorBodyLayer::new(pool.clone());
        Ok(self.layer(pool).layer(errors.layer(http()?)))
    }

    /// Returns all layers for a pool, with a refresher if the provider has OAuth.
    pub(crate) fn layer(&self, pool: &Pool) -> CredentialsLayer {
        let layer = self.registry.layer(pool.clone());
        let has_oauth = pool.status().iter().any(|status| status.credential.kind == Kind::OAuth);
        let client = if has_oauth { self.oauth(pool.key().provider()).ok() } else { None };
        // A renewal for which a setting is missing is not tried: that would count as a failure, and be in the way of
        // the first one after it is set.
        let can_renew =
            |client: &OAuthClient| client.config().missing_for_refresh(&OAuthTokens::new("")).is_none();
        match client.filter(can_renew) {
            Some(client) => layer.refresher(client.refresher()),
            None => layer,
        }
    }

    /// Returns the client that signs in to the provider's accounts and renews their tokens.
    pub(crate) fn oauth(&self, provider: &str) -> Result<OAuthClient, Failure> {
        Ok(self.registry.oauth(provider, OAuthHttp::new(http()?))?)
    }
}

/// Lets a pool whose accounts all cool down say so at once, and try none of them: who asks can wait or go elsewhere. What is
/// said about the next request is said about such a pool.
fn without_guesses(pool: PoolBuilder) -> PoolBuilder {
    pool.when_all_cooling_down(WhenAllCoolingDown::Fail)
}

/// Returns the command that makes a kept key the vault's again.
pub(crate) fn import_of(file: &Path) -> String {
    format!("credentials vault import --file {}", quoted(file.display()))
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
        .map_err(|error| failed(&io::Error::from(error)))?;
    Ok(())
}

/// Returns a client that uses the proxies and certificates of the machine, and names itself.
pub(crate) fn http() -> Result<Http, Failure> {
    let client = HttpsClient::new().map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => Failure::usage(error.to_string()),
        _ => Failure::failed("could not load the system's certificates").because(error),
    })?;
    Ok(MapRequest::new(client, signed as fn(_) -> _))
}

/// Adds a `user-agent`: some vendors refuse requests without one.
fn signed(mut request: Request<Body>) -> Request<Body> {
    let name = HeaderValue::from_static(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().entry(USER_AGENT).or_insert(name);
    let uri = request.uri();
    let (host, path) = (uri.authority().map(|host| host.as_str()).unwrap_or_default(), uri.path());
    tracing::info!(method = %request.method(), host, path, "sends a request");
    request
}

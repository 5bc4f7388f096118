//! Settings of each provider, from the program, a file and the environment.
//!
//! The program's own settings ([`RegistryBuilder::set`](crate::registry::RegistryBuilder::set)) take precedence over the
//! file's, and those over the environment's. Tables are merged entry by entry; lists are replaced as a whole.
//!
//! | Setting | Meaning | Default |
//! |---|---|---|
//! | `mode` | The credentials to use: `auto`, `api`, `subscription`, `all`; see [`Mode`]. | `auto` |
//! | `namespace` | The namespace of the pool, if the provider has several. | `default` |
//! | `max_attempts` | The maximum number of credentials to try per request; at least 1. | all of the pool |
//! | `max_in_flight` | The maximum number of requests that one credential serves at once; at least 1. Others wait. | no limit |
//! | `cooldown_limited` | How long a limited credential cools down if the response names no time; up to 10 % more at random, and twice as long with each failure in a row. | `30s` |
//! | `cooldown_refused` | How long a refused credential cools down if no refresh helped. | `5m` |
//! | `cooldown_cap` | The longest cooldown without a time from the response. | `1h` |
//! | `api_key_variable` | The environment variable of an API key for a pool without one; empty for none. | the vendor's |
//! | `origins` | More origins to which credentials may go. The program `credentials` and `discovery` send requests to the first one instead of the vendor's own. | none |
//! | `insecure_http_origins` | More origins to which credentials may go unencrypted: `http://` with a private address, or with a name that is nobody's on the internet ([`Origin::plain_http`]). Whoever listens in on that network can read them. They come after `origins`. | none |
//! | `endpoint_hosts` | More hosts that an account may name for its requests (Copilot, Qwen). | none |
//! | `subscription_endpoint` | The endpoint of OAuth accounts' requests (OpenAI). | the caller's origin |
//! | `models_url` | The list of models: a URL, or a path at the provider's origin. | the vendor's |
//! | `models_shape` | The shape of that list: `openai`, `anthropic`, `google`. | the vendor's, else `openai` |
//! | `quota_headers` | The response headers that together say which quota an API key takes from: keys with the same values share one. The first must be there; an empty list means that none is read. | the vendor's |
//! | `headers` | A table of headers. Each is set if the caller has set none of the name. | the vendor's |
//! | `responses` | Rules for responses, only in a file: see below. | only the vendor's rules |
//! | `oauth` | A table of the fields of `oauth::OAuthConfig`, by their names. | the vendor's |
//! | `type` | `generic`, or the vendor whose adapter this is; for providers of your own. | – |
//!
//! Providers of the type `generic` have more: `header` (the header of the token; defaults to `authorization`),
//! `prefix` (the text before the token; defaults to `Bearer ` in `authorization`, and to nothing in others), `oauth_header`
//! and `oauth_prefix` (the same for OAuth accounts, if they differ), `extra_headers` (a table of headers beside
//! the token), and `query_names` (query parameters that carry a credential and are removed). `aliases` gives other
//! names to a provider; it belongs beside the `type`.
//!
//! Times are seconds, or text such as `30s`, `5m`, `1h30m`.
//!
//! # The file
//!
//! The file is TOML (with the feature `config`). An unknown key is an error.
//!
//! ```toml
//! [providers.openai]
//! mode = "subscription"
//! max_attempts = 3
//! cooldown_limited = "1m"
//! oauth.client_id = "…"
//!
//! [providers.github-copilot.headers]
//! editor-version = "my-editor/1.0"
//!
//! [providers.example]
//! type = "generic"
//! origins = ["https://api.example.com"]
//! header = "x-api-key"
//! ```
//!
//! # Rules for responses
//!
//! Each table `[[providers.NAME.responses]]` is a rule, a [`ResponseRule`]. The first one that matches counts; all of them
//! come before the vendor's own.
//!
//! A rule with `body` or `text` never matches, and `until` finds no field, unless a layer reads the bodies of errors: a
//! program needs an [`ErrorBodyLayer`](crate::ErrorBodyLayer) under the other layers. `CredentialsLayer` alone reads
//! no bodies. The program `credentials` and its gateway have that layer.
//!
//! | Key | Meaning |
//! |---|---|
//! | `status` | The response's status, or a list: from 400 to 599. Required. |
//! | `header` | A table of headers, each with a pattern that its value must match, or a list of patterns. |
//! | `body` | The same for the fields of a JSON body, such as `"error.code"`. |
//! | `text` | A pattern that the whole body must match. |
//! | `means` | Required: `limit`, `spent`, `dead`, `stopped`, `not-the-account`, `this-request`, `insufficient-scope`, or `refused`. |
//! | `until` | The field of the body that names the end of a limit, or the time at which a spent account works again; or a list. |
//! | `lasts` | How long a limit lasts if the response names no time. |
//! | `of` | What a limit applies to: `account`, `model` or `concurrency` (the number of requests at once). |
//! | `what_to_do` | What a person has to do, for `spent`, `dead` and `stopped`. |
//!
//! ```toml
//! [[providers.example.responses]]
//! status = 403
//! body = { "error.code" = ["quota", "no_credit"] }
//! means = "spent"
//! what_to_do = "buy credits"
//! ```
//!
//! # The vault
//!
//! The table `[vault]` of the file is for the program itself: the location of its vault and the source of the key, from
//! `Registry::vault_settings`. A key has one source, so two of `key_file`, `key_command` and `keyring` are an error.
//!
//! | Setting | Meaning |
//! |---|---|
//! | `directory` | The vault's directory. |
//! | `url` | The [URL](crate::vault::redis#urls) of a Redis or Valkey that keeps the vault instead, without a password. |
//! | `password_command` | A command that prints the engine's password on its first line; read as `key_command` is. |
//! | `sentinel_password_command` | The same for the Sentinels' own password. |
//! | `root_certificates` | The file with the certificates, in PEM, of the authorities that may have signed the engine's. Defaults to the system's. |
//! | `prefix` | What the names of all the engine's keys begin with, unless the URL says it. Defaults to `tower-credentials`. |
//! | `require_durable` | `true`: an engine whose settings may lose a new secret is refused. |
//! | `key_file` | The file that holds the key. |
//! | `key_command` | A command that prints the key: a list of its words, or one text that is split as a shell would, though no shell runs it. |
//! | `keyring` | `true`: the key is in the system's keyring. |
//! | `history` | `false`: the program `credentials` and its gateway do not record what happens to the accounts. |
//!
//! A relative path begins at the file's directory, and `~/` is the home directory.
//!
//! The settings of an engine belong to `url`: if another engine is named elsewhere, they are not used. Without `url` they are for
//! whatever engine is named. Beside `directory` they are an error.
//!
//! ```toml
//! [vault]
//! key_command = ["pass", "show", "example/vault-key"]
//! ```
//!
//! The table `[serve]` is for `credentials serve`, which reads it itself.
//!
//! # The environment
//!
//! A variable is `TOWER_CREDENTIALS_<PROVIDER>_<SETTING>`, in upper case, with an underscore for every other character than
//! a letter or digit, and between the names of a table and its entries: `TOWER_CREDENTIALS_GITHUB_COPILOT_MODE`,
//! `TOWER_CREDENTIALS_OPENAI_OAUTH_CLIENT_ID`, `TOWER_CREDENTIALS_OPENAI_HEADERS_X_TEAM` (the header
//! `x-team`). Lists are separated by spaces or commas.
//!
//! Programs with a `Setup` also read these: `TOWER_CREDENTIALS_DIR` (or `TOWER_CREDENTIALS_VAULT`) is the vault's directory, or
//! the URL of the engine that keeps it, and `TOWER_CREDENTIALS_CONFIG` the settings file. The engine's password is in
//! `TOWER_CREDENTIALS_VAULT_PASSWORD`, or in that URL, and that of its Sentinels in `TOWER_CREDENTIALS_VAULT_SENTINEL_PASSWORD`. The vault's key is in `TOWER_CREDENTIALS_VAULT_KEY`, or in
//! the place that `TOWER_CREDENTIALS_KEY_FILE`, `TOWER_CREDENTIALS_KEY_COMMAND` or `TOWER_CREDENTIALS_KEYRING` (`1`) names.
//!
//! # Whose word a file is
//!
//! A file can name commands to run and servers to send tokens to. So on Unix a file is refused if others could have written
//! it: it and its directory must belong to the user or to root, and nobody else may write to them. Other users may write to
//! a directory with the sticky bit, and modes don't matter on a read-only mount.

#[cfg(feature = "config")]
mod engine;
mod environment;
mod error;
#[cfg(feature = "config")]
mod file;
mod is_set;
mod keys;
#[cfg(feature = "oauth")]
mod oauth;
mod raw;
#[cfg(feature = "config")]
mod reader;
mod responses;
#[cfg(all(feature = "config", unix))]
mod trust;
#[cfg(feature = "config")]
mod vault;

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::pool::{Cooldowns, Mode, PoolBuilder};
use crate::provider::{Endpoint, ModelsShape, ModelsUrl, Origin, ResponseRule};
use raw::Raw;

#[cfg(feature = "config")]
#[cfg_attr(docsrs, doc(cfg(feature = "config")))]
pub use engine::EngineSettings;
pub use environment::FromEnvironment;
pub use error::SettingsError;
#[cfg(feature = "config")]
#[cfg_attr(docsrs, doc(cfg(feature = "config")))]
pub use vault::{KeySource, VaultSettings};

pub(crate) use crate::nearest::nearest;
pub(crate) use environment::read as read_environment;
pub(crate) use error::Faults;
#[cfg(feature = "config")]
pub(crate) use file::{File, open as open_file, read as read_file};

/// Defines settings that may be unset, and fills them from another source.
macro_rules! layered {
    ($(#[$doc:meta])* $visibility:vis struct $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        $visibility struct $name {
            $($(#[$meta])* pub(crate) $field: Option<$type>,)*
        }

        impl $name {
            /// Fills unset settings from another source.
            fn fill_from(&mut self, other: &Self) {
                $(if self.$field.is_none() {
                    self.$field.clone_from(&other.$field);
                })*
            }
        }
    };
}
#[cfg(feature = "oauth")]
use layered;

layered! {
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Values {
        kind: String,
        mode: Mode,
        namespace: String,
        max_attempts: NonZeroU32,
        max_in_flight: NonZeroU32,
        cooldown_limited: Duration,
        cooldown_refused: Duration,
        cooldown_cap: Duration,
        api_key_variable: String,
        origins: Vec<Origin>,
        insecure_http_origins: Vec<Origin>,
        endpoint_hosts: Vec<Origin>,
        subscription_endpoint: Endpoint,
        models_url: ModelsUrl,
        models_shape: ModelsShape,
        header: HeaderName,
        prefix: String,
        oauth_header: HeaderName,
        oauth_prefix: String,
        query_names: Vec<String>,
        quota_headers: Vec<HeaderName>,
        aliases: Vec<String>,
        responses: Vec<ResponseRule>,
    }
}

/// One source's settings of a provider, whose name may be an alias.
pub(crate) struct Named {
    pub(crate) name: String,
    /// The place, for errors.
    pub(crate) place: String,
    pub(crate) settings: ProviderSettings,
}

/// Headers by name.
pub(crate) type Headers = Vec<(HeaderName, HeaderValue)>;

/// The settings of one provider. See [the module](self) for the meaning of each.
///
/// ```
/// use tower_credentials::Mode;
/// use tower_credentials::settings::ProviderSettings;
///
/// let settings = ProviderSettings::new()
///     .mode(Mode::Api)
///     .set("cooldown_limited", "1m")?
///     .set("headers.x-team", "blue")?;
/// # Ok::<(), tower_credentials::settings::SettingsError>(())
/// ```
#[derive(Clone, Default)]
pub struct ProviderSettings {
    values: Values,
    headers: Headers,
    extra_headers: Headers,
    #[cfg(feature = "oauth")]
    oauth: oauth::OAuthSettings,
}

impl ProviderSettings {
    /// Creates settings of which none is set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the kinds of credentials to use.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.values.mode = Some(mode);
        self
    }

    /// Sets the namespace of the pool.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.values.namespace = Some(namespace.into());
        self
    }

    /// Sets the maximum number of credentials to try per request.
    #[must_use]
    pub fn max_attempts(mut self, attempts: NonZeroU32) -> Self {
        self.values.max_attempts = Some(attempts);
        self
    }

    /// Sets the maximum number of requests that one credential serves at once, since some vendors limit that. Others wait.
    #[must_use]
    pub fn max_in_flight(mut self, cap: NonZeroU32) -> Self {
        self.values.max_in_flight = Some(cap);
        self
    }

    /// Sets how long a limited credential cools down if the response names no time.
    #[must_use]
    pub fn cooldown_limited(mut self, duration: Duration) -> Self {
        self.values.cooldown_limited = Some(duration);
        self
    }

    /// Sets how long a refused credential cools down if no refresh helped.
    #[must_use]
    pub fn cooldown_refused(mut self, duration: Duration) -> Self {
        self.values.cooldown_refused = Some(duration);
        self
    }

    /// Sets the setting of this name. An entry of a table is `headers.x-team` or `oauth.client_id`, for example. Lists are
    /// separated by spaces or commas.
    ///
    /// # Errors
    /// [`SettingsError::UnknownKey`] and [`SettingsError::Invalid`].
    pub fn set(mut self, key: &str, value: &str) -> Result<Self, SettingsError> {
        let path: Vec<_> = key.split('.').collect();
        self.put(&path, &Raw::Plain(value))
            .map_err(|problem| problem.at("the program's settings", key))?;
        Ok(self)
    }

    /// Fills unset settings from a source with lower precedence.
    pub(crate) fn fill_from(&mut self, other: &Self) {
        self.values.fill_from(&other.values);
        for (ours, theirs) in
            [(&mut self.headers, &other.headers), (&mut self.extra_headers, &other.extra_headers)]
        {
            for (name, value) in theirs {
                if ours.iter().all(|(known, _)| known != name) {
                    ours.push((name.clone(), value.clone()));
                }
            }
        }
        #[cfg(feature = "oauth")]
        self.oauth.fill_from(&other.oauth);
    }

    pub(crate) fn values(&self) -> &Values {
        &self.values
    }

    /// The additional origins to which credentials may go.
    pub(crate) fn origins(&self) -> impl Iterator<Item = &Origin> {
        let Values { origins, insecure_http_origins, .. } = &self.values;
        origins.iter().chain(insecure_http_origins).flatten()
    }

    pub(crate) fn headers(&self) -> &Headers {
        &self.headers
    }

    pub(crate) fn extra_headers(&self) -> &Headers {
        &self.extra_headers
    }

    /// The provider's own config with these settings in it; `None` if none is set.
    #[cfg(feature = "oauth")]
    pub(crate) fn oauth(
        &self,
        own: Option<&crate::oauth::OAuthConfig>,
    ) -> Option<crate::oauth::OAuthConfig> {
        self.oauth.over(own)
    }

    /// Applies these settings to a pool's builder.
    pub(crate) fn apply(&self, mut builder: PoolBuilder) -> PoolBuilder {
        let values = &self.values;
        let mut cooldowns = Cooldowns::default();
        if let Some(duration) = values.cooldown_limited {
            cooldowns = cooldowns.limited(duration);
        }
        if let Some(duration) = values.cooldown_refused {
            cooldowns = cooldowns.refused(duration);
        }
        if let Some(duration) = values.cooldown_cap {
            cooldowns = cooldowns.cap(duration);
        }
        if let Some(namespace) = &values.namespace {
            builder = builder.namespace(namespace.as_str());
        }
        if let Some(cap) = values.max_in_flight {
            builder = builder.max_in_flight(cap);
        }
        builder.mode(values.mode.unwrap_or_default()).cooldowns(cooldowns)
    }
}

/// Omits the values of headers and of OAuth clients, which may be secret.
impl fmt::Debug for ProviderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderSettings").field("values", &self.values).finish_non_exhaustive()
    }
}

//! What can be set for each provider, in code, in a file and in the environment.
//!
//! Each setting is taken from the first of these that has it: the program
//! ([`RegistryBuilder::set`](crate::registry::RegistryBuilder::set)), the file, the environment. Tables are
//! taken entry by entry, lists as a whole.
//!
//! | Setting | What it says | Unless set |
//! |---|---|---|
//! | `mode` | Which credentials are used: `auto`, `api`, `subscription`, `all`; see [`Mode`]. | `auto` |
//! | `namespace` | Which of the provider's pools. | `default` |
//! | `max_attempts` | With how many credentials a request is tried, at most; from 1 on. | all of the pool |
//! | `max_in_flight` | How many requests one credential serves at once, at most; from 1 on. Others wait. | no bound |
//! | `cooldown_limited` | How long a limited credential cools down if the answer names no time; up to 10 % more at random, and twice as long with each failure in a row. | `30s` |
//! | `cooldown_refused` | How long a refused one does that no refresh helped. | `5m` |
//! | `cooldown_cap` | The longest cooldown that is guessed. | `1h` |
//! | `api_key_variable` | The environment variable of an API key for a pool without one; empty for none. | the vendor's |
//! | `origins` | To where credentials may go, too. The first is where the program `credentials` and `discovery` ask, in place of the vendor's own. | none |
//! | `insecure_http_origins` | To where they may go in clear, too: `http://` with a private address, or with a name that is nobody's on the internet ([`Origin::plain_http`]). Whoever listens in on that network reads them. After `origins`. | none |
//! | `endpoint_hosts` | Which hosts an account may name for its requests, too (Copilot, Qwen). | none |
//! | `subscription_endpoint` | Where OAuth accounts' requests go (OpenAI). | where the caller says |
//! | `models_url` | Where the models are told: a URL, or a path at the provider's origin. | the vendor's |
//! | `models_shape` | The shape of that list: `openai`, `anthropic`, `google`. | the vendor's, else `openai` |
//! | `headers` | A table of headers that are set where the caller has set none of the name. | the vendor's |
//! | `responses` | What answers mean, in a file alone: see below. | the vendor's rules alone |
//! | `oauth` | A table of the fields of `oauth::OAuthConfig`, by their names. | the vendor's |
//! | `type` | `generic`, or the vendor whose adapter this is; for providers of one's own. | – |
//!
//! And for those of the type `generic`: `header` (the header a token goes into: `authorization` unless set),
//! `prefix` (what stands before the token: `Bearer ` in `authorization`, else nothing), `oauth_header` and
//! `oauth_prefix` (the same for OAuth accounts, where it differs), `extra_headers` (a table of headers beside
//! the token), `query_names` (query parameters that carry a credential and are removed). `aliases` gives other
//! names to a provider that has a `type`, where that is set.
//!
//! Times are seconds, or text such as `30s`, `5m`, `1h30m`.
//!
//! # The file
//!
//! TOML, with the feature `config`. A key that isn't known is an error.
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
//! # What answers mean
//!
//! Each table `[[providers.NAME.responses]]` is a rule, a [`ResponseRule`]; the first that holds counts, and all of them go
//! before the vendor's own.
//!
//! A rule with `body` or `text` never holds, and `until` finds no field, unless somebody reads the bodies of errors: a program
//! needs an [`ErrorBodyLayer`](crate::ErrorBodyLayer) under the other layers for that. `CredentialsLayer` alone reads
//! none. The program `credentials` and the gateway have one.
//!
//! | Key | What it says |
//! |---|---|
//! | `status` | The status of the answer, or a list: from 400 to 599. Needed. |
//! | `header` | A table: headers, each with the pattern that its value is like, or a list of patterns. |
//! | `body` | The same of the fields of a JSON body, such as `"error.code"`. |
//! | `text` | The pattern of the whole body. |
//! | `means` | Needed: `limit`, `spent`, `dead`, `stopped`, `not-the-account`, `this-request`, `insufficient-scope`, or `refused`. |
//! | `until` | The field of the body that names when a limit ends, or when what is spent can be used again; or a list. |
//! | `lasts` | How long a limit lasts where the answer names no time. |
//! | `of` | What a limit holds for: `account`, `model` or `concurrency` (how many requests there are at once). |
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
//! The table `[vault]` of the file is the program's own: where its vault is and where the key comes from, by
//! `Registry::vault_settings`. A key has one place, so two of the last three settings are an error.
//!
//! | Setting | What it says |
//! |---|---|
//! | `directory` | The vault's directory. |
//! | `key_file` | The file that holds the key. |
//! | `key_command` | A command that prints the key: a list of its words, or one text that is parted as a shell would, though no shell runs it. |
//! | `keyring` | `true`: the key is in the system's keyring. |
//!
//! A path begins at the file's directory unless it is absolute, and at the home directory after `~/`.
//!
//! ```toml
//! [vault]
//! key_command = ["pass", "show", "example/vault-key"]
//! ```
//!
//! # The environment
//!
//! `TOWER_CREDENTIALS_<PROVIDER>_<SETTING>`, in upper case, with an underscore for whatever is no letter or
//! digit, and between the names of tables and what is in them: `TOWER_CREDENTIALS_GITHUB_COPILOT_MODE`,
//! `TOWER_CREDENTIALS_OPENAI_OAUTH_CLIENT_ID`, `TOWER_CREDENTIALS_OPENAI_HEADERS_X_TEAM` (the header
//! `x-team`). Lists are parted by spaces or commas. `TOWER_CREDENTIALS_DIR` (or
//! `TOWER_CREDENTIALS_VAULT`) and `TOWER_CREDENTIALS_CONFIG` name the vault's directory and the settings file to programs
//! that heed them, as those with a `Setup` do; the vault's key is in
//! `TOWER_CREDENTIALS_VAULT_KEY`, or where `TOWER_CREDENTIALS_KEY_FILE`, `TOWER_CREDENTIALS_KEY_COMMAND` or
//! `TOWER_CREDENTIALS_KEYRING` (`1`) say.
//!
//! # Whose word a file is
//!
//! A file can name commands to run and servers to send tokens to. So on Unix one is refused that others could have written:
//! it and its directory must belong to the user or to root, and nobody else may write to them. A directory with the
//! sticky bit may be open to others, and what is mounted read-only is nobody's to write.

mod environment;
mod error;
#[cfg(feature = "config")]
mod file;
mod is_set;
mod keys;
#[cfg(feature = "oauth")]
mod oauth;
mod raw;
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

pub use environment::FromEnvironment;
pub use error::SettingsError;
#[cfg(feature = "config")]
#[cfg_attr(docsrs, doc(cfg(feature = "config")))]
pub use vault::{KeySource, VaultSettings};

pub(crate) use environment::read as read_environment;
pub(crate) use error::nearest;
#[cfg(feature = "config")]
pub(crate) use file::{File, open as open_file, read as read_file};

/// Defines settings each of which may be unset, and how those of one source go before another's.
macro_rules! layered {
    ($(#[$doc:meta])* $visibility:vis struct $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        $visibility struct $name {
            $($(#[$meta])* pub(crate) $field: Option<$type>,)*
        }

        impl $name {
            /// Takes what is not set here from another source.
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
        aliases: Vec<String>,
        responses: Vec<ResponseRule>,
    }
}

/// What one source says of a provider, which it may call by an alias.
pub(crate) struct Named {
    pub(crate) name: String,
    /// Where, for errors.
    pub(crate) place: String,
    pub(crate) settings: ProviderSettings,
}

/// Headers by name.
pub(crate) type Headers = Vec<(HeaderName, HeaderValue)>;

/// The settings of one provider; see [the module](self) for each one's meaning.
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
    /// Nothing is set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Which kinds of credentials are used.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.values.mode = Some(mode);
        self
    }

    /// The namespace of the pool.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.values.namespace = Some(namespace.into());
        self
    }

    /// With how many credentials a request is tried, at most.
    #[must_use]
    pub fn max_attempts(mut self, attempts: NonZeroU32) -> Self {
        self.values.max_attempts = Some(attempts);
        self
    }

    /// How many requests one credential serves at once, at most: some vendors limit that. Others wait.
    #[must_use]
    pub fn max_in_flight(mut self, cap: NonZeroU32) -> Self {
        self.values.max_in_flight = Some(cap);
        self
    }

    /// How long a limited credential cools down if the answer names no time.
    #[must_use]
    pub fn cooldown_limited(mut self, duration: Duration) -> Self {
        self.values.cooldown_limited = Some(duration);
        self
    }

    /// How long a credential cools down that was refused and that no refresh helped.
    #[must_use]
    pub fn cooldown_refused(mut self, duration: Duration) -> Self {
        self.values.cooldown_refused = Some(duration);
        self
    }

    /// Sets whatever has this name in a file; of what is in a table, `headers.x-team` or
    /// `oauth.client_id`. Lists are parted by spaces or commas.
    ///
    /// # Errors
    /// [`SettingsError::UnknownKey`] and [`SettingsError::Invalid`].
    pub fn set(mut self, key: &str, value: &str) -> Result<Self, SettingsError> {
        let path: Vec<_> = key.split('.').collect();
        self.put(&path, &Raw::Plain(value))
            .map_err(|problem| problem.at("the program's settings", key))?;
        Ok(self)
    }

    /// Takes what is not set here from a source that comes after.
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

    /// To where credentials may go, besides the provider's own.
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

    /// The config with what is set, in place of the provider's own; `None` where nothing is.
    #[cfg(feature = "oauth")]
    pub(crate) fn oauth(
        &self,
        own: Option<&crate::oauth::OAuthConfig>,
    ) -> Option<crate::oauth::OAuthConfig> {
        self.oauth.over(own)
    }

    /// The pool's builder with these settings.
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

/// Without the values of headers and of OAuth clients, which may be secret.
impl fmt::Debug for ProviderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderSettings").field("values", &self.values).finish_non_exhaustive()
    }
}

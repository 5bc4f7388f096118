//! The settings of a backend, and opening one.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::dial::Dialer;
use super::durable::CONFIRMED_WITHIN;
use super::url::{InvalidRedisUrl, RedisUrl, Topology};
use super::{Finding, Inner, RedisBackend, keys};
use crate::clock::Clock;
use crate::secret::SecretString;
use crate::vault::VaultError;

/// What the names of all keys begin with by default.
const PREFIX: &str = "tower-credentials";

/// How long things take, what is refused, and this host's clock.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// A command.
    pub(super) command: Duration,
    /// A lease that is not renewed.
    pub(super) lease: Duration,
    /// How long after a refresh has begun its token may be presented.
    pub(super) present_within: Duration,
    /// How long a holder that was cut off has to store a new secret.
    pub(super) grace: Duration,
    pub(super) clock: Clock,
    /// Whether an engine that may lose a secret is refused.
    pub(super) require_durable: bool,
}

impl Settings {
    /// How long a lease is held once a refresh has begun: until its token may not be presented any more, as seen by the
    /// holder, who hears of it later.
    pub(super) fn covered(&self) -> Duration {
        self.present_within + self.command * 2 + CONFIRMED_WITHIN
    }
}

/// Builds a [`RedisBackend`].
#[derive(Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct RedisBackendBuilder {
    url: Result<RedisUrl, InvalidRedisUrl>,
    prefix: Option<String>,
    password: Option<SecretString>,
    sentinel_password: Option<SecretString>,
    cluster: bool,
    roots: Option<Vec<u8>>,
    settings: Settings,
}

impl RedisBackendBuilder {
    pub(super) fn new(url: Result<RedisUrl, InvalidRedisUrl>) -> Self {
        let settings = Settings {
            command: Duration::from_millis(250),
            lease: Duration::from_secs(10),
            present_within: Duration::from_secs(30),
            grace: Duration::from_secs(5),
            clock: Clock::system(),
            require_durable: false,
        };
        Self {
            url,
            prefix: None,
            password: None,
            sentinel_password: None,
            cluster: false,
            roots: None,
            settings,
        }
    }

    /// Sets what the names of all keys begin with, instead of the URL's `?prefix=…`. Vaults with different prefixes share
    /// nothing. Defaults to `tower-credentials`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Sets the password, instead of the URL's.
    pub fn password(mut self, password: SecretString) -> Self {
        self.password = Some(password);
        self
    }

    /// Sets the Sentinels' own password, instead of the URL's.
    pub fn sentinel_password(mut self, password: SecretString) -> Self {
        self.sentinel_password = Some(password);
        self
    }

    /// Sets whether the engine is a cluster, as `?cluster=true` in the URL does.
    pub fn cluster(mut self, is_one: bool) -> Self {
        self.cluster = is_one;
        self
    }

    /// Sets whether [`open`](Self::open) and [`RedisBackend::sealed`] refuse an engine that may lose a secret which it has stored:
    /// see [`Finding::loses_secrets`]. Defaults to `false`.
    pub fn require_durable(mut self, is_required: bool) -> Self {
        self.settings.require_durable = is_required;
        self
    }

    /// Sets the certificates, in PEM, of the authorities that may have signed the engine's certificate. Defaults to the
    /// system's. Only for URLs with TLS.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Sets how long a command may take. Reading a whole pool may take ten times as long. Defaults to 250 ms.
    pub fn command_timeout(mut self, within: Duration) -> Self {
        self.settings.command = within.max(Duration::from_millis(1));
        self
    }

    /// Sets how long a lease lasts whose holder is not heard of. It is renewed after each third of that. Defaults to 10 s.
    pub fn lease_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.lease = lifetime.max(Duration::from_millis(3));
        self
    }

    /// Sets how long after a refresh has begun its token may be presented, the same on all hosts. The lease is held a little
    /// longer, and then for as long as the exchange takes. Defaults to 30 s.
    pub fn present_within(mut self, within: Duration) -> Self {
        self.settings.present_within = within;
        self
    }

    /// Sets how long others wait, after the lease of a refresh has lapsed that has begun, before they present its token once
    /// more: the time that a holder that was cut off has to store what it got. The same on all hosts. Defaults to 5 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Sets this host's wall clock: the same as that of its [pools](crate::PoolBuilder::clock). The backend measures by how
    /// much the engine's differs. Defaults to the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings.clock = clock;
        self
    }

    /// Returns the backend, without connecting. It connects with the first request, and again after each outage.
    ///
    /// # Errors
    /// [`InvalidRedisUrl`] in a [`VaultError::Layer`] if the URL can't be used; a [`VaultError::Layer`] if there are no
    /// certificates to check the engine's with.
    pub fn build(self) -> Result<RedisBackend, VaultError> {
        let invalid = |error: InvalidRedisUrl| VaultError::Layer(error.into());
        let mut target = Arc::unwrap_or_clone(self.url.map_err(invalid)?.0);
        target.prefix = self.prefix.or(target.prefix);
        target.login.password = self.password.or(target.login.password);
        target.sentinel_login.password = self.sentinel_password.or(target.sentinel_login.password);
        if self.cluster
            && let Topology::Alone(address) = &target.topology
        {
            target.topology = Topology::Cluster(vec![address.clone()]);
        }
        target.check().map_err(invalid)?;
        let dialer = match target.tls {
            true => Dialer::with_tls(self.roots.as_deref()).map_err(no_certificates)?,
            false => Dialer::plain(),
        };
        let prefix = keys::escaped(target.prefix.as_deref().unwrap_or(PREFIX));
        Ok(RedisBackend(Arc::new(Inner::new(target, dialer, prefix, self.settings))))
    }

    /// Returns the backend, connected, with its [findings](RedisBackend::findings).
    ///
    /// # Errors
    /// The same as [`build`](Self::build), and [`VaultError::Unreachable`] if the engine is away. A program that must start
    /// without its engine uses `build`. If [`require_durable`](Self::require_durable) is set, a [`VaultError::Layer`] that
    /// says which setting may lose a secret.
    pub async fn open(self) -> Result<RedisBackend, VaultError> {
        let backend = self.build()?;
        backend.0.examine_first().await?;
        Ok(backend)
    }
}

impl Inner {
    /// Keeps the engine's findings. Fails if one is not accepted.
    pub(super) async fn examine_first(&self) -> Result<(), VaultError> {
        let findings = self.examine().await?;
        let is_refused = |one: &&Finding| self.settings.require_durable && one.loses_secrets();
        let words: Vec<_> = findings.iter().filter(is_refused).map(ToString::to_string).collect();
        if !words.is_empty() {
            return Err(VaultError::Layer(words.join("; ").into()));
        }
        let _ = self.findings.set(findings);
        Ok(())
    }
}

fn no_certificates(error: io::Error) -> VaultError {
    VaultError::Layer(format!("the engine's certificate can't be checked: {error}").into())
}

/// Shows neither the URL nor the certificates.
impl fmt::Debug for RedisBackendBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackendBuilder")
            .field("prefix", &self.prefix)
            .field("cluster", &self.cluster)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

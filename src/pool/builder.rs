//! Configuring and opening a pool.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tower::util::BoxCloneService;

use super::config::{Config, WhenAllCoolingDown};
use super::contact::VaultContact;
use super::cooldowns::Cooldowns;
use super::header_names::CredentialHeaderNames;
use super::last_responses::LastResponses;
use super::lease::{Mints, PenaltyCount};
use super::logical_time::LogicalClock;
use super::mode::Mode;
use super::policy::Policy;
use super::published_pick::PublishedPick;
use super::refresh::Refresher;
use super::samples::SamplePeriod;
use super::state::PoolState;
use super::vault::PoolVault;
use super::{BoxVault, Inner, Pool, save};
use crate::clock::Clock;
use crate::counters::{Tally, VaultErrors};
use crate::credential::PoolKey;
use crate::error::Error;
use crate::events::Event;
use crate::provider::Provider;
use crate::vault::Vault;

/// The settings of a [`Pool`]. Created by [`Pool::builder`]; [`open`](Self::open) opens the pool.
pub struct PoolBuilder {
    provider: Box<dyn Provider>,
    vault: BoxVault,
    vault_errors: VaultErrors,
    namespace: Arc<str>,
    config: Config,
}

impl PoolBuilder {
    pub(super) fn new(provider: Box<dyn Provider>, vault: impl Vault) -> Self {
        let vault_errors = VaultErrors::default();
        Self {
            provider,
            vault: BoxCloneService::new(PoolVault::new(vault, vault_errors.clone())),
            vault_errors,
            namespace: PoolKey::DEFAULT_NAMESPACE.into(),
            config: Config::default(),
        }
    }

    /// Sets the namespace whose credentials the pool holds. Defaults to `default`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<Arc<str>>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets which kinds of credentials are used. Defaults to [`Mode::Auto`].
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.config.mode = mode;
        self
    }

    /// Sets which ready credential a request takes. Defaults to [`Sticky`](super::policy::Sticky).
    #[must_use]
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.config.policy = Box::new(policy);
        self
    }

    /// Sets how long credentials cool down, and for which statuses.
    #[must_use]
    pub fn cooldowns(mut self, cooldowns: Cooldowns) -> Self {
        self.config.cooldowns = cooldowns;
        self
    }

    /// Sets what to do if every credential is cooling down before a request's first attempt. Defaults to
    /// [`WhenAllCoolingDown::TrySoonest`].
    #[must_use]
    pub fn when_all_cooling_down(mut self, then: WhenAllCoolingDown) -> Self {
        self.config.when_all_cooling_down = then;
        self
    }

    /// Sets whether a request for which the server is too busy (503, or Anthropic's 529) goes on with the next credential.
    /// Under [`FirstEventLayer`](crate::FirstEventLayer) so does one for which the server has failed in place of the content of a
    /// stream. Defaults to false: the response is returned, and is the caller's to repeat.
    ///
    /// The credential does not cool down, since an overload is not about the account. An account on another plan, or in
    /// another region, may be served all the same. [Rules](crate::provider::ResponseRule) for these statuses go first.
    #[must_use]
    pub fn rotate_overloads(mut self, rotate: bool) -> Self {
        self.config.rotates_overloads = rotate;
        self
    }

    /// Sets the maximum number of concurrent requests per credential. Defaults to no maximum. A request counts until
    /// its response's head arrives. If every ready credential is at its cap, requests wait.
    ///
    /// If a provider recognizes the vendor's own limit
    /// ([`LimitOf::Concurrency`](crate::provider::LimitOf::Concurrency)), that lowers an account's cap for a while.
    #[must_use]
    pub fn max_in_flight(mut self, cap: NonZeroU32) -> Self {
        self.config.max_in_flight = Some(cap);
        self
    }

    /// Sets the clock. Defaults to the system's wall clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.config.clock = clock;
        self
    }

    /// Calls `observe` with each event, on the task where it happens. It must not block.
    ///
    /// ```
    /// # use tower_credentials::PoolBuilder;
    /// # fn example(builder: PoolBuilder) -> PoolBuilder {
    /// builder.on_event(|event| println!("{event:?}"))
    /// # }
    /// ```
    #[must_use]
    pub fn on_event(mut self, observe: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.config.observer.observe(observe);
        self
    }

    /// Sets how many events are kept for a reader of [`Pool::events`] that is slow. Defaults to 1024; rounded up to a
    /// power of two, and at most 65,536. The memory for them is taken when the first stream begins: some 250 bytes each.
    #[must_use]
    pub fn keep_events(mut self, events: NonZeroU32) -> Self {
        self.config.observer.keep(events);
        self
    }

    /// Sets whether each attempt's request always has an [`Attempt`](crate::Attempt) extension, which shows the
    /// credential to a service under the layers, and each response an [`AnsweredBy`](crate::AnsweredBy) extension,
    /// which shows it to the caller. Defaults to false, since it costs some hundred nanoseconds per request.
    #[must_use]
    pub fn expose_attempts(mut self, expose: bool) -> Self {
        self.config.exposes_attempts = expose;
        self
    }

    /// Sets whether each attempt is timed for [`Counters::durations`](crate::counters::Counters::durations). Defaults to
    /// false, since to read the clock twice costs each attempt some ten nanoseconds.
    #[must_use]
    pub fn time_attempts(mut self, time: bool) -> Self {
        self.config.times_attempts = time;
        self
    }

    /// Publishes the pool's counters and gauges through the crate `metrics`, once with each [sync](Self::sync_every) and
    /// when the pool is closed. Defaults to no metrics. See [`metrics`](crate::metrics).
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    #[must_use]
    pub fn metrics(mut self, metrics: crate::metrics::Metrics) -> Self {
        self.config.metrics = Some(metrics);
        self
    }

    /// Renews tokens with this refresher ahead of their expiry. Defaults to none.
    ///
    /// A token is renewed five minutes before its expiry, or a tenth of its lifetime if that is shorter, less a random
    /// part of up to half of that. A task does this in the runtime in which the pool is opened, as long as any clone
    /// of the pool lives. After a failure it retries, one second later at first and five minutes later at most. A
    /// refresher that [mints](Refresher::mints) also makes the first token if the vault has an empty one.
    ///
    /// [`CredentialsLayer`](crate::CredentialsLayer) also renews refused tokens with it; a
    /// [`RefreshOn401Layer`](crate::RefreshOn401Layer) has its own refresher.
    #[must_use]
    pub fn refresher(mut self, refresher: impl Into<Refresher>) -> Self {
        self.config.refresher = Some(refresher.into());
        self
    }

    /// Sets how long a request waits for the renewal of a token. Defaults to 30 seconds, for the wait for other
    /// renewals and for the exchange each.
    ///
    /// After that the request continues without the new token, and the renewal continues, too. `None` waits as long as
    /// it takes, for example until there is room on the disk for the new token. That is for programs that make one
    /// request and have nothing else to do.
    #[must_use]
    pub fn renewal_patience(mut self, patience: impl Into<Option<Duration>>) -> Self {
        self.config.renewal_patience = patience.into();
        self
    }

    /// Sets how often the pool checks the vault for changes by other processes; `None` disables it. Defaults to one
    /// second.
    ///
    /// So a cooldown that another process has set is unknown here for this long at most. The check is one request that
    /// reads no file if nothing has changed. A task makes it in the runtime in which the pool is opened, as long as
    /// any clone of the pool lives.
    #[must_use]
    pub fn sync_every(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.config.sync_every = interval.into();
        self
    }

    /// Sets the minimum interval between saves that contain nothing but [last
    /// responses](crate::standing::Standing::last_response). Defaults to one minute; `None` saves them only along with
    /// other changes, and on [`Pool::save`].
    ///
    /// The task that [syncs](Self::sync_every) the pool does this, so never more often than that, and only once the
    /// pool has a [`CooldownPersistLayer`](crate::CooldownPersistLayer) or a
    /// [`CredentialsLayer`](crate::CredentialsLayer). No request waits for it.
    #[must_use]
    pub fn save_last_responses_every(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.config.save_last_responses_every = interval.into();
        self
    }

    /// Opens the pool, with the credentials in its vault.
    ///
    /// # Errors
    /// [`Error::Vault`] if the vault can't be read, and [`Error::NoCredential`] if the mode is [`Mode::Subscription`]
    /// and there is no OAuth account. In every other mode a pool may be empty, since credentials may be added later.
    pub async fn open(self) -> Result<Pool, Error> {
        let (vault, vault_errors) = (self.vault, self.vault_errors);
        let key = PoolKey::with_namespace(self.provider.name(), self.namespace);
        let penalties = PenaltyCount::default();
        let logical_clock = LogicalClock::default();
        let credential_headers = CredentialHeaderNames::new(self.provider.header_names());
        let mints = Mints::default();
        if self.config.refresher.as_ref().is_some_and(Refresher::is_minting) {
            mints.set();
        }
        let dates_later = self.config.dates_responses_later();
        let last_responses = LastResponses::new(dates_later);
        let reads_each_allowance = !dates_later || self.config.policy.reads_allowance();
        #[cfg(feature = "metrics")]
        let publisher =
            self.config.metrics.clone().map(|metrics| crate::metrics::Publisher::new(metrics, &key));
        let now = self.config.clock.now();
        let pool = Pool(Arc::new(Inner {
            key,
            credential_headers,
            quota_headers: self.provider.quota_headers().to_vec(),
            provider: self.provider,
            config: self.config,
            vault: Mutex::new(vault),
            state: Mutex::new(PoolState::new(logical_clock.clone(), penalties.clone(), mints.clone())),
            published: PublishedPick::default(),
            size: AtomicU64::new(0),
            logical_clock,
            penalties,
            unsaved: AtomicBool::new(false),
            saver: Mutex::new(save::Saver::default()),
            last_responses,
            sample_period: SamplePeriod::default(),
            reads_each_allowance,
            mints,
            known_refresher: Mutex::default(),
            lacks_refresher: AtomicBool::new(false),
            saves: AtomicBool::new(false),
            renewals: watch::Sender::new(()),
            closing: watch::Sender::new(false),
            tally: Tally::new(vault_errors),
            contact: Mutex::new(VaultContact::at(now)),
            #[cfg(feature = "metrics")]
            publisher,
        }));
        pool.load().await?;
        let mode = pool.0.config.mode;
        if mode == Mode::Subscription {
            let has_one = pool.status().iter().any(|status| mode.allows(status.credential.kind, true));
            if !has_one {
                return Err(pool.with_state(|state, config| state.no_credential(pool.key(), config)));
            }
        }
        if let Some(every) = pool.0.config.sync_every {
            pool.keep_syncing(every);
        }
        if let Some(refresher) = pool.0.config.refresher.clone() {
            pool.keep_renewing(refresher);
        }
        Ok(pool)
    }
}

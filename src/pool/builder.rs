//! Opening a pool.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tower::util::BoxCloneService;
use tower_service::Service;

use super::config::{Config, Cooldowns, Mode, WhenAllCoolingDown};
use super::header_names::CredentialHeaderNames;
use super::last_responses::Answers;
use super::lease::{Mints, PenaltyCount};
use super::logical_time::LogicalClock;
use super::policy::Policy;
use super::published_pick::PublishedPick;
use super::refresh::Refresher;
use super::state::PoolState;
use super::{BoxVault, Inner, Pool, save};
use crate::clock::Clock;
use crate::credential::PoolKey;
use crate::error::Error;
use crate::events::{Event, Observer, Tally};
use crate::provider::Provider;
use crate::vault::{Vault, VaultError, VaultRequest};

/// Settings of a [`Pool`]; made by [`Pool::builder`], ended by [`open`](Self::open).
pub struct PoolBuilder {
    provider: Box<dyn Provider>,
    vault: BoxVault,
    namespace: Arc<str>,
    config: Config,
}

impl PoolBuilder {
    pub(super) fn new(provider: Box<dyn Provider>, vault: impl Vault) -> Self {
        Self {
            provider,
            vault: BoxCloneService::new(Plain(vault)),
            namespace: PoolKey::DEFAULT_NAMESPACE.into(),
            config: Config::default(),
        }
    }

    /// The namespace whose credentials the pool holds: `default` unless set.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<Arc<str>>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Which kinds of credentials are used: [`Mode::Auto`] unless set.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.config.mode = mode;
        self
    }

    /// Which ready credential a request takes: [`Sticky`](super::policy::Sticky) unless set.
    #[must_use]
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.config.policy = Box::new(policy);
        self
    }

    /// How long credentials cool down, and for what.
    #[must_use]
    pub fn cooldowns(mut self, cooldowns: Cooldowns) -> Self {
        self.config.cooldowns = cooldowns;
        self
    }

    /// What to do when every credential is cooling down before a request's first attempt: try the one
    /// that is ready soonest, unless set.
    #[must_use]
    pub fn when_all_cooling_down(mut self, then: WhenAllCoolingDown) -> Self {
        self.config.when_all_cooling_down = then;
        self
    }

    /// The most requests that one credential serves at once; no bound unless set. A request counts
    /// until its response's head is there. When every ready credential is at its cap, requests wait.
    ///
    /// A vendor's own limit, where a provider's rules know it
    /// ([`LimitOf::Concurrency`](crate::provider::LimitOf::Concurrency)), lowers an account's cap by itself for a while.
    #[must_use]
    pub fn max_in_flight(mut self, cap: NonZeroU32) -> Self {
        self.config.max_in_flight = Some(cap);
        self
    }

    /// Where the time is read: the system's wall clock unless set.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.config.clock = clock;
        self
    }

    /// Calls `observe` with each event, on the task where it happens: be quick.
    #[must_use]
    pub fn on_event(mut self, observe: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.config.observer = Observer::new(observe);
        self
    }

    /// Whether each attempt's request has an [`Attempt`](crate::Attempt) extension even where no layer
    /// of ours needs it, for a service of yours under the layers that wants to know the credential, and each response
    /// an [`AnsweredBy`](crate::AnsweredBy), for the caller. Defaults to false: it costs some hundred nanoseconds.
    #[must_use]
    pub fn expose_attempts(mut self, expose: bool) -> Self {
        self.config.exposes_attempts = expose;
        self
    }

    /// Renews tokens by this refresher: ahead of their expiry by five minutes, or by a tenth of their life
    /// where that is shorter, less a random part of up to half of that. By a task of its own, in the runtime
    /// that the pool is opened in and while any clone of the pool lives. After a failure it tries again, a
    /// second later at first and five minutes later at most. One that [mints](Refresher::mints) makes the first
    /// token, too, where the vault has an empty one.
    ///
    /// [`CredentialsLayer`](crate::CredentialsLayer) renews refused tokens by it, too; a
    /// [`RefreshOn401Layer`](crate::RefreshOn401Layer) has its own.
    #[must_use]
    pub fn refresher(mut self, refresher: impl Into<Refresher>) -> Self {
        self.config.refresher = Some(refresher.into());
        self
    }

    /// How long a request waits for the renewal of a token: half a minute unless set, for its turn and for the
    /// exchange each. Then it goes on without, and the renewal goes on, too. As long as it takes where this is
    /// `None`, for instance until there is room on the disk for the new token: for programs of one request, which
    /// have nothing else to do.
    #[must_use]
    pub fn renewal_patience(mut self, patience: impl Into<Option<Duration>>) -> Self {
        self.config.renewal_patience = patience.into();
        self
    }

    /// How often the pool asks its vault whether others have changed something, and takes that over; never
    /// where this is `None`. Every second unless set. It is one request that reads no file where nothing
    /// has changed, made by a task of its own, in the runtime that the pool is opened in and while any
    /// clone of the pool lives. What is known of a cooldown that another process has set is so old at most.
    #[must_use]
    pub fn sync_every(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.config.sync_every = interval.into();
        self
    }

    /// How often the [latest answer](crate::standing::Standing::last_response) to each credential's requests is
    /// saved at the most, where nothing else is to be saved that it goes along with. Every minute unless set;
    /// with other things and by [`Pool::save`] only where this is `None`. By the task that
    /// [syncs](Self::sync_every) the pool, so never more often than that, and once there is a
    /// [`CooldownPersistLayer`](crate::CooldownPersistLayer) or a [`CredentialsLayer`](crate::CredentialsLayer)
    /// for the pool; no request waits for it.
    #[must_use]
    pub fn save_last_responses_every(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.config.save_last_responses_every = interval.into();
        self
    }

    /// Loads the pool from its vault.
    ///
    /// # Errors
    /// [`Error::Vault`] where the vault can't be read, and [`Error::NoCredential`] where the mode is
    /// [`Mode::Subscription`] and there is no OAuth account. In another mode an empty pool is opened:
    /// credentials may come.
    pub async fn open(self) -> Result<Pool, Error> {
        let key = PoolKey::with_namespace(self.provider.name(), self.namespace);
        let penalties = PenaltyCount::default();
        let logical_clock = LogicalClock::default();
        let credential_headers = CredentialHeaderNames::new(self.provider.header_names());
        let mints = Mints::default();
        if self.config.refresher.as_ref().is_some_and(Refresher::is_minting) {
            mints.set();
        }
        let answers = Answers::new(self.config.dates_answers_later());
        let pool = Pool(Arc::new(Inner {
            key,
            credential_headers,
            provider: self.provider,
            config: self.config,
            vault: Mutex::new(self.vault),
            state: Mutex::new(PoolState::new(logical_clock.clone(), penalties.clone(), mints.clone())),
            published: PublishedPick::default(),
            size: AtomicU64::new(0),
            logical_clock,
            penalties,
            unsaved: AtomicBool::new(false),
            saver: Mutex::new(save::Saver::default()),
            answers,
            mints,
            known_refresher: Mutex::default(),
            saves: AtomicBool::new(false),
            renewals: watch::Sender::new(()),
            closing: watch::Sender::new(false),
            tally: Tally::default(),
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

/// A vault whose error is a [`VaultError`], whatever is wrapped around it.
#[derive(Clone)]
struct Plain<V>(V);

impl<V: Vault> Service<VaultRequest> for Plain<V> {
    type Response = V::Response;
    type Error = VaultError;
    type Future = PlainFuture<V::Future>;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), VaultError>> {
        self.0.poll_ready(cx).map_err(plain)
    }

    fn call(&mut self, request: VaultRequest) -> Self::Future {
        PlainFuture { inner: self.0.call(request) }
    }
}

fn plain<E: Into<crate::BoxError>>(error: E) -> VaultError {
    VaultError::from(error.into())
}

pin_project_lite::pin_project! {
    struct PlainFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, T, E> Future for PlainFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<crate::BoxError>,
{
    type Output = Result<T, VaultError>;

    fn poll(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        self.project().inner.poll(cx).map_err(plain)
    }
}

//! The pool: the credentials of one provider and namespace, from which each request takes one.

mod affinity;
mod builder;
mod config;
mod contact;
mod cooldowns;
mod header_names;
mod in_flight;
mod journal;
mod last_responses;
mod lease;
mod logical_time;
mod manual;
mod mode;
mod origin_check;
mod pick;
mod pick_index;
pub mod policy;
mod publish;
mod published_pick;
mod quota;
mod record;
mod refresh;
mod request_options;
mod samples;
mod save;
mod state;
mod sync;
mod vault;
mod why;

use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderName;
use tokio::sync::watch;
use tower::util::BoxCloneService;

use crate::clock::Timestamp;
use crate::counters::{Counters, Tally};
use crate::credential::{CredentialId, Metadata, PoolKey};
use crate::events::{Event, EventKind, EventStream, Numbers};
use crate::provider::Provider;
use crate::standing::{Scope, Standing};
use crate::vault::{VaultError, VaultRequest, VaultResponse};

use config::Config;
use last_responses::LastResponses;
use lease::{Mints, PenaltyCount};
use logical_time::LogicalClock;
use published_pick::PublishedPick;
use refresh::KnownRefresher;
use samples::SamplePeriod;
use state::{PoolState, Slot};

pub use builder::PoolBuilder;
pub use config::WhenAllCoolingDown;
pub use contact::VaultContact;
pub use cooldowns::Cooldowns;
pub use lease::Lease;
pub use mode::Mode;
pub use refresh::{RefreshError, Refresher, Unfinished};
pub use request_options::{Affinity, Pin};
pub use why::{Availability, Behind, Explanation, Precedence};

pub(crate) use header_names::CredentialHeaderNames;
pub(crate) use logical_time::LogicalTime;
pub(crate) use pick::Permit;
pub(crate) use pick_index::SlotIndex;
pub(crate) use published_pick::CachedPick;
pub(crate) use record::AllowanceRead;
pub(crate) use refresh::{Refreshed, Refreshing};
pub(crate) use request_options::RequestOptions;
pub(crate) use save::Saving;
pub(crate) use state::{Picked, Refusal, Said, Suspect, Wakeup};

type BoxVault = BoxCloneService<VaultRequest, VaultResponse, VaultError>;

/// The credentials of one provider and namespace, with their order, cooldowns and health. Kept in memory for requests,
/// and saved in a vault. Cheap to clone; every clone is the same pool.
///
/// Renewals and saves run in tasks of their own. [Close](Self::close) the pool before the program ends, also on a
/// signal: a renewal that is aborted loses its account.
///
/// ```
/// use tower_credentials::provider::GenericProvider;
/// use tower_credentials::vault::{MemoryVault, VaultExt};
/// use tower_credentials::{Credential, Pool, PoolKey, Secret};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let vault = MemoryVault::new();
/// for (label, key) in [("work", "sk-1"), ("spare", "sk-2")] {
///     vault.put(Credential::new(PoolKey::new("example"), label, Secret::api_key(key))).await?;
/// }
/// let provider = GenericProvider::bearer("example").origin("https://api.example.com")?;
/// let pool = Pool::builder(provider, vault).open().await?;
/// assert_eq!(pool.status()[0].credential.label.as_ref(), "work");
/// # Ok::<(), tower_credentials::BoxError>(()) })?;
/// # Ok::<(), tower_credentials::BoxError>(())
/// ```
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    key: PoolKey,
    provider: Box<dyn Provider>,
    config: Config,
    credential_headers: CredentialHeaderNames,
    /// Locked only to clone it, since a service need not be `Sync`.
    vault: Mutex<BoxVault>,
    state: Mutex<PoolState>,
    published: PublishedPick,
    size: AtomicU64,
    logical_clock: LogicalClock,
    penalties: PenaltyCount,
    /// Whether outcomes must be saved.
    unsaved: AtomicBool,
    saver: Mutex<save::Saver>,
    last_responses: LastResponses,
    sample_period: SamplePeriod,
    /// Whether the limit headers of each response are read, since somebody depends on them or nothing counts periods.
    reads_each_allowance: bool,
    /// The response headers that say which quota an API key takes from.
    quota_headers: Vec<HeaderName>,
    mints: Mints,
    /// The refresher of one of the layers.
    known_refresher: Mutex<Option<KnownRefresher>>,
    /// Whether the log says already that no refresher is known.
    lacks_refresher: AtomicBool,
    /// Whether a layer saves for the pool.
    saves: AtomicBool,
    /// Notified when a new token, or the end of a renewal, may change what must be renewed next.
    renewals: watch::Sender<()>,
    /// Whether the pool is being closed, so that no refresh starts.
    closing: watch::Sender<bool>,
    tally: Tally,
    contact: Mutex<VaultContact>,
    #[cfg(feature = "metrics")]
    publisher: Option<crate::metrics::Publisher>,
}

/// The status of one credential of a pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CredentialStatus {
    /// The credential.
    pub credential: Metadata,
    /// Its cooldowns, failures and health, whether it is paused, and its last response, as far as this process knows
    /// them, saved or not. Limits that other accounts of its [quota](Standing::shared_quota) have met are among the
    /// cooldowns.
    pub standing: Standing,
    /// When its token expires, if that is known. A token that can be renewed is renewed before.
    pub expires_at: Option<Timestamp>,
}

impl CredentialStatus {
    /// Returns how long it still cools down for requests without a scope; zero if it does not. A credential that is
    /// paused or needs a sign-in may have a zero here, too.
    pub fn ready_in(&self, now: Timestamp) -> Duration {
        self.standing.cooldown(None).map_or(Duration::ZERO, |cooldown| cooldown.until.since(now))
    }
}

impl Pool {
    /// Configures a pool of the provider's credentials in this vault.
    pub fn builder(provider: impl Provider, vault: impl crate::vault::Vault) -> PoolBuilder {
        PoolBuilder::new(Box::new(provider), vault)
    }

    /// Returns the pool's key.
    pub fn key(&self) -> &PoolKey {
        &self.0.key
    }

    /// Returns the status of each credential, first to last.
    pub fn status(&self) -> Vec<CredentialStatus> {
        let now = self.now();
        self.with_state(|state, _| {
            let status = |slot: SlotIndex| {
                let (lease, standing) = (&state.slots[slot].lease, state.slots[slot].seen_standing());
                let saved = standing.last_response.filter(|response| response.is_believable(now));
                let last_response = saved.max(self.0.last_responses.get(slot, now));
                let standing = Standing { last_response, ..standing };
                let (credential, expires_at) = (lease.credential().clone(), lease.expires_at());
                CredentialStatus { credential, standing, expires_at }
            };
            state.in_order().into_iter().map(status).collect()
        })
    }

    /// Returns the credential that a request without options would use now, or `None` if it would wait or fail. Does
    /// not advance a round robin.
    pub fn active(&self) -> Option<CredentialId> {
        let now = self.now();
        self.with_state(|state, config| {
            let slot = state.active(None, config, now)?;
            Some(state.slots[slot].lease.credential().id)
        })
    }

    /// Returns how often things happened since the pool was opened.
    pub fn counters(&self) -> Counters {
        let now = self.now();
        self.0.tally.read(|| {
            self.with_state(|state, _| {
                let count = |slot: &Slot| {
                    let cooling = slot.cooling_time.up_to(now);
                    slot.lease.stats().read(slot.lease.credential().id, cooling)
                };
                state.slots.iter().map(count).collect()
            })
        })
    }

    /// Returns a stream of the pool's events from now on. There may be several. As long as there is none, events cost a
    /// request one read of an atomic number.
    pub fn events(&self) -> EventStream {
        self.0.config.observer.stream(self.0.config.clock.clone())
    }

    /// Returns a stream of what a sieve makes of the events from now on.
    #[cfg_attr(not(feature = "file"), expect(dead_code, reason = "the history alone has a sieve"))]
    pub(crate) fn sieved_events(
        &self,
        sieve: impl Fn(&Event) -> Option<Event> + Send + Sync + 'static,
    ) -> EventStream {
        self.0.config.observer.sieved(self.0.config.clock.clone(), sieve)
    }

    /// Returns the time on the pool's clock.
    pub fn now(&self) -> Timestamp {
        self.0.config.clock.now()
    }

    /// Renews a credential's secret now, whatever is left of it, and returns whether there is a new one.
    ///
    /// This is the same renewal that a request with an expired token waits for: one for all requests and processes, saved
    /// before anyone uses it. There is none if a renewal failed a moment ago. The pool's [events](crate::events) say why one
    /// failed.
    ///
    /// # Errors
    /// The same as for [`reset`](Self::reset).
    pub async fn renew(
        &self,
        id: CredentialId,
        refresher: impl Into<Refresher>,
    ) -> Result<bool, VaultError> {
        let found =
            self.with_state(|state, _| state.find(id).map(|slot| state.slots[slot].lease.clone()));
        let lease = found.ok_or(VaultError::NotFound(id))?;
        let refreshed = self.refresh(&lease, &refresher.into(), true).await;
        self.save().await?;
        Ok(matches!(refreshed, Refreshed::New(_)))
    }

    fn vault(&self) -> BoxVault {
        self.0.vault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads or changes the state, and publishes the credential that a request without options takes from now on.
    fn with_state<T>(&self, work: impl FnOnce(&mut PoolState, &Config) -> T) -> T {
        let mut state: MutexGuard<'_, PoolState> =
            self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut state, &self.0.config);
        if self.0.config.picks_without_lock() {
            let (lease, until) = state.pick_to_publish();
            self.0.published.publish(lease, until);
        }
        if state.journal.is_urgent() {
            self.0.unsaved.store(true, Ordering::Release);
        }
        result
    }

    pub(crate) fn emit(&self, numbers: Numbers, kind: EventKind) {
        self.0.config.observer.emit(self.now(), numbers, kind);
    }

    /// Emits an event that the log has as information. If nobody sees it, it is not even made: a rotation has three.
    #[inline]
    pub(crate) fn emit_seen(&self, numbers: Numbers, kind: impl FnOnce() -> EventKind) {
        if self.0.config.observer.sees_changes() {
            self.emit(numbers, kind());
        }
    }

    /// Returns the number of a request that begins, if somebody observes it.
    #[inline]
    pub(crate) fn number_request(&self) -> Option<NonZeroU64> {
        self.0.config.observer.number_request()
    }

    pub(crate) fn is_observed(&self) -> bool {
        self.0.config.observer.is_set()
    }

    /// Returns whether the duration of each attempt is counted.
    #[inline]
    pub(crate) fn times_attempts(&self) -> bool {
        self.0.config.times_attempts
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// Returns the refresher that renews tokens ahead of their expiry.
    pub(crate) fn refresher(&self) -> Option<Refresher> {
        self.0.config.refresher.clone()
    }

    pub(crate) fn provider(&self) -> &dyn Provider {
        &*self.0.provider
    }

    /// Returns how many credentials the pool has.
    pub(crate) fn size(&self) -> u32 {
        u32::try_from(self.0.size.load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }

    /// Returns the time on the pool's logical clock, for an attempt that begins now.
    #[inline]
    pub(crate) fn logical_time(&self) -> LogicalTime {
        self.0.logical_clock.now()
    }

    /// Returns the kind of the credential that a request without options takes, or would take once one is ready.
    #[cfg(feature = "discovery")]
    pub(crate) fn next_kind(&self) -> Option<crate::Kind> {
        let now = self.now();
        self.with_state(|state, config| {
            let slot = state.active(None, config, now).or_else(|| state.first_allowed(config))?;
            Some(state.slots[slot].lease.credential().kind)
        })
    }

    /// Removes the pool's secrets from a text.
    #[cfg(feature = "discovery")]
    pub(crate) fn redact(&self, text: &str) -> String {
        self.with_state(|state, _| {
            state.slots.iter().fold(text.to_owned(), |text, slot| slot.lease.redact(&text))
        })
    }

    /// Returns when the next credential is ready for requests of this scope, and whether an upstream has stated that
    /// time.
    pub(crate) fn next_ready(&self, scope: Option<&Scope>) -> Option<(Timestamp, bool)> {
        let now = self.now();
        self.with_state(|state, config| state.next_ready(scope, config, now))
    }

    /// Returns a number that identifies this pool while it lives.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    pub(crate) fn exposes_attempts(&self) -> bool {
        self.0.config.exposes_attempts
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("key", &self.0.key).field("status", &self.status()).finish()
    }
}

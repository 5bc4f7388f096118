//! The credentials of one provider and namespace, of which each request takes one.

mod affinity;
mod answers;
mod book;
mod builder;
mod config;
mod header_names;
mod journal;
mod lane;
mod lease;
pub mod policy;
mod refresh;
mod save;
mod sync;
mod wish;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, Uri};
use tokio::sync::watch;
use tower::util::BoxCloneService;

use crate::clock::Timestamp;
use crate::credential::{CredentialId, Metadata, PoolKey};
use crate::error::Error;
use crate::events::{Counters, Event, Tally};
use crate::provider::{Answer, Finding, Provider};
use crate::rate_limit;
use crate::standing::{Change, Health, Reason, Scope, Standing};
use crate::vault::{VaultError, VaultRequest, VaultResponse};

use answers::Answers;
use book::{Book, Hold, Lesson, Slot};
use config::Config;
use header_names::CredentialHeaderNames;
use lease::BlemishCount;

pub use builder::PoolBuilder;
pub use config::{Cooldowns, Mode, WhenAllCoolingDown};
pub use lease::Lease;
pub use refresh::{RefreshError, Refresher};
pub use wish::{Affinity, Pin};

pub(crate) use book::Picked;
pub(crate) use lane::SlotIndex;
pub(crate) use refresh::Refreshing;
pub(crate) use save::Saving;
pub(crate) use wish::Wish;

type BoxVault = BoxCloneService<VaultRequest, VaultResponse, VaultError>;

/// The credentials of one provider and namespace: their order, their cooldowns and their health, kept
/// in memory for requests and in a vault for ever. Cheap to clone; every clone is the same pool.
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
    /// Behind a lock for its clones only: a service need not be `Sync`.
    vault: Mutex<BoxVault>,
    book: Mutex<Book>,
    head: Head,
    size: AtomicU64,
    tick: Arc<AtomicU64>,
    blemishes: BlemishCount,
    /// Whether the book has outcomes that no vault has.
    unsaved: AtomicBool,
    saver: Mutex<save::Saver>,
    answers: Answers,
    /// Whether a layer saves what the pool learns.
    saves: AtomicBool,
    /// Tells the task that renews tokens ahead that they have changed, and its end.
    renewals: watch::Sender<()>,
    tally: Tally,
}

/// What a request without a wish takes, published so that it is read without a lock.
struct Head {
    lease: ArcSwapOption<Lease>,
    /// Grows with each lease that is published.
    version: AtomicU64,
    /// From when on another credential may be the right one, in milliseconds since the epoch.
    until: AtomicU64,
}

/// What a service knows of a pool's head, so that it need not be read for each request.
#[derive(Clone, Default)]
pub(crate) struct KnownHead {
    version: u64,
    lease: Option<Lease>,
}

/// How one credential of a pool stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CredentialStatus {
    /// Which.
    pub credential: Metadata,
    /// Its cooldowns, failures and health, whether it is paused, and its latest answer: all that is known
    /// here, saved or not.
    pub standing: Standing,
}

impl CredentialStatus {
    /// How long it still cools down for requests of no scope; zero where it does not. Whether it is paused, or
    /// needs a sign-in, is not a matter of time.
    pub fn ready_in(&self, now: Timestamp) -> Duration {
        self.standing.cooldown(None).map_or(Duration::ZERO, |cooldown| cooldown.until.since(now))
    }
}

/// A use of a credential that is counted; given back on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    pool: Pool,
    hold: Hold,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = self.pool.now();
        self.pool.with_book(|book, config| book.release(self.hold, config, now));
    }
}

impl Pool {
    /// A pool of the provider's credentials in this vault.
    pub fn builder(provider: impl Provider, vault: impl crate::vault::Vault) -> PoolBuilder {
        PoolBuilder::new(Box::new(provider), vault)
    }

    /// Which pool this is.
    pub fn key(&self) -> &PoolKey {
        &self.0.key
    }

    /// The credentials, first to last, and how each stands.
    pub fn status(&self) -> Vec<CredentialStatus> {
        let now = self.now();
        self.with_book(|book, _| {
            let status = |slot: SlotIndex| {
                let Slot { lease, standing, .. } = &book.slots[slot];
                let saved = answers::believed(standing.last_answer, now);
                let last_answer = saved.max(self.0.answers.get(slot, now));
                let standing = Standing { last_answer, ..standing.clone() };
                CredentialStatus { credential: lease.credential().clone(), standing }
            };
            book.in_order().into_iter().map(status).collect()
        })
    }

    /// The credential that a request without wishes would take now. `None` where it would wait or fail. To
    /// ask changes nothing: a round robin goes on where it was.
    pub fn active(&self) -> Option<CredentialId> {
        let now = self.now();
        self.with_book(|book, config| {
            let slot = book.active(config, now)?;
            Some(book.slots[slot].lease.credential().id)
        })
    }

    /// How often things happened since the pool was opened.
    pub fn counters(&self) -> Counters {
        self.0.tally.read()
    }

    /// The time by the pool's clock.
    pub fn now(&self) -> Timestamp {
        self.0.config.clock.now()
    }

    /// Clears a credential's cooldowns and failures, as a person may who knows better; one that is paused
    /// stays so. Saved at once.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] where the pool has no such credential.
    pub async fn reset(&self, id: CredentialId) -> Result<(), VaultError> {
        self.decree(id, Change::Reset)?;
        self.save().await;
        Ok(())
    }

    /// Takes a credential out of use until [`resume`](Self::resume): no request takes it, not even one that
    /// is pinned to it, and it is not renewed ahead of its expiry. Requests that are under way with it go on.
    /// No success, no new sign-in and no [`reset`](Self::reset) ends that. Saved at once.
    ///
    /// In [`Mode::Auto`] paused accounts still count as accounts: API keys do not take their place.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] where the pool has no such credential.
    pub async fn pause(&self, id: CredentialId) -> Result<(), VaultError> {
        if let Some(lease) = self.decree(id, Change::Paused)? {
            self.emit(&Event::Paused { credential: lease.credential() });
        }
        self.save().await;
        Ok(())
    }

    /// Puts a credential to use again that was paused. Saved at once.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] where the pool has no such credential.
    pub async fn resume(&self, id: CredentialId) -> Result<(), VaultError> {
        if let Some(lease) = self.decree(id, Change::Resumed)? {
            self.emit(&Event::Resumed { credential: lease.credential() });
            // Its token may be due.
            self.0.renewals.send_replace(());
        }
        self.save().await;
        Ok(())
    }

    /// Makes a change by a person's word; whose that is, where it is news here. It is passed on where it is
    /// none, too: what is known of another process's word is up to a second old.
    fn decree(&self, id: CredentialId, change: Change) -> Result<Option<Lease>, VaultError> {
        let now = self.now();
        self.with_book(|book, config| {
            let slot = book.find(id).ok_or(VaultError::NotFound(id))?;
            let before = book.slots[slot].standing.clone();
            book.change(slot, change, config, now);
            let Slot { lease, standing, .. } = &book.slots[slot];
            Ok((*standing != before).then(|| lease.clone()))
        })
    }

    fn vault(&self) -> BoxVault {
        self.0.vault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads or changes the book, and publishes what a plain pick takes from now on.
    fn with_book<T>(&self, work: impl FnOnce(&mut Book, &Config) -> T) -> T {
        let mut book: MutexGuard<'_, Book> = self.0.book.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut book, &self.0.config);
        if self.0.config.picks_without_lock() {
            let (lease, until) = book.head();
            self.0.head.publish(lease, until);
        }
        if book.journal.is_urgent() {
            self.0.unsaved.store(true, Ordering::Release);
        }
        result
    }

    pub(crate) fn emit(&self, event: &Event<'_>) {
        self.0.config.observer.emit(event);
    }

    pub(crate) fn is_observed(&self) -> bool {
        self.0.config.observer.is_set()
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// What renews the tokens ahead of their expiry.
    pub(crate) fn refresher(&self) -> Option<Refresher> {
        self.0.config.refresher.clone()
    }

    pub(crate) fn provider(&self) -> &dyn Provider {
        &*self.0.provider
    }

    /// How many credentials the pool has.
    pub(crate) fn size(&self) -> u32 {
        u32::try_from(self.0.size.load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }

    /// The moment on the pool's own count of cooldowns, to judge by what came before what.
    pub(crate) fn tick(&self) -> u64 {
        self.0.tick.load(Ordering::Acquire)
    }

    /// The credential for a request's first attempt.
    pub(crate) fn pick_first(
        &self,
        wish: &Wish,
        known: &mut KnownHead,
        patience: Option<Timestamp>,
    ) -> Result<(Picked, Option<Permit>), Error> {
        if wish.is_none()
            && let Some(lease) = self.0.head.read(&self.0.config, known)
        {
            return Ok((Picked::Lease { lease, hold: None, expired: false }, None));
        }
        let now = self.now();
        let picked =
            self.with_book(|book, config| book.pick_first(self.key(), wish, config, now, patience))?;
        Ok(self.hold(picked))
    }

    /// Another credential for the same request.
    pub(crate) fn pick_next(&self, tried: &[SlotIndex], wish: &Wish) -> (Picked, Option<Permit>) {
        let now = self.now();
        self.hold(self.with_book(|book, config| book.pick_next(tried, wish, config, now)))
    }

    fn hold(&self, picked: Picked) -> (Picked, Option<Permit>) {
        let permit = match picked {
            Picked::Lease { hold: Some(hold), .. } => Some(Permit { pool: self.clone(), hold }),
            _ => None,
        };
        (picked, permit)
    }

    /// How long a request may wait for its first credential, where that is bounded.
    pub(crate) fn patience(&self) -> Option<Timestamp> {
        match self.0.config.when_all_cooling_down {
            WhenAllCoolingDown::WaitUpTo(bound) => Some(self.now().after(bound)),
            _ => None,
        }
    }

    /// Whether this status says that the account has had enough.
    pub(crate) fn is_limited(&self, status: http::StatusCode) -> bool {
        self.0.config.cooldowns.is_limited(status)
    }

    /// What an answer that isn't a success says of its account.
    pub(crate) fn read(&self, status: http::StatusCode, headers: &HeaderMap, body: &[u8]) -> Finding {
        self.0.provider.read(&Answer::new(status, headers, self.now()).body(body))
    }

    /// An attempt came back with a status that says the account has had enough, and when to ask again
    /// where that was stated.
    pub(crate) fn limited(
        &self,
        lease: &Lease,
        began: u64,
        scope: Option<&Scope>,
        stated: Option<Timestamp>,
    ) {
        let now = self.now();
        let lesson = Lesson { lease, began, scope, now };
        let until = self.with_book(|book, config| book.limited(&lesson, stated, config));
        self.emit_cooled_down(&lesson, until, Reason::Limited);
    }

    /// The upstream says that the account's owner has to act. An answer to an older secret says nothing of
    /// the present one.
    pub(crate) fn stopped(&self, lease: &Lease, reason: &str) {
        let now = self.now();
        let reason = lease.redact(reason);
        let generation = lease.credential().generation;
        let is_news = self.with_book(|book, config| {
            let slot = &book.slots[lease.slot()];
            let is_news = slot.is_of(lease) && !slot.needs_sign_in();
            if is_news {
                let health = Health::NeedsSignIn { reason: reason.clone(), generation };
                book.change(lease.slot(), Change::Health(health), config, now);
            }
            is_news
        });
        if is_news {
            self.emit(&Event::NeedsSignIn { credential: lease.credential(), reason: &reason });
        }
    }

    /// An attempt was refused, and no refresh helped.
    pub(crate) fn refused(&self, lease: &Lease, began: u64) {
        let lesson = Lesson { lease, began, scope: None, now: self.now() };
        let until = self.with_book(|book, config| book.refused(&lesson, config));
        self.emit_cooled_down(&lesson, until, Reason::Refused);
    }

    /// An attempt came back well. Takes a lock only where that changes something.
    pub(crate) fn succeeded(
        &self,
        lease: &Lease,
        began: u64,
        scope: Option<&Scope>,
        headers: &HeaderMap,
    ) {
        if lease.blemish().is_set() {
            let lesson = Lesson { lease, began, scope, now: self.now() };
            if self.with_book(|book, config| book.succeeded(&lesson, config)) {
                self.emit(&Event::Recovered { credential: lease.credential() });
            }
        }
        let reads_all = self.0.config.policy.reads_allowance();
        if !reads_all && !self.may_be_used_up(headers) {
            return;
        }
        let lesson = Lesson { lease, began, scope, now: self.now() };
        let Some(allowance) = rate_limit::allowance(headers, lesson.now) else { return };
        if reads_all || allowance.used_up_until.is_some() {
            let until = self.with_book(|book, config| book.allowance(&lesson, allowance, config));
            self.emit_cooled_down(&lesson, until, Reason::UsedUp);
        }
    }

    /// Whether a good answer with these headers may change anything, or somebody wants to know of it.
    #[inline]
    pub(crate) fn learns_from_good(&self, headers: &HeaderMap) -> bool {
        self.is_observed()
            || self.0.blemishes.any()
            || self.0.config.max_in_flight.is_some()
            || self.0.config.policy.reads_allowance()
            || self.may_be_used_up(headers)
    }

    fn may_be_used_up(&self, headers: &HeaderMap) -> bool {
        self.0.config.cooldowns.heeds_allowance() && rate_limit::may_be_used_up(headers)
    }

    fn emit_cooled_down(&self, lesson: &Lesson<'_>, until: Option<Timestamp>, reason: Reason) {
        if let Some(until) = until {
            self.emit(&Event::CooledDown {
                credential: lesson.lease.credential(),
                until,
                wait: until.since(lesson.now),
                reason,
                scope: lesson.scope,
            });
        }
    }

    /// Of what kind the credential is that a request without a wish takes, or would take once it is ready.
    #[cfg(feature = "discovery")]
    pub(crate) fn next_kind(&self) -> Option<crate::Kind> {
        let now = self.now();
        self.with_book(|book, config| {
            let slot = book.active(config, now).or_else(|| book.first_allowed(config))?;
            Some(book.slots[slot].lease.credential().kind)
        })
    }

    /// A text without what of it is a secret of the pool's.
    #[cfg(feature = "discovery")]
    pub(crate) fn redact(&self, text: &str) -> String {
        self.with_book(|book, _| {
            book.slots.iter().fold(text.to_owned(), |text, slot| slot.lease.redact(&text))
        })
    }

    /// When the next credential is ready for requests of this scope.
    pub(crate) fn next_ready(&self, scope: Option<&Scope>) -> Option<Timestamp> {
        let now = self.now();
        self.with_book(|book, _| book.next_ready(scope, now))
    }

    /// How long this credential still cools down for requests of this scope.
    pub(crate) fn cooling_for(&self, lease: &Lease, scope: Option<&Scope>) -> Duration {
        let now = self.now();
        self.with_book(|book, _| book.slots[lease.slot()].cools_until(scope).since(now))
    }

    /// Whether a newer secret than this lease's is known.
    pub(crate) fn has_newer(&self, lease: &Lease) -> bool {
        self.with_book(|book, _| !book.slots[lease.slot()].is_of(lease))
    }

    /// Whether the secret of this lease was refused with a 403 when it was fresh: no refresh helps then.
    pub(crate) fn is_forbidden(&self, lease: &Lease) -> bool {
        let generation = lease.credential().generation;
        self.with_book(|book, _| book.slots[lease.slot()].forbidden == Some(generation))
    }

    pub(crate) fn set_forbidden(&self, lease: &Lease) {
        let generation = lease.credential().generation;
        self.with_book(|book, _| book.slots[lease.slot()].forbidden = Some(generation));
    }

    /// What tells this pool's requests from another's, while it lives.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    pub(crate) fn exposes_attempts(&self) -> bool {
        self.0.config.exposes_attempts
    }

    /// Removes whatever credential a request carries, the caller's or ours.
    pub(crate) fn remove_credentials(&self, headers: &mut HeaderMap) {
        self.0.credential_headers.remove_from(headers);
    }

    /// Refuses a request of nobody's that carries a credential of this pool: it has lost its context.
    pub(crate) fn check_unmarked(&self, headers: &HeaderMap) -> Result<(), Error> {
        for value in self.0.credential_headers.sensitive(headers) {
            let carries = |slot: &Slot| slot.lease.headers().iter().any(|(_, ours)| ours == value);
            if self.with_book(|book, _| book.slots.iter().any(carries)) {
                return Err(Error::LostContext { pool: self.key().clone() });
            }
        }
        Ok(())
    }

    /// Refuses a request that may carry no credential of this pool. Whether the provider trusts where it
    /// goes; else it is the endpoint of one credential or another.
    pub(crate) fn check_origin(&self, uri: &Uri) -> Result<bool, Error> {
        if self.0.provider.trusts(uri) {
            return Ok(true);
        }
        let goes_there = |slot: &Slot| {
            slot.live && slot.lease.endpoint().is_some_and(|endpoint| endpoint.contains(uri))
        };
        if self.with_book(|book, _| book.slots.iter().any(goes_there)) {
            return Ok(false);
        }
        Err(self.untrusted(uri))
    }

    /// Refuses a request that may not carry this credential.
    pub(crate) fn check_carries(&self, lease: &Lease, uri: &Uri) -> Result<(), Error> {
        let is_own = lease.endpoint().is_some_and(|endpoint| endpoint.contains(uri));
        if is_own || self.0.provider.trusts(uri) { Ok(()) } else { Err(self.untrusted(uri)) }
    }

    fn untrusted(&self, uri: &Uri) -> Error {
        let origin = match (uri.scheme_str(), uri.authority()) {
            (Some(scheme), Some(authority)) => {
                // Without a user's name and password, which an error must not tell.
                let authority = authority.as_str().rsplit('@').next().unwrap_or_default();
                format!("{scheme}://{authority}")
            }
            _ => "a URI without a host".to_owned(),
        };
        Error::UntrustedOrigin { origin, provider: self.0.provider.name().to_owned() }
    }
}

impl Head {
    fn new() -> Self {
        Self { lease: ArcSwapOption::empty(), version: AtomicU64::new(0), until: AtomicU64::new(0) }
    }

    fn publish(&self, lease: Option<&Lease>, until: Timestamp) {
        self.until.store(until.as_millis(), Ordering::Release);
        let known = self.lease.load();
        let same = match (known.as_deref(), lease) {
            (Some(known), Some(lease)) => known.ptr_eq(lease),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.lease.store(lease.cloned().map(Arc::new));
            // After the lease, so that whoever sees the number finds that lease or a later one.
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// The published lease, while it holds. The clock is read only if something cools down.
    fn read(&self, config: &Config, known: &mut KnownHead) -> Option<Lease> {
        let until = self.until.load(Ordering::Acquire);
        if until != u64::MAX && config.clock.now().as_millis() >= until {
            return None;
        }
        let version = self.version.load(Ordering::Acquire);
        if known.lease.is_none() || known.version != version {
            *known = KnownHead { version, lease: self.lease.load().as_deref().cloned() };
        }
        known.lease.clone()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("key", &self.0.key).field("status", &self.status()).finish()
    }
}

//! What a pool can be told.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::policy::{Policy, Sticky};
use super::refresh::Refresher;
use crate::clock::{Clock, Timestamp};
use crate::credential::Kind;
use crate::events::Observer;

/// Which kinds of credentials a pool uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// OAuth accounts if there are any, else API keys.
    #[default]
    Auto,
    /// API keys only.
    Api,
    /// OAuth accounts only.
    Subscription,
    /// OAuth accounts and API keys alike. Their [tiers](crate::standing::Standing::tier) say which come first: the
    /// accounts, unless a person says otherwise.
    All,
}

impl Mode {
    /// All of them.
    pub const VALUES: [Self; 4] = [Self::Auto, Self::Api, Self::Subscription, Self::All];

    /// What it is called in settings: `auto`, `api`, `subscription` or `all`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Auto => "auto",
            Mode::Api => "api",
            Mode::Subscription => "subscription",
            Mode::All => "all",
        }
    }

    /// Whether requests use a credential of this kind, in a pool that holds OAuth accounts or does not. One that is
    /// paused, needs a sign-in or can't be read counts as held: an API key is never billed in its place.
    pub fn allows(self, kind: Kind, has_oauth: bool) -> bool {
        let oauth = Self::is_oauth(kind);
        match self {
            Mode::Auto => oauth == has_oauth,
            Mode::Api => !oauth,
            Mode::Subscription => oauth,
            Mode::All => true,
        }
    }

    pub(crate) fn is_oauth(kind: Kind) -> bool {
        matches!(kind, Kind::OAuth | Kind::Mcp)
    }

    /// What a pool of this mode wants, in words.
    pub(crate) fn wanted(self) -> &'static str {
        match self {
            Mode::Auto | Mode::All => "credential",
            Mode::Api => "API key",
            Mode::Subscription => "OAuth account",
        }
    }
}

/// What to do when every credential is cooling down before a request's first attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenAllCoolingDown {
    /// Try the one that is ready soonest; of requests at once, each another one while there are any.
    #[default]
    TrySoonest,
    /// Fail with [`Error::AllCoolingDown`](crate::Error::AllCoolingDown), which
    /// [`ErrorResponseLayer`](crate::ErrorResponseLayer) makes a 429 with a `retry-after`.
    Fail,
    /// Wait for the first to be ready if that takes no longer than this; else fail as above.
    WaitUpTo(Duration),
}

/// How long credentials cool down, and for what.
///
/// ```
/// use std::time::Duration;
/// use tower_credentials::Cooldowns;
///
/// let cooldowns = Cooldowns::default().limited(Duration::from_secs(10)).jitter(0.0);
/// ```
#[derive(Clone)]
pub struct Cooldowns {
    limited: Duration,
    refused: Duration,
    cap: Duration,
    growth: f64,
    jitter: f64,
    heed_allowance: bool,
    statuses: Statuses,
}

#[derive(Clone)]
enum Statuses {
    Usual,
    Custom(Arc<dyn Fn(StatusCode) -> bool + Send + Sync>),
}

impl Default for Cooldowns {
    fn default() -> Self {
        Self {
            limited: Duration::from_secs(30),
            refused: Duration::from_secs(300),
            cap: Duration::from_secs(3600),
            growth: 2.0,
            jitter: 0.1,
            heed_allowance: true,
            statuses: Statuses::Usual,
        }
    }
}

/// How long one cools down at least that is limited again right after a time that its answer has stated.
const LEAST: Duration = Duration::from_secs(1);

impl Cooldowns {
    /// How long a limited credential cools down if the answer names no time: 30 s unless set, and up to 10 % more at random
    /// ([`jitter`](Self::jitter)). Each failure in a row doubles it ([`growth`](Self::growth)).
    #[must_use]
    pub fn limited(mut self, duration: Duration) -> Self {
        self.limited = duration;
        self
    }

    /// How long a credential cools down that was refused and could not be helped by a refresh, if another one was
    /// answered well in the same request: 5 min unless set.
    #[must_use]
    pub fn refused(mut self, duration: Duration) -> Self {
        self.refused = duration;
        self
    }

    /// The longest cooldown that is guessed: one hour unless set. What the upstream states is believed
    /// up to [`rate_limit::MAX_STATED`](crate::rate_limit::MAX_STATED).
    #[must_use]
    pub fn cap(mut self, duration: Duration) -> Self {
        self.cap = duration;
        self
    }

    /// By what a guessed cooldown is multiplied with each failure in a row: 2 unless set, at least 1.
    #[must_use]
    pub fn growth(mut self, factor: f64) -> Self {
        self.growth = if factor.is_finite() { factor.max(1.0) } else { 1.0 };
        self
    }

    /// By what part a guessed cooldown of a limit is prolonged at most, at random, so that clients
    /// don't come back all at once: 0.1 unless set; from 0 to 1.
    #[must_use]
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
        self
    }

    /// Whether a good response that says the allowance is used up (remaining 0, with a time of reset)
    /// cools the credential down before the next request runs into a 429: so unless switched off.
    #[must_use]
    pub fn heed_allowance(mut self, heed: bool) -> Self {
        self.heed_allowance = heed;
        self
    }

    /// Which statuses say that the account has had enough, so that it cools down and the request is
    /// rotated: 429 and 402 unless set. A 503 or 529 is the upstream's trouble, not the account's.
    #[must_use]
    pub fn limited_statuses(
        mut self,
        is_limited: impl Fn(StatusCode) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.statuses = Statuses::Custom(Arc::new(is_limited));
        self
    }

    pub(crate) fn is_limited(&self, status: StatusCode) -> bool {
        match &self.statuses {
            Statuses::Usual => {
                status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::PAYMENT_REQUIRED
            }
            Statuses::Custom(is_limited) => is_limited(status),
        }
    }

    pub(crate) fn heeds_allowance(&self) -> bool {
        self.heed_allowance
    }

    /// Until when a limit of concurrency holds that names no time.
    pub(crate) fn unstated(&self, now: Timestamp) -> Timestamp {
        self.guess(now, self.limited, 0, 0.0)
    }

    /// The guess for a limit that names no time, after this many failures in a row. `random` is from
    /// 0 to 1.
    pub(crate) fn guess_limited(&self, now: Timestamp, failures: u32, random: f64) -> Timestamp {
        self.guess(now, self.limited, failures, self.jitter * random)
    }

    /// Until when one that is limited again after this many failures in a row cools down at least, whatever its answer
    /// states: after each `retry-after: 0` that was not true, a second, two, four, and so on up to a guess's time.
    pub(crate) fn least(&self, now: Timestamp, failures: u32) -> Timestamp {
        let Some(exponent) = failures.checked_sub(1) else { return now };
        let floor = self.guess(now, LEAST, exponent, 0.0);
        floor.min(now.after(self.limited))
    }

    /// No guess is longer than this.
    pub(crate) fn longest(&self) -> Duration {
        self.cap
    }

    pub(crate) fn guess_refused(&self, now: Timestamp, failures: u32) -> Timestamp {
        self.guess(now, self.refused, failures, 0.0)
    }

    fn guess(&self, now: Timestamp, base: Duration, failures: u32, prolong: f64) -> Timestamp {
        if base.is_zero() {
            // Not zero times what has grown without bound.
            return now;
        }
        let exponent = i32::try_from(failures).unwrap_or(i32::MAX);
        let seconds = base.as_secs_f64() * self.growth.powi(exponent) * (1.0 + prolong);
        // `min` also takes the cap where the growth has become infinite.
        let seconds = seconds.min(self.cap.as_secs_f64());
        now.after(Duration::try_from_secs_f64(seconds).unwrap_or(self.cap))
    }
}

impl fmt::Debug for Cooldowns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cooldowns")
            .field("limited", &self.limited)
            .field("refused", &self.refused)
            .field("cap", &self.cap)
            .field("growth", &self.growth)
            .field("jitter", &self.jitter)
            .field("heed_allowance", &self.heed_allowance)
            .finish_non_exhaustive()
    }
}

/// All of a pool's settings.
pub(crate) struct Config {
    pub(crate) mode: Mode,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) cooldowns: Cooldowns,
    pub(crate) when_all_cooling_down: WhenAllCoolingDown,
    pub(crate) max_in_flight: Option<NonZeroU32>,
    pub(crate) clock: Clock,
    pub(crate) observer: Observer,
    pub(crate) exposes_attempts: bool,
    /// How often the pool looks for what others have changed; never where this is `None`.
    pub(crate) sync_every: Option<Duration>,
    /// How often the latest answers are saved by themselves; never where this is `None`.
    pub(crate) save_last_responses_every: Option<Duration>,
    /// What renews tokens ahead of their expiry.
    pub(crate) refresher: Option<Refresher>,
    /// How long requests wait for a refresh; as long as it takes where this is `None`.
    pub(crate) renewal_patience: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            policy: Box::new(Sticky),
            cooldowns: Cooldowns::default(),
            when_all_cooling_down: WhenAllCoolingDown::default(),
            max_in_flight: None,
            clock: Clock::default(),
            observer: Observer::default(),
            exposes_attempts: false,
            sync_every: Some(Duration::from_secs(1)),
            save_last_responses_every: Some(Duration::from_secs(60)),
            refresher: None,
            renewal_patience: Some(Duration::from_secs(30)),
        }
    }
}

impl Config {
    /// Whether an answer gets its time from the task that syncs the pool. A clock of the program's own is asked
    /// at once: it need not move with that task.
    pub(crate) fn dates_answers_later(&self) -> bool {
        self.clock.is_system() && self.sync_every.is_some_and(|every| every <= Duration::from_secs(1))
    }

    /// Whether a pick may be read from the published head: it changes nothing and counts nothing.
    pub(crate) fn picks_without_lock(&self) -> bool {
        !self.policy.moves_on_use() && self.max_in_flight.is_none()
    }
}

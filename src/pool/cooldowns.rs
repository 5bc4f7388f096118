//! How long credentials cool down, and for which statuses.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::clock::Timestamp;

/// How long credentials cool down, and for which statuses.
///
/// If the upstream states no time, a credential cools down for a default time, which grows with each consecutive
/// failure.
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
    spread: f64,
    heed_allowance: bool,
    statuses: Statuses,
}

/// From which wait on a stated time is spread, and how far at most.
const SPREAD_FROM: Duration = Duration::from_secs(60);
const LONGEST_SPREAD: Duration = Duration::from_secs(30);

#[derive(Clone)]
enum Statuses {
    Default,
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
            spread: 0.01,
            heed_allowance: true,
            statuses: Statuses::Default,
        }
    }
}

/// The minimum cooldown of a credential that is limited again right after the time that its response has stated.
const MINIMUM: Duration = Duration::from_secs(1);

impl Cooldowns {
    /// How long a limited credential cools down if the response states no time. Defaults to 30 seconds, plus up to 10
    /// % at random ([`jitter`](Self::jitter)). Each consecutive failure doubles it ([`growth`](Self::growth)).
    #[must_use]
    pub fn limited(mut self, duration: Duration) -> Self {
        self.limited = duration;
        self
    }

    /// How long a credential cools down that was refused, if no refresh helped and another credential succeeded in the
    /// same request. Defaults to five minutes.
    #[must_use]
    pub fn refused(mut self, duration: Duration) -> Self {
        self.refused = duration;
        self
    }

    /// The longest default cooldown. Defaults to one hour. A time that the upstream states may be longer, up to
    /// [`rate_limit::MAX_STATED`](crate::rate_limit::MAX_STATED).
    #[must_use]
    pub fn cap(mut self, duration: Duration) -> Self {
        self.cap = duration;
        self
    }

    /// The factor by which a default cooldown grows with each consecutive failure. Defaults to 2; at least 1.
    #[must_use]
    pub fn growth(mut self, factor: f64) -> Self {
        self.growth = if factor.is_finite() { factor.max(1.0) } else { 1.0 };
        self
    }

    /// The largest fraction of random jitter added to a limit's default cooldown, so that clients do not return all at
    /// once. From 0 to 1. Defaults to 0.1.
    #[must_use]
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
        self
    }

    /// The largest fraction of a wait that is added to a time that the upstream states, so that the accounts, programs and
    /// hosts for which it has stated the same time do not return all in one instant. It is the same for the same
    /// credential and time, in one process. From 0 to 1, and at most 30 seconds. Waits of less than a minute are
    /// kept to exactly. Defaults to 0.01; 0 keeps to all stated times exactly.
    #[must_use]
    pub fn spread(mut self, part: f64) -> Self {
        self.spread = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
        self
    }

    /// Whether a successful response that says the allowance is used up (nothing remaining, with a reset time) cools
    /// the credential down, before the next request meets a 429. Defaults to true.
    #[must_use]
    pub fn heed_allowance(mut self, heed: bool) -> Self {
        self.heed_allowance = heed;
        self
    }

    /// Which statuses mean that the account has reached a limit, so that it cools down and the request is rotated.
    /// Defaults to 429 and 402. A 503 or 529 is the upstream's trouble, not the account's: see
    /// [`PoolBuilder::rotate_overloads`](crate::PoolBuilder::rotate_overloads).
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
            Statuses::Default => {
                status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::PAYMENT_REQUIRED
            }
            Statuses::Custom(is_limited) => is_limited(status),
        }
    }

    pub(crate) fn heeds_allowance(&self) -> bool {
        self.heed_allowance
    }

    /// Returns the end of a limit of concurrency that states no time.
    pub(crate) fn default_for_concurrency(&self, now: Timestamp) -> Timestamp {
        self.grown(now, self.limited, 0, 0.0)
    }

    /// Returns the end of a limit that states no time, after this many consecutive failures. `random` is from 0 to 1.
    pub(crate) fn default_for_limit(&self, now: Timestamp, failures: u32, random: f64) -> Timestamp {
        self.grown(now, self.limited, failures, self.jitter * random)
    }

    /// Returns a stated time with a spread, so that the accounts for which it was stated do not return all at once.
    /// `part` is from 0 to 1.
    pub(crate) fn spread_out(&self, now: Timestamp, stated: Timestamp, part: f64) -> Timestamp {
        let wait = stated.since(now);
        if wait < SPREAD_FROM {
            return stated;
        }
        stated.after(wait.mul_f64(self.spread).min(LONGEST_SPREAD).mul_f64(part))
    }

    /// Returns the end of a refusal's cooldown, after this many consecutive failures.
    pub(crate) fn default_for_refusal(&self, now: Timestamp, failures: u32) -> Timestamp {
        self.grown(now, self.refused, failures, 0.0)
    }

    /// Returns the earliest end of a limit after this many consecutive failures, whatever its response states. After
    /// each `retry-after: 0` that was not true it is one second, two, four, and so on up to the default time.
    pub(crate) fn minimum(&self, now: Timestamp, failures: u32) -> Timestamp {
        let Some(exponent) = failures.checked_sub(1) else { return now };
        let minimum = self.grown(now, MINIMUM, exponent, 0.0);
        minimum.min(now.after(self.limited))
    }

    /// Returns the longest default cooldown.
    pub(crate) fn longest_default(&self) -> Duration {
        self.cap
    }

    fn grown(&self, now: Timestamp, base: Duration, failures: u32, jitter: f64) -> Timestamp {
        if base.is_zero() {
            // Zero times an infinite growth would not be a number.
            return now;
        }
        let exponent = i32::try_from(failures).unwrap_or(i32::MAX);
        let seconds = base.as_secs_f64() * self.growth.powi(exponent) * (1.0 + jitter);
        // `min` also takes the cap if the growth is infinite.
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
            .field("spread", &self.spread)
            .field("heed_allowance", &self.heed_allowance)
            .finish_non_exhaustive()
    }
}

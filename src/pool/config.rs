//! A pool's settings.

use std::num::NonZeroU32;
use std::time::Duration;

use super::cooldowns::Cooldowns;
use super::mode::Mode;
use super::policy::{Policy, Sticky};
use super::refresh::Refresher;
use crate::clock::Clock;
use crate::events::Observer;

/// What to do if every credential is cooling down before a request's first attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenAllCoolingDown {
    /// Try the one that is ready soonest. Concurrent requests each try another one while there are any.
    #[default]
    TrySoonest,
    /// Fail with [`Error::AllCoolingDown`](crate::Error::AllCoolingDown), which
    /// [`ErrorResponseLayer`](crate::ErrorResponseLayer) turns into a 429 with a `retry-after`.
    Fail,
    /// Wait until the first is ready if that takes no longer than this; else fail as above.
    WaitUpTo(Duration),
}

/// All of a pool's settings.
pub(crate) struct Config {
    pub(crate) mode: Mode,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) cooldowns: Cooldowns,
    pub(crate) when_all_cooling_down: WhenAllCoolingDown,
    /// Whether a request for which the server is too busy goes on with another credential.
    pub(crate) rotates_overloads: bool,
    pub(crate) max_in_flight: Option<NonZeroU32>,
    pub(crate) clock: Clock,
    pub(crate) observer: Observer,
    pub(crate) exposes_attempts: bool,
    pub(crate) times_attempts: bool,
    #[cfg(feature = "metrics")]
    pub(crate) metrics: Option<crate::metrics::Metrics>,
    /// How often the pool checks the vault for changes by others; `None` disables it.
    pub(crate) sync_every: Option<Duration>,
    /// How often last responses are saved if nothing else is; `None` disables it.
    pub(crate) save_last_responses_every: Option<Duration>,
    /// Renews tokens ahead of their expiry.
    pub(crate) refresher: Option<Refresher>,
    /// How long requests wait for a refresh; `None` means as long as it takes.
    pub(crate) renewal_patience: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            policy: Box::new(Sticky),
            cooldowns: Cooldowns::default(),
            when_all_cooling_down: WhenAllCoolingDown::default(),
            rotates_overloads: false,
            max_in_flight: None,
            clock: Clock::default(),
            observer: Observer::default(),
            exposes_attempts: false,
            times_attempts: false,
            #[cfg(feature = "metrics")]
            metrics: None,
            sync_every: Some(Duration::from_secs(1)),
            save_last_responses_every: Some(Duration::from_secs(60)),
            refresher: None,
            renewal_patience: Some(Duration::from_secs(30)),
        }
    }
}

impl Config {
    /// Returns whether the task that syncs the pool sets the times of responses. A clock of the program's own is read
    /// immediately, since it need not advance with that task.
    pub(crate) fn dates_responses_later(&self) -> bool {
        self.clock.is_system() && self.sync_every.is_some_and(|every| every <= Duration::from_secs(1))
    }

    /// Returns whether a pick may be read without the lock: it changes nothing and counts nothing.
    pub(crate) fn picks_without_lock(&self) -> bool {
        !self.policy.moves_on_use() && self.max_in_flight.is_none()
    }
}

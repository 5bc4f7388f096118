//! What is published at one moment: the numbers of a pool, or of each of its accounts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use metrics::SharedString;

use super::names;
use crate::clock::Timestamp;
use crate::counters::{self, Counters, CredentialCounters};
use crate::credential::CredentialId;
use crate::rate_limit::Window;

/// All that is known of a pool at one moment.
pub(crate) struct Snapshot {
    pub(crate) now: Timestamp,
    pub(crate) counters: Counters,
    /// The accounts that are in the vault.
    pub(crate) accounts: Vec<AccountGauges>,
    /// How many requests wait for an account.
    pub(crate) waiting: usize,
}

/// How an account stands.
pub(crate) struct AccountGauges {
    pub(crate) id: CredentialId,
    pub(crate) stands: Stands,
    /// How long it still cools down; `None` if it stays out of use until a person acts.
    pub(crate) cooldown: Option<Duration>,
    /// What was said of its limits, and may still be true.
    pub(crate) windows: Vec<Window>,
}

/// Whether a request can take an account.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
    Ready,
    Cooling,
    NeedsSignIn,
    /// It is paused, spent, left out or at its cap.
    Other,
}

/// One series: a name and its attributes beside those of the pool.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) account: Option<Arc<str>>,
    pub(super) attribute: Option<(&'static str, SharedString)>,
}

impl Series {
    /// Returns what a gauge is set to when nothing is known of it any more. A number of accounts is summed up, and a sum
    /// with NaN is NaN.
    pub(super) fn value_when_gone(&self) -> f64 {
        match self.name {
            names::READY | names::COOLING | names::NEEDS_SIGN_IN => 0.0,
            _ => f64::NAN,
        }
    }
}

/// How many names of windows are published. Vendors name a few; an upstream that names another one with each response
/// must not fill the recorder.
const MOST_WINDOW_NAMES: usize = 64;

/// The names of windows that were published.
#[derive(Default)]
pub(super) struct WindowNames(BTreeSet<Arc<str>>);

impl WindowNames {
    fn admit(&mut self, name: &Arc<str>) -> bool {
        self.0.contains(name) || (self.0.len() < MOST_WINDOW_NAMES && self.0.insert(name.clone()))
    }
}

/// What is left in a window, in thousandths, and when that was said.
type Left = (u16, Timestamp);

/// The numbers, each with its series.
#[derive(Default)]
pub(super) struct Readings {
    pub(super) counters: BTreeMap<Series, u64>,
    pub(super) gauges: BTreeMap<Series, f64>,
}

impl Readings {
    /// Sums up a snapshot, for the pool or for each account.
    pub(super) fn of(snapshot: &Snapshot, by_account: bool, known: &mut WindowNames) -> Self {
        let Snapshot { now, counters, accounts, waiting } = snapshot;
        let name_of = |id: CredentialId| by_account.then(|| Arc::from(id.short()));
        let mut readings = Self::default();
        readings.count(names::REQUESTS, None, None, counters.requests);
        readings.count(names::VAULT_ERRORS, None, None, counters.vault_errors);
        for credential in &counters.credentials {
            readings.count_all(&name_of(credential.id), credential);
        }
        readings.set(names::WAITING, number(*waiting));
        let mut left: BTreeMap<(Option<Arc<str>>, &Arc<str>), Left> = BTreeMap::new();
        if !by_account {
            readings.stand(None, None);
        }
        for account in accounts {
            let name = name_of(account.id);
            readings.stand(name.clone(), Some(account.stands));
            if let Some(cooldown) = account.cooldown {
                readings.set_to_lower(names::COOLDOWN_REMAINING, name.clone(), cooldown.as_secs_f64());
            }
            for window in account.windows.iter().filter(|window| known.admit(&window.name)) {
                let Some(permille) = window.left else { continue };
                let said = (permille, window.said_at);
                let most = left.entry((name.clone(), &window.name)).or_insert(said);
                *most = said.max(*most);
            }
        }
        for ((account, window), (permille, said_at)) in left {
            let attribute = ("window", SharedString::from_shared(window.clone()));
            let series =
                |name| Series { name, account: account.clone(), attribute: Some(attribute.clone()) };
            let age = now.since(said_at).as_secs_f64();
            readings.gauges.insert(series(names::ALLOWANCE_HEADROOM), f64::from(permille) / 1_000.0);
            readings.gauges.insert(series(names::ALLOWANCE_AGE), age);
        }
        readings
    }

    /// Sets a gauge of the pool.
    pub(super) fn set(&mut self, name: &'static str, value: f64) {
        self.gauges.insert(Series { name, account: None, attribute: None }, value);
    }

    fn set_to_lower(&mut self, name: &'static str, account: Option<Arc<str>>, value: f64) {
        let lowest = self.gauges.entry(Series { name, account, attribute: None }).or_insert(value);
        *lowest = lowest.min(value);
    }

    fn count(
        &mut self,
        name: &'static str,
        account: Option<&Arc<str>>,
        attribute: Option<(&'static str, &'static str)>,
        count: u64,
    ) {
        let attribute = attribute.map(|(name, value)| (name, SharedString::const_str(value)));
        let series = Series { name, account: account.cloned(), attribute };
        *self.counters.entry(series).or_default() += count;
    }

    fn count_all(&mut self, account: &Option<Arc<str>>, of: &CredentialCounters) {
        let all = [
            (names::ATTEMPTS, "outcome", &counters::OUTCOMES[..]),
            (names::ROTATIONS, "reason", &counters::ROTATIONS),
            (names::REFRESHES, "outcome", &counters::REFRESHES),
        ];
        for (name, attribute, named) in all {
            for (value, read) in named {
                self.count(name, account.as_ref(), Some((attribute, value)), read(of));
            }
        }
    }

    /// Counts an account, or none, by how it stands.
    fn stand(&mut self, account: Option<Arc<str>>, stands: Option<Stands>) {
        for (name, counted) in [
            (names::READY, Stands::Ready),
            (names::COOLING, Stands::Cooling),
            (names::NEEDS_SIGN_IN, Stands::NeedsSignIn),
        ] {
            let series = Series { name, account: account.clone(), attribute: None };
            *self.gauges.entry(series).or_default() += f64::from(u8::from(stands == Some(counted)));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "no process has so many requests")]
fn number(count: usize) -> f64 {
    count as f64
}

//! A pool's counters and gauges, through the crate [`metrics`](https://docs.rs/metrics).
//!
//! ```
//! use tower_credentials::metrics::Metrics;
//! # use tower_credentials::PoolBuilder;
//! # fn example(builder: PoolBuilder) -> PoolBuilder {
//! builder.metrics(Metrics::new())
//! # }
//! ```
//!
//! They are published each time that the pool [syncs](crate::PoolBuilder::sync_every), so once a second by default, and
//! once more when it is [closed](crate::Pool::close). No request calls a recorder: the task that syncs reads the same
//! numbers as [`Pool::counters`](crate::Pool::counters). The [names] say what each of them counts.
//!
//! Each has the attributes `provider` and `namespace`. Without [`Metrics::by_account`] the numbers are those of the whole
//! pool. A gauge that nobody can tell any more, such as what is left in a window that was reset, becomes NaN once and is
//! not set after that, so that a recorder with an idle timeout drops it.

pub mod names;
mod readings;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString};
use tokio::time::Instant;

use crate::credential::PoolKey;
use crate::vault::VaultError;

pub(crate) use readings::{AccountGauges, Snapshot, Stands};
use readings::{Readings, Series, WindowNames};

/// What a pool publishes, and where. For [`PoolBuilder::metrics`](crate::PoolBuilder::metrics).
#[derive(Clone, Default)]
pub struct Metrics {
    recorder: Option<Arc<dyn Recorder + Send + Sync>>,
    by_account: bool,
}

impl Metrics {
    /// Publishes the numbers of the whole pool, to the recorder that is set for the program or the thread.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the recorder. Defaults to the one that [`metrics::set_global_recorder`] has set, which may be done after the
    /// pool is opened.
    #[must_use]
    pub fn recorder(mut self, recorder: impl Recorder + Send + Sync + 'static) -> Self {
        self.recorder = Some(Arc::new(recorder));
        self
    }

    /// Sets whether the numbers are those of each account. It is named by the first eight digits of its id, in the
    /// attribute `credential.id`, and never by its label, which may be an email address. Defaults to false: a pool of a
    /// thousand accounts has some twenty thousand series then.
    #[must_use]
    pub fn by_account(mut self, by_account: bool) -> Self {
        self.by_account = by_account;
        self
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recorder = if self.recorder.is_some() { "own" } else { "global" };
        f.debug_struct("Metrics")
            .field("recorder", &recorder)
            .field("by_account", &self.by_account)
            .finish()
    }
}

const METADATA: Metadata<'static> =
    Metadata::new("tower_credentials", Level::INFO, Some(module_path!()));

/// Publishes the numbers of one pool.
pub(crate) struct Publisher {
    settings: Metrics,
    pool: [Label; 2],
    state: Mutex<State>,
}

struct State {
    /// When the pool last knew all that is in the vault.
    synced_at: Instant,
    /// The gauges that have a number.
    set: BTreeSet<Series>,
    window_names: WindowNames,
}

impl Publisher {
    /// Creates the publisher of a pool that has just been loaded.
    pub(crate) fn new(settings: Metrics, pool: &PoolKey) -> Self {
        let label = |name, value: &str| Label::new(name, SharedString::from_shared(value.into()));
        let state = State {
            synced_at: Instant::now(),
            set: BTreeSet::new(),
            window_names: WindowNames::default(),
        };
        Self {
            settings,
            pool: [label("provider", pool.provider()), label("namespace", pool.namespace())],
            state: Mutex::new(state),
        }
    }

    /// Notes the result of a sync.
    pub(crate) fn synced(&self, result: &Result<(), VaultError>) {
        if result.is_ok() {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).synced_at = Instant::now();
        }
    }

    /// Publishes these numbers.
    pub(crate) fn publish(&self, snapshot: &Snapshot) {
        let (readings, gone) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let State { synced_at, set, window_names } = &mut *state;
            let mut readings = Readings::of(snapshot, self.settings.by_account, window_names);
            readings.set(names::SYNC_AGE, synced_at.elapsed().as_secs_f64());
            let now_set: BTreeSet<_> = readings.gauges.keys().cloned().collect();
            let gone: Vec<_> = set.difference(&now_set).cloned().collect();
            *set = now_set;
            (readings, gone)
        };
        // The program's recorder may be set after the pool is opened, so no handle of it is kept.
        match &self.settings.recorder {
            Some(recorder) => self.record(&**recorder, &readings, &gone),
            None => metrics::with_recorder(|recorder| self.record(recorder, &readings, &gone)),
        }
    }

    fn record(&self, recorder: &dyn Recorder, readings: &Readings, gone: &[Series]) {
        names::describe(recorder);
        for (series, count) in &readings.counters {
            recorder.register_counter(&self.key(series), &METADATA).absolute(*count);
        }
        let gone = gone.iter().map(|series| (series, series.value_when_gone()));
        let known = readings.gauges.iter().map(|(series, value)| (series, *value));
        for (series, value) in known.chain(gone) {
            recorder.register_gauge(&self.key(series), &METADATA).set(value);
        }
    }

    fn key(&self, series: &Series) -> Key {
        let mut labels = self.pool.to_vec();
        if let Some(account) = &series.account {
            labels.push(Label::new("credential.id", account.clone()));
        }
        if let Some((name, value)) = &series.attribute {
            labels.push(Label::new(*name, value.clone()));
        }
        Key::from_parts(KeyName::from_const_str(series.name), labels)
    }
}

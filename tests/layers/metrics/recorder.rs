//! A recorder that shows what it was told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

const PREFIX: &str = "tower_credentials.";

/// A recorder. Cheap to clone; a clone is the same one.
#[derive(Clone, Default)]
pub(super) struct Recording(Arc<Inner>);

/// Numbers by their series.
type Numbers = Mutex<BTreeMap<String, Arc<AtomicU64>>>;

/// The kind, the unit and the text of a name.
type Described = (&'static str, Option<Unit>, String);

#[derive(Default)]
struct Inner {
    counters: Numbers,
    gauges: Numbers,
    described: Mutex<BTreeMap<String, Described>>,
    calls: AtomicUsize,
}

/// `name{attribute=value, …}`, without the prefix of all names.
fn series(key: &Key) -> String {
    let name = key.name().strip_prefix(PREFIX).expect("the crate's prefix");
    let labels: Vec<_> =
        key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
    format!("{name}{{{}}}", labels.join(", "))
}

impl Recording {
    /// Returns all series as text.
    pub(super) fn series(&self) -> Vec<String> {
        let (counters, gauges) = (self.0.counters.lock().unwrap(), self.0.gauges.lock().unwrap());
        counters.keys().chain(gauges.keys()).cloned().collect()
    }

    /// Returns the number of a counter, which has these attributes beside those of the pool.
    pub(super) fn count(&self, series: &str) -> u64 {
        let counters = self.0.counters.lock().unwrap();
        let counter = counters.get(series).unwrap_or_else(|| panic!("no counter {series}"));
        counter.load(Ordering::SeqCst)
    }

    pub(super) fn gauge(&self, series: &str) -> f64 {
        let gauges = self.0.gauges.lock().unwrap();
        let gauge = gauges.get(series).unwrap_or_else(|| panic!("no gauge {series}"));
        f64::from_bits(gauge.load(Ordering::SeqCst))
    }

    /// Returns the kind and the unit of each name that was described.
    pub(super) fn described(&self) -> Vec<(String, &'static str, Option<Unit>)> {
        let described = self.0.described.lock().unwrap();
        assert!(described.values().all(|(.., text)| text.ends_with('.') && !text.contains("  ")));
        described.iter().map(|(name, (kind, unit, _))| (name.clone(), *kind, *unit)).collect()
    }

    /// How often it was called.
    pub(super) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    fn describe(&self, kind: &'static str, key: &KeyName, unit: Option<Unit>, text: &SharedString) {
        let name = key.as_str().strip_prefix(PREFIX).expect("the crate's prefix").to_owned();
        self.0.described.lock().unwrap().insert(name, (kind, unit, text.to_string()));
    }

    fn atomic(&self, map: &Numbers, key: &Key) -> Arc<AtomicU64> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        map.lock().unwrap().entry(series(key)).or_default().clone()
    }
}

impl Recorder for Recording {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe("counter", &key, unit, &text);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe("gauge", &key, unit, &text);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe("histogram", &key, unit, &text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.atomic(&self.0.counters, key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.atomic(&self.0.gauges, key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

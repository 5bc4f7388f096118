//! The text of `/metrics`, in Prometheus' format. Accounts are left out, since their number has no bound.

use std::fmt::{self, Write};

use tower_credentials::counters::{Counters, Durations};
use tower_credentials::standing::Health;
use tower_credentials::{CredentialStatus, PoolKey};

use super::route::Route;

/// What is known of a pool at one moment.
struct Sample<'a> {
    pool: &'a PoolKey,
    counters: Counters,
    accounts: Vec<CredentialStatus>,
    cooling: usize,
    ready: usize,
    /// For how many seconds the vault was not read, and whether it can't be.
    unread: u64,
    is_away: bool,
}

impl<'a> Sample<'a> {
    fn of<S>(route: &'a Route<S>) -> Self {
        let (pool, now) = (&route.pool, route.pool.now());
        let accounts = pool.status();
        let is_usable = |status: &&CredentialStatus| {
            status.standing.health == Health::Good && !status.standing.paused
        };
        let usable = accounts.iter().filter(is_usable);
        let (ready, cooling): (Vec<_>, Vec<_>) =
            usable.partition(|status| status.ready_in(now).is_zero());
        let (ready, cooling) = (ready.len(), cooling.len());
        let contact = pool.vault_contact();
        let (unread, is_away) = (now.since(contact.last).as_secs(), contact.away_since.is_some());
        let (pool, counters) = (pool.key(), pool.counters());
        Self { pool, counters, accounts, cooling, ready, unread, is_away }
    }

    fn need_sign_in(&self) -> usize {
        let needs =
            |status: &&CredentialStatus| matches!(status.standing.health, Health::NeedsSignIn { .. });
        self.accounts.iter().filter(needs).count()
    }
}

/// Returns the text for all routes.
pub(super) fn text<'a, S: 'a>(routes: impl Iterator<Item = &'a Route<S>>) -> String {
    let samples: Vec<_> = routes.map(Sample::of).collect();
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, &samples);
    text
}

/// A label and its value, and the sample.
type Labelled = (&'static str, &'static str, u64);

fn labelled<const N: usize>(label: &'static str, counts: [(&'static str, u64); N]) -> Vec<Labelled> {
    counts.into_iter().map(|(value, count)| (label, value, count)).collect()
}

fn write(to: &mut String, samples: &[Sample<'_>]) -> fmt::Result {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    family(to, samples, "requests_total", "counter", "Requests of clients.", |sample| {
        vec![("", "", sample.counters.requests)]
    })?;
    family(to, samples, "attempts_total", "counter", "Sendings, by what came of them.", |sample| {
        labelled("outcome", sample.counters.attempts_by_outcome())
    })?;
    let help = "Changes of the account within a request.";
    family(to, samples, "rotations_total", "counter", help, |sample| {
        labelled("reason", sample.counters.rotations_by_reason())
    })?;
    family(to, samples, "refreshes_total", "counter", "Renewals of tokens.", |sample| {
        labelled("outcome", sample.counters.refreshes_by_outcome())
    })?;
    family(to, samples, "accounts", "gauge", "Accounts of the pool.", |sample| {
        vec![("", "", count(sample.accounts.len()))]
    })?;
    family(to, samples, "ready", "gauge", "Accounts that can be used now.", |sample| {
        vec![("", "", count(sample.ready))]
    })?;
    family(to, samples, "cooling", "gauge", "Accounts that cool down.", |sample| {
        vec![("", "", count(sample.cooling))]
    })?;
    family(to, samples, "needs_sign_in", "gauge", "Accounts that need a new sign-in.", |sample| {
        vec![("", "", count(sample.need_sign_in()))]
    })?;
    family(to, samples, "vault_away", "gauge", "Whether the vault can't be read.", |sample| {
        vec![("", "", u64::from(sample.is_away))]
    })?;
    let help =
        "The time since the vault was read, which is up to half a minute if it tells of its changes.";
    family(to, samples, "vault_unread_seconds", "gauge", help, |sample| vec![("", "", sample.unread)])?;
    durations(to, samples)
}

/// Writes one family of metrics.
fn family(
    to: &mut String,
    samples: &[Sample<'_>],
    name: &str,
    kind: &str,
    help: &str,
    values: impl Fn(&Sample<'_>) -> Vec<Labelled>,
) -> fmt::Result {
    head(to, name, kind, help)?;
    for sample in samples {
        for (label, value, number) in values(sample) {
            let labels = labels(sample.pool);
            match label {
                "" => writeln!(to, "tower_credentials_{name}{{{labels}}} {number}")?,
                label => {
                    writeln!(to, "tower_credentials_{name}{{{labels},{label}=\"{value}\"}} {number}")?
                }
            }
        }
    }
    Ok(())
}

fn durations(to: &mut String, samples: &[Sample<'_>]) -> fmt::Result {
    const NAME: &str = "attempt_duration_seconds";
    head(to, NAME, "histogram", "The time from sending a request to the head of its response.")?;
    for sample in samples {
        let (labels, durations) = (labels(sample.pool), &sample.counters.durations);
        let mut so_far = 0;
        for (bound, bucket) in Durations::bounds().zip(&durations.buckets) {
            so_far += bucket;
            writeln!(to, "tower_credentials_{NAME}_bucket{{{labels},le=\"{bound}\"}} {so_far}")?;
        }
        let Durations { count, sum, .. } = durations;
        writeln!(to, "tower_credentials_{NAME}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
        writeln!(to, "tower_credentials_{NAME}_sum{{{labels}}} {sum}")?;
        writeln!(to, "tower_credentials_{NAME}_count{{{labels}}} {count}")?;
    }
    Ok(())
}

fn head(to: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(to, "# HELP tower_credentials_{name} {help}\n# TYPE tower_credentials_{name} {kind}")
}

fn labels(pool: &PoolKey) -> String {
    let (provider, namespace) = (escaped(pool.provider()), escaped(pool.namespace()));
    format!("provider=\"{provider}\",namespace=\"{namespace}\"")
}

/// Escapes a label's value.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

//! The engine of a vault of many hosts: how it is, for `status` and `vault check`.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tower_credentials::vault::RedisUrl;
use tower_credentials::vault::redis::{EngineState, Finding, RedisBackend, ReplicaState};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, WayOut, plain};
use crate::time::{brief, rfc3339};

/// The smallest difference of two clocks that is told.
const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

/// The part of its memory, in percent, above which that is told.
const FULL: u64 = 90;

/// The bytes that a replica lags behind above which that is told: fewer are those of the last second.
const LAGS: u64 = 1 << 20;

const MIB: u64 = 1 << 20;

/// How an engine is. What it does not tell this user is left out.
#[derive(Default, Serialize)]
pub(crate) struct EngineReport {
    /// Without name and password.
    pub(crate) url: String,
    /// Whether Sentinels or a cluster say which node it is; the URL has another address then.
    #[serde(skip)]
    is_found: bool,
    /// The host and port of the node that was asked.
    address: String,
    /// How long a command took, in whole milliseconds.
    answered_in_ms: u64,
    /// The same in microseconds.
    answered_in_us: u64,
    /// `Redis` or `Valkey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// `primary` or `replica`.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    replicas: Vec<ReplicaState>,
    /// By how much its clock is ahead of this host's; below zero, behind.
    clock_ahead_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_memory_bytes: Option<u64>,
    /// Zero is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_loading: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    has_append_only_file: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    append_only_file_failed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dump_failed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    pub(crate) findings: Vec<EngineFinding>,
}

/// What a person should know of an engine.
#[derive(Serialize)]
pub(crate) struct EngineFinding {
    /// Whether a new secret may be lost although the engine has stored it.
    pub(crate) loses_secrets: bool,
    pub(crate) what: String,
    #[serde(flatten)]
    pub(crate) way_out: Option<WayOut>,
}

impl EngineReport {
    /// Asks the engine.
    pub(crate) async fn of(engine: &RedisBackend, context: &Context) -> Result<Self, Failure> {
        let state = engine.state().await?;
        let findings = engine.examine().await?.iter().map(EngineFinding::of).collect();
        let is_found = context.places.vault.engine().is_some_and(RedisUrl::uses_discovery);
        Ok(Self { is_found, ..Self::new(context.vault_name(), state, findings) })
    }

    fn new(url: String, state: EngineState, findings: Vec<EngineFinding>) -> Self {
        // A response may name anything.
        let text = |text: String| plain(&text);
        Self {
            url,
            is_found: false,
            address: text(state.address),
            answered_in_ms: u64::try_from(state.round_trip.as_millis()).unwrap_or(u64::MAX),
            answered_in_us: u64::try_from(state.round_trip.as_micros()).unwrap_or(u64::MAX),
            name: state.name.map(text),
            version: state.version.map(text),
            role: state.is_primary.map(|is_primary| if is_primary { "primary" } else { "replica" }),
            replicas: state.replicas,
            clock_ahead_ms: state.clock_ahead_ms,
            used_memory_bytes: state.used_memory,
            max_memory_bytes: state.max_memory,
            is_loading: state.is_loading,
            has_append_only_file: state.has_append_only_file,
            append_only_file_failed: state.append_only_file_failed,
            dump_failed: state.dump_failed,
            started_at: state.started_at.map(rfc3339),
            findings,
        }
    }

    /// Returns in words what matters now.
    fn clauses(&self) -> Vec<String> {
        let mut clauses: Vec<_> = self.of_replicas().into_iter().collect();
        let difference = Duration::from_millis(self.clock_ahead_ms.unsigned_abs());
        // The half of a round trip may be no difference at all.
        if difference > CLOCKS_DIFFER + Duration::from_micros(self.answered_in_us / 2) {
            let way = if self.clock_ahead_ms > 0 { "ahead of" } else { "behind" };
            let by = brief(Duration::from_secs(difference.as_secs()));
            clauses.push(format!("its clock is {by} {way} this host's"));
        }
        if let (Some(used), Some(most @ 1..)) = (self.used_memory_bytes, self.max_memory_bytes)
            && u128::from(used) * 100 > u128::from(most) * u128::from(FULL)
        {
            let percent = u128::from(used) * 100 / u128::from(most);
            clauses.push(format!("{percent} % of its memory is used"));
        }
        if self.append_only_file_failed == Some(true) {
            clauses.push("the last write of its append-only file failed".to_owned());
        }
        if self.dump_failed == Some(true) {
            clauses.push("its last dump failed".to_owned());
        }
        if self.is_loading == Some(true) {
            clauses.push("it still reads its files".to_owned());
        }
        clauses
    }

    /// Returns how many replicas there are, and how far they are behind.
    fn of_replicas(&self) -> Option<String> {
        let count = self.replicas.len();
        let behind = self.replicas.iter().filter(|replica| !replica.is_online).count();
        let lag = self.replicas.iter().map(|replica| replica.lag_bytes).max()?;
        let replicas = if count == 1 { "replica" } else { "replicas" };
        let behind = match behind {
            0 => String::new(),
            1 if count == 1 => ", which is still being brought up to date".to_owned(),
            1 => ", of which 1 is still being brought up to date".to_owned(),
            _ => format!(", of which {behind} are still being brought up to date"),
        };
        let lag = match lag {
            lag if lag >= LAGS => format!(", with a lag of {} MiB", lag / MIB),
            _ => String::new(),
        };
        Some(format!("{count} {replicas}{behind}{lag}"))
    }
}

/// One line: what it is, where, how fast it has answered, and what matters now.
impl fmt::Display for EngineReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", output::strong("vault:"))?;
        if let Some(name) = &self.name {
            let version = self.version.as_deref().map(|version| format!(" {version}"));
            write!(f, "{name}{} at ", version.unwrap_or_default())?;
        }
        f.write_str(&self.url)?;
        if let Some(role) = self.role {
            write!(f, ", {role}")?;
        }
        if self.is_found {
            write!(f, " {}", self.address)?;
        }
        #[expect(clippy::cast_precision_loss, reason = "only one digit after the point is shown")]
        let took = self.answered_in_us as f64 / 1_000.0;
        write!(f, ", answered in {took:.1} ms, read now")?;
        self.clauses().iter().try_for_each(|clause| write!(f, "; {clause}"))
    }
}

impl EngineFinding {
    fn of(finding: &Finding) -> Self {
        let text = finding.to_string();
        let (what, way_out) = text.split_once("; ").unwrap_or((&text, ""));
        let way_out = Some(way_out).filter(|way_out| !way_out.is_empty());
        Self {
            loses_secrets: finding.loses_secrets(),
            what: plain(what),
            way_out: way_out.map(|way_out| WayOut::new(&plain(way_out))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> EngineReport {
        EngineReport {
            url: "redis://a".to_owned(),
            name: Some("Redis".to_owned()),
            answered_in_us: 400,
            max_memory_bytes: Some(0),
            used_memory_bytes: Some(1_000),
            ..EngineReport::default()
        }
    }

    #[test]
    fn nothing_is_added_to_the_line_if_nothing_matters() {
        let exact = EngineReport { clock_ahead_ms: 1_000, max_memory_bytes: Some(2_000), ..usual() };
        for report in [usual(), exact] {
            assert!(report.clauses().is_empty(), "{:?}", report.clauses());
        }
    }

    // No test can set the clock of a real engine, or break its disk.
    #[test]
    fn what_matters_is_said_in_words() {
        let said = |report: EngineReport| report.clauses().join("; ");
        let ahead = EngineReport { clock_ahead_ms: 125_300, ..usual() };
        assert_eq!(said(ahead), "its clock is 2m 5s ahead of this host's");
        let behind = EngineReport { clock_ahead_ms: -3_000, ..usual() };
        assert_eq!(said(behind), "its clock is 3s behind this host's");
        let uncertain = EngineReport { clock_ahead_ms: -3_000, answered_in_us: 5_000_000, ..usual() };
        assert_eq!(said(uncertain), "");
        let full = EngineReport { max_memory_bytes: Some(1_050), ..usual() };
        assert_eq!(said(full), "95 % of its memory is used");
        let failed = EngineReport { append_only_file_failed: Some(true), ..usual() };
        assert_eq!(said(failed), "the last write of its append-only file failed");
        let loading = EngineReport { is_loading: Some(true), ..usual() };
        assert_eq!(said(loading), "it still reads its files");
    }

    #[test]
    fn the_node_is_named_if_the_url_names_others() {
        let url = "redis+sentinel://b,c/main".to_owned();
        let address = "d:1".to_owned();
        let report = EngineReport { url, is_found: true, address, role: Some("primary"), ..usual() };
        assert!(report.to_string().contains("b,c/main, primary d:1, answered"), "{report}");
    }
}

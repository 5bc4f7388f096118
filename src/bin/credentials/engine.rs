//! The engine of a vault of many hosts: how it is, for `status` and `vault check`.

use std::time::Instant;

use serde::Serialize;
use tower_credentials::vault::redis::{Finding, RedisBackend};

use crate::failure::Failure;
use crate::output::{WayOut, plain};

/// How an engine is.
#[derive(Serialize)]
pub(crate) struct EngineReport {
    /// Without name and password.
    pub(crate) url: String,
    /// How long a command took.
    pub(crate) answered_in_ms: u64,
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
    pub(crate) async fn of(engine: &RedisBackend, url: String) -> Result<Self, Failure> {
        // The first command may have to connect.
        let findings = engine.examine().await?;
        let asked_at = Instant::now();
        engine.sealed_with().await?;
        let answered_in_ms = u64::try_from(asked_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let findings = findings.iter().map(EngineFinding::of).collect();
        Ok(Self { url, answered_in_ms, findings })
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

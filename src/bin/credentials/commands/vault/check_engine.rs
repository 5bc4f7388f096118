//! `vault check` of a vault in an engine: its accounts, and the engine's settings.

use serde::Serialize;
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::{Damage, Vault, VaultExt};

use super::look::no_vault;
use crate::account;
use crate::context::Context;
use crate::engine::EngineReport;
use crate::failure::{Exit, Failure};
use crate::output::{self, WayOut};

#[derive(Serialize)]
struct Report {
    engine: String,
    pools: usize,
    records: usize,
    opened: usize,
    findings: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    /// `error`, `warning` or `note`.
    severity: &'static str,
    /// What it is about: the engine, a pool or a record.
    path: String,
    what: String,
    #[serde(flatten)]
    way_out: Option<WayOut>,
}

/// Checks the vault in this engine.
pub(super) async fn check(
    context: &Context,
    engine: &RedisBackend,
    fix: bool,
    json: bool,
) -> Result<Exit, Failure> {
    if !engine.is_vault().await? {
        return Err(no_vault(context));
    }
    let mut report = Report {
        engine: context.vault_name(),
        pools: 0,
        records: 0,
        opened: 0,
        findings: of_the_engine(context, engine).await?,
    };
    // Everything else is checked without the key.
    let no_key = match context.vault().await {
        Ok(Some(vault)) => {
            look(&mut report, engine, &vault).await?;
            None
        }
        Ok(None) => return Err(no_vault(context)),
        Err(failure) => Some(failure),
    };
    match json {
        true => output::print_json(&report)?,
        false => output::print(in_words(&report, no_key.is_none()))?,
    }
    if fix {
        output::say("Nothing of a vault in an engine is fixed by --fix: do what is said above");
    }
    let wrong = report.findings.iter().filter(|finding| finding.severity != "note").count();
    match (no_key, wrong) {
        (Some(failure), _) => Err(failure),
        (None, 0) => Ok(Exit::Done),
        (None, 1) => Err(Failure::new(Exit::Vault, "the vault has 1 problem")),
        (None, wrong) => Err(Failure::new(Exit::Vault, format!("the vault has {wrong} problems"))),
    }
}

/// Returns what is to be said of the engine itself.
async fn of_the_engine(context: &Context, engine: &RedisBackend) -> Result<Vec<Found>, Failure> {
    let state = EngineReport::of(engine, context.vault_name()).await?;
    let found = state.findings.into_iter().map(|finding| Found {
        severity: if finding.loses_secrets { "warning" } else { "note" },
        path: state.url.clone(),
        what: finding.what,
        way_out: finding.way_out,
    });
    Ok(found.collect())
}

/// Opens every account.
async fn look(report: &mut Report, engine: &RedisBackend, vault: &impl Vault) -> Result<(), Failure> {
    let pools = engine.pools().await?;
    report.pools = pools.len();
    for pool in pools {
        match vault.load_pool(pool.clone()).await {
            Ok(stored) => {
                report.records += stored.credentials.len() + stored.damaged.len();
                report.opened += stored.credentials.len();
                report.findings.extend(stored.damaged.iter().map(damaged));
            }
            Err(error) => {
                let failure = Failure::from(error);
                if failure.is_away() {
                    return Err(failure);
                }
                report.findings.push(Found {
                    severity: "error",
                    path: format!("the pool {pool}"),
                    what: output::plain(failure.message()),
                    way_out: None,
                });
            }
        }
    }
    Ok(())
}

fn damaged(damage: &Damage) -> Found {
    let way_out = account::damage_way_out(damage);
    Found {
        severity: "error",
        path: output::plain(&damage.record),
        what: output::plain(account::what_is_wrong(damage)),
        way_out: way_out.map(|way_out| WayOut::new(&output::plain(&way_out))),
    }
}

fn in_words(report: &Report, is_opened: bool) -> String {
    let mut lines = Vec::new();
    for Found { severity, path, what, way_out } in &report.findings {
        let severity = match *severity {
            "error" => output::bad("error").to_string(),
            "warning" => output::doubtful("warning").to_string(),
            other => other.to_owned(),
        };
        lines.push(format!("{severity}: {path}: {what}"));
        lines.extend(way_out.as_ref().map(ToString::to_string));
    }
    if is_opened {
        let Report { records, opened, pools, .. } = report;
        lines.push(format!("accounts: {records}; opened: {opened}; pools: {pools}"));
    }
    lines.join("\n")
}

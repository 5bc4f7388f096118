//! `vault check` of a vault in an engine: its accounts, all its keys, and the engine's settings.

use serde::Serialize;
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::redis::check::{self, Finding, FindingKind, Severity};
use tower_credentials::vault::{Damage, Vault, VaultError, VaultExt};

use super::look::{end_of_check, no_vault};
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
    /// That of a finding in the engine's keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<FindingKind>,
    severity: Severity,
    /// What it is about: the engine, a key in it, a pool or a record.
    path: String,
    what: String,
    #[serde(flatten)]
    way_out: Option<WayOut>,
    can_fix: bool,
    is_fixed: bool,
}

impl Found {
    fn new(severity: Severity, path: String, what: String, way_out: Option<WayOut>) -> Self {
        Self { kind: None, severity, path, what, way_out, can_fix: false, is_fixed: false }
    }

    /// What was found in the engine's keys.
    fn in_keys(finding: &Finding) -> Self {
        let way_out = match (finding.is_fixed, finding.can_fix) {
            (true, _) => None,
            (false, true) => Some("credentials vault check --fix"),
            (false, false) => finding.way_out.as_deref(),
        };
        let way_out = way_out.map(|way_out| WayOut::new(&output::plain(way_out)));
        Self {
            kind: Some(finding.kind),
            can_fix: finding.can_fix,
            is_fixed: finding.is_fixed,
            ..Self::new(
                finding.severity,
                output::plain(&finding.key),
                output::plain(&finding.what),
                way_out,
            )
        }
    }

    fn is_wrong(&self) -> bool {
        !self.is_fixed && self.severity > Severity::Note
    }
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
    let in_keys = engine.check(fix).await?;
    let mut report = Report {
        engine: context.vault_name(),
        pools: in_keys.pools,
        records: in_keys.records,
        opened: 0,
        findings: of_the_engine(context, engine).await?,
    };
    // Everything else is checked without the key.
    let no_key = match context.vault().await {
        Ok(Some(vault)) => {
            look(&mut report, engine, &vault, &in_keys).await?;
            None
        }
        Ok(None) => return Err(no_vault(context)),
        Err(failure) => {
            report.findings.extend(in_keys.findings.iter().map(Found::in_keys));
            Some(failure)
        }
    };
    match json {
        true => output::print_json(&report)?,
        false => output::print(in_words(&report, no_key.is_none()))?,
    }
    let wrong = report.findings.iter().filter(|finding| finding.is_wrong()).count();
    if fix && !report.findings.iter().any(|finding| finding.is_fixed) {
        output::say(match wrong {
            0 => "Nothing had to be fixed",
            _ => "Nothing of this is fixed by --fix: do what is said above",
        });
    }
    match no_key {
        Some(failure) => Err(failure),
        None => end_of_check(wrong),
    }
}

/// Returns what is to be said of the engine itself.
async fn of_the_engine(context: &Context, engine: &RedisBackend) -> Result<Vec<Found>, Failure> {
    let state = EngineReport::of(engine, context).await?;
    let found = state.findings.into_iter().map(|finding| {
        let severity = if finding.loses_secrets { Severity::Warning } else { Severity::Note };
        Found::new(severity, state.url.clone(), finding.what, finding.way_out)
    });
    Ok(found.collect())
}

/// Opens every account, and adds what was found in the keys.
async fn look(
    report: &mut Report,
    engine: &RedisBackend,
    vault: &impl Vault,
    in_keys: &check::Report,
) -> Result<(), Failure> {
    let (mut damaged, mut pools_unread) = (Vec::new(), Vec::new());
    let pools = match engine.pools().await {
        Ok(pools) => pools,
        Err(error) => {
            pools_unread.push(unread("the list of pools".to_owned(), error)?);
            Vec::new()
        }
    };
    (report.pools, report.records) = (pools.len(), 0);
    for pool in pools {
        match vault.load_pool(pool.clone()).await {
            Ok(stored) => {
                report.records += stored.credentials.len() + stored.damaged.len();
                report.opened += stored.credentials.len();
                damaged.extend(stored.damaged);
            }
            Err(error) => pools_unread.push(unread(format!("the pool {pool}"), error)?),
        }
    }
    // A record that can't be read is named once, with the command that removes it.
    let is_damaged = |finding: &&Finding| {
        finding.kind == FindingKind::Record
            && finding.id.is_some()
            && damaged.iter().any(|damage| damage.id == finding.id)
    };
    let others = in_keys.findings.iter().filter(|finding| !is_damaged(finding));
    report.findings.extend(others.map(Found::in_keys));
    report.findings.extend(damaged.iter().map(of_damage));
    report.findings.extend(pools_unread);
    Ok(())
}

/// Returns what is said of what can't be read, unless the engine is away.
fn unread(what: String, error: VaultError) -> Result<Found, Failure> {
    let failure = Failure::from(error);
    match failure.is_away() {
        true => Err(failure),
        false => Ok(Found::new(Severity::Error, what, output::plain(failure.message()), None)),
    }
}

fn of_damage(damage: &Damage) -> Found {
    let way_out = account::damage_way_out(damage);
    Found::new(
        Severity::Error,
        output::plain(&damage.record),
        output::plain(account::what_is_wrong(damage)),
        way_out.map(|way_out| WayOut::new(&output::plain(&way_out))),
    )
}

fn in_words(report: &Report, is_opened: bool) -> String {
    let mut lines = Vec::new();
    for Found { severity, path, what, way_out, is_fixed, .. } in &report.findings {
        let severity = match severity {
            _ if *is_fixed => output::good("fixed").to_string(),
            Severity::Error => output::bad("error").to_string(),
            Severity::Warning => output::doubtful("warning").to_string(),
            _ => "note".to_owned(),
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

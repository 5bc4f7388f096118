//! `vault check`: looks through the whole vault.

use std::path::Path;

use clap::Args;
use tower_credentials::setup::KeyPlace;
use tower_credentials::vault::file::{
    Check as Looking, FileVault, Finding, FindingKind, Report, Severity,
};
use tower_credentials::vault::key::Keys;

use super::attributes::Attributes;
use super::check_engine;
use super::look::{self, look, no_vault};
use crate::account;
use crate::context::{Context, import_of};
use crate::failure::{Exit, Failure};
use crate::keys::{KeyPlaceExt, key_in};
use crate::options::Json;
use crate::output;

/// Check that every account and every file of the vault is intact
///
/// Nothing is changed without --fix. With it, the permissions of files are narrowed, files left by a killed process are
/// removed, logs are made to match the records, and accounts in an older format are sealed in the current one. With
/// --restored, accounts from a backup that are sealed with a former key are sealed with the current one, if the former key is
/// kept beside the key file. An account or a damaged file is never removed.
///
/// Of a vault in a Redis or Valkey every account is opened, and all its keys and the engine's settings are checked. There --fix
/// writes indexes of labels anew, and adds pools that are missing in the list of pools.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials vault check
  credentials vault check --fix
  credentials vault check --fix --restored
  credentials vault check --json | jq -r '.findings[] | select(.severity == \"error\").path'")]
pub(crate) struct Check {
    /// Fix what can be fixed safely
    #[arg(long)]
    fix: bool,
    /// Accept accounts that you have restored from a backup: sealed with a former key, or in an older format than all others
    #[arg(long, requires = "fix")]
    restored: bool,
    #[command(flatten)]
    attributes: Attributes,
    #[command(flatten)]
    output: Json,
}

impl Check {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        if let Some(engine) = context.engine().await? {
            return check_engine::check(context, engine, self.fix, self.output.json).await;
        }
        let directory = &context.places.own;
        if !FileVault::is_at(directory) {
            return Err(no_vault(context));
        }
        let mut looking = Looking::new(directory).fix(self.fix);
        if let Some(file) = context.keys.file() {
            looking = looking.key_file(file);
        }
        // Everything else is checked without it.
        let no_key = match context.vault_key().await {
            Ok(keys) => {
                if self.fix {
                    self.reseal(context, &keys).await?;
                }
                looking = looking.keys(&keys);
                None
            }
            Err(failure) => Some(failure),
        };
        let report = looking.run().await?;
        match self.output.json {
            true => output::print_json(&report)?,
            false => output::print(in_words(&report, &context.keys))?,
        }
        let wrong = report.findings.iter().filter(|finding| is_wrong(finding)).count();
        let is_key_mended = report.findings.iter().any(|finding| {
            finding.is_fixed
                && context.keys.file().is_some_and(|file| finding.path == file.display().to_string())
        });
        match (no_key, wrong) {
            (Some(_), _) if is_key_mended => {
                let message = "the key file was fixed only now, so no account was opened";
                Err(Failure::new(Exit::Vault, message).way_out("credentials vault check"))
            }
            (Some(failure), _) => Err(failure),
            (None, wrong) => look::end_of_check(wrong),
        }
    }

    /// Seals records in an older format again. With --restored, also seals records of a former key that is kept beside the
    /// present one, because a person says that they are from a backup: anyone with that key could have put them there.
    async fn reseal(&self, context: &Context, keys: &Keys) -> Result<(), Failure> {
        let Some(report) = look(context).await? else { return Ok(()) };
        let current = keys.current.id();
        if report.key != Some(current) || keys.previous.is_some() {
            // Then `rotate-key` seals them.
            return Ok(());
        }
        let mut builder = FileVault::builder(&context.places.own)
            .restored(self.restored)
            .unbound_attributes(self.attributes.unbound());
        let mut said = Vec::new();
        for sealed in report.sealed.iter().filter(|sealed| self.restored && sealed.key != current) {
            let Some(file) = context.keys.kept_file(sealed.key) else { continue };
            let kept = key_in(&file)?;
            if kept.id() != sealed.key {
                continue;
            }
            builder = builder.old_key(&kept);
            let accounts = look::in_words(sealed.records, sealed.providers.iter());
            said.push(format!(
                "Sealed with the key {current}: {accounts}; the former key was in {}",
                output::path(&file)
            ));
        }
        if said.is_empty() && report.older == 0 {
            return Ok(());
        }
        let resealing = builder.open(&keys.current).await?.reseal(|_| ()).await?;
        if resealing.sealed > 0 && said.is_empty() {
            let accounts = if resealing.sealed == 1 { "account" } else { "accounts" };
            said.push(format!("Sealed in the current format: {} {accounts}", resealing.sealed));
        }
        said.iter().for_each(output::say);
        Ok(())
    }
}

fn is_wrong(finding: &Finding) -> bool {
    !finding.is_fixed && finding.severity > Severity::Note
}

fn in_words(report: &Report, keys: &KeyPlace) -> String {
    let mut lines = Vec::new();
    for finding in &report.findings {
        let severity = match finding.severity {
            _ if finding.is_fixed => output::good("fixed").to_string(),
            Severity::Error => output::bad("error").to_string(),
            Severity::Warning => output::doubtful("warning").to_string(),
            _ => "note".to_owned(),
        };
        let what = output::plain(&finding.what);
        lines.push(format!("{severity}: {}: {what}", output::plain(&finding.path)));
        if let Some(way_out) = way_out(finding, report, keys) {
            lines.push(output::WayOut::new(&way_out).to_string());
        }
    }
    let Report { records, opened, pools, .. } = report;
    lines.push(format!("accounts: {records}; opened: {opened}; pools: {pools}"));
    lines.join("\n")
}

/// Returns what to do about it, as a command if there is one.
fn way_out(finding: &Finding, report: &Report, keys: &KeyPlace) -> Option<String> {
    let has = |kind| report.findings.iter().any(|other| other.kind == kind && !other.is_fixed);
    let is_kept = || {
        let mut former = report.sealed.iter().filter(|sealed| report.key != Some(sealed.key));
        former.any(|sealed| keys.kept_file(sealed.key).is_some())
    };
    let is_wrong_key = has(FindingKind::WrongKey);
    let names_own_key = || report.key.is_some() && finding.sealed_with == report.key;
    let words = finding.way_out.as_deref().map(output::plain);
    let command = match finding.kind {
        _ if finding.is_fixed => return None,
        FindingKind::UnreadResponse => {
            return Some(format!("credentials show {} --unread-response", finding.id?));
        }
        _ if finding.can_fix => "credentials vault check --fix",
        FindingKind::OlderFormat => "credentials vault check --fix",
        FindingKind::UnboundAttributes => {
            "credentials vault check --fix --keep-attributes, or --drop-attributes"
        }
        // The vault's own key opens it, and the wrong one was named.
        FindingKind::OtherKey if is_wrong_key && names_own_key() => return None,
        FindingKind::Restored | FindingKind::OtherKey if !is_wrong_key && is_kept() => {
            "credentials vault check --fix --restored, if you have restored it"
        }
        FindingKind::ManySeals | FindingKind::UnfinishedKeyChange => "credentials vault rotate-key",
        // The key file was named, with what to do.
        FindingKind::NoKey if has(FindingKind::KeyFile) => return None,
        FindingKind::KeyFile if is_no_file(Path::new(&finding.path)) => return words,
        FindingKind::WrongKey | FindingKind::NoKey | FindingKind::KeyFile if keys.can_keep() => {
            let kept = report.key.and_then(|key| keys.kept_key(key));
            return Some(
                kept.map_or("credentials vault import --file FILE".to_owned(), |file| import_of(&file)),
            );
        }
        _ => {
            let removed = finding.id.filter(|_| finding.is_removable);
            return words.map(|words| account::with_removal(&words, removed));
        }
    };
    Some(command.to_owned())
}

/// Whether something other than a file is in its place: a directory, or a link.
fn is_no_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|there| !there.is_file())
}

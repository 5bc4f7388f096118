//! The result of a migration, for a person and as JSON.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;

use serde::{Serialize, Serializer};
use tower_credentials::migrate::{self, Action, Found, MigrationReport, Source};
use tower_credentials::vault::VaultExt;
use tower_credentials::{Credential, CredentialId, Kind, Metadata, OAuthTokens, PoolKey, Secret};

use crate::account::{self, Unrenewable};
use crate::context::Context;
use crate::failure::{Exit, Failure, chain};
use crate::output::{self, plain};
use crate::table::{Overflow, table};

/// The result, as `--json` has it.
#[derive(Default, Serialize)]
pub(super) struct Outcome {
    pub(super) dry_run: bool,
    pub(super) entries: Vec<Entry>,
    pub(super) skipped: Vec<Problem>,
    pub(super) failed: Vec<Problem>,
    pub(super) removed: Vec<String>,
    /// How many of the failures are files that were not removed.
    #[serde(skip)]
    pub(super) not_removed: usize,
}

/// An entry, and what becomes of it.
#[derive(Serialize)]
pub(super) struct Entry {
    pub(super) from: Source,
    pub(super) file: String,
    pub(super) entry: String,
    pub(super) action: Action,
    pub(super) provider: String,
    pub(super) namespace: String,
    pub(super) label: String,
    pub(super) kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<CredentialId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    /// Why nothing can renew its token in the vault.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub(super) not_renewable: Option<Unrenewable>,
}

impl Entry {
    pub(super) fn is_new(&self) -> bool {
        matches!(self.action, Action::Add | Action::Update)
    }

    fn pool(&self) -> PoolKey {
        PoolKey::with_namespace(&*self.provider, &*self.namespace)
    }

    /// Returns the account that it is, or will be.
    fn account(&self) -> Metadata {
        let secret = match self.kind {
            Kind::OAuth => Secret::OAuth(OAuthTokens::new("")),
            Kind::Mcp => Secret::Mcp(OAuthTokens::new("")),
            _ => Secret::api_key(""),
        };
        Credential::new(self.pool(), &*self.label, secret).metadata
    }
}

/// A file, or an entry of a file, that was not imported.
#[derive(Serialize)]
pub(super) struct Problem {
    pub(super) file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) entry: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<usize>,
    pub(super) reason: String,
    /// Whether it has nothing to import.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) unfinished: bool,
}

impl Problem {
    pub(super) fn of(file: &Path, error: &(dyn std::error::Error + 'static)) -> Self {
        let (file, reason) = (file.display().to_string(), chain(error));
        Self { file, entry: None, line: None, reason, unfinished: false }
    }
}

impl Outcome {
    pub(super) fn add(&mut self, context: &Context, found: &[Found], report: MigrationReport) {
        let not_renewable = |step: &migrate::Step| {
            let of_file = found.iter().filter(|found| found.path == step.path);
            let mut entries = of_file.flat_map(|found| &found.entries);
            let entry = entries.find(|entry| entry.name == step.entry)?;
            Unrenewable::of(context, &step.pool, &entry.secret)
        };
        for found in found {
            self.skipped.extend(found.skipped.iter().map(|skipped| Problem {
                file: found.path.display().to_string(),
                entry: Some(skipped.entry.clone()),
                line: Some(skipped.line),
                reason: skipped.reason.clone(),
                unfinished: skipped.is_unfinished,
            }));
        }
        self.failed.extend(report.failures.into_iter().map(|failure| Problem {
            entry: Some(failure.entry),
            ..Problem::of(&failure.path, &failure.error)
        }));
        self.entries.extend(report.steps.into_iter().map(|step| Entry {
            not_renewable: not_renewable(&step),
            from: step.source,
            file: step.path.display().to_string(),
            entry: step.entry,
            action: step.action,
            provider: step.pool.provider().to_owned(),
            namespace: step.pool.namespace().to_owned(),
            label: step.label.to_string(),
            kind: step.kind,
            id: step.id,
            reason: step.reason,
        }));
    }

    /// Says what a person must know besides the table.
    pub(super) fn tell(&self, context: &Context) {
        for problem in &self.skipped {
            let (file, line) = (&problem.file, problem.line.unwrap_or_default());
            let entry = plain(problem.entry.as_deref().unwrap_or_default());
            let text = format!("{file}, line {line}: skipped {entry}: {}", problem.reason);
            match problem.unfinished {
                true => output::say(text),
                false => output::warn(text),
            }
        }
        for problem in &self.failed {
            match &problem.entry {
                Some(entry) => output::warn(format_args!(
                    "{}: {} was not imported: {}",
                    problem.file,
                    plain(entry),
                    problem.reason
                )),
                None => output::warn(&problem.reason),
            }
        }
        for entry in &self.entries {
            if let Some(reason) = entry.reason {
                let (from, name) = (entry.from, plain(&entry.entry));
                output::say(format_args!("{from}'s {name}: {}: {reason}", self.word(entry)));
            }
            self.tell_of_renewal(context, entry);
        }
        for file in &self.removed {
            output::say(format_args!("Removed {file}"));
        }
    }

    /// Warns that an entry's token can't be renewed, and says what to do. An unknown provider is reported elsewhere.
    fn tell_of_renewal(&self, context: &Context, entry: &Entry) {
        let Some(why) = entry.not_renewable.filter(|why| *why != Unrenewable::NoProvider) else {
            return;
        };
        let (from, name) = (entry.from, plain(&entry.entry));
        output::warn(format_args!("{from}'s {name} can't be renewed here: {why}"));
        if let Some(way_out) = why.way_out(context, &entry.account()) {
            output::way_out(way_out);
        }
    }

    /// Says which accounts, in the vault or to be added, are not used.
    pub(super) async fn tell_of_left_out(&self, context: &Context) -> Result<(), Failure> {
        let vault = context.vault_or_empty().await?;
        let listing = vault.list().await?;
        let pools: BTreeSet<_> = self.entries.iter().map(Entry::pool).collect();
        for pool in pools {
            let stored = listing.credentials.iter().filter(|account| account.pool == pool).cloned();
            let mut accounts: Vec<_> = stored.collect();
            let is_new = |entry: &&Entry| entry.pool() == pool && entry.id.is_none();
            accounts.extend(self.entries.iter().filter(is_new).map(Entry::account));
            account::tell_left_out_of(context, &pool, &accounts, &listing.damaged);
        }
        Ok(())
    }

    /// Says which accounts nothing uses yet.
    pub(super) fn tell_of_unknown_providers(&self, context: &Context) {
        let new = self.entries.iter().filter(|entry| entry.is_new());
        account::tell_unknown_providers(context, new.map(|entry| entry.provider.as_str()));
    }

    fn word(&self, entry: &Entry) -> &'static str {
        match (entry.action, self.dry_run) {
            (Action::Add, false) => "added",
            (Action::Add, true) => "to add",
            (Action::Update, false) => "updated",
            (Action::Update, true) => "to update",
            (Action::Keep, _) => "kept",
            _ => "unchanged",
        }
    }

    pub(super) fn shown(&self) -> String {
        let rows = self.entries.iter().map(|entry| {
            [
                entry.from.to_string(),
                plain(&entry.entry),
                self.word(entry).to_owned(),
                entry.provider.clone(),
                entry.namespace.clone(),
                entry.label.clone(),
                entry.kind.to_string(),
            ]
        });
        table(
            ["FROM", "ENTRY", "ACTION", "PROVIDER", "NAMESPACE", "LABEL", "KIND"],
            Overflow { dropped: &["NAMESPACE", "FROM"], truncated: &["ENTRY"], ..Overflow::default() },
            rows,
        )
    }

    /// Ends the command: with an error that counts what was not done, after the warnings that name it.
    pub(super) fn end(&self) -> Result<Exit, Failure> {
        let skipped = self.skipped.iter().filter(|skipped| !skipped.unfinished).count();
        let (entries, files): (Vec<_>, Vec<_>) =
            self.failed.iter().partition(|failed| failed.entry.is_some());
        let counts = [
            (skipped + entries.len(), "1 entry was not imported", "entries were not imported"),
            (files.len() - self.not_removed, "1 file was not read", "files were not read"),
            (self.not_removed, "1 file was not removed", "files were not removed"),
        ];
        let said = counts.into_iter().filter(|(count, ..)| *count > 0);
        let said: Vec<_> = said
            .map(|(count, one, several)| match count {
                1 => one.to_owned(),
                _ => format!("{count} {several}"),
            })
            .collect();
        match said.is_empty() {
            true => Ok(Exit::Done),
            false => Err(Failure::failed(said.join("; "))),
        }
    }
}

fn as_text<S: Serializer>(value: &Option<impl Display>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

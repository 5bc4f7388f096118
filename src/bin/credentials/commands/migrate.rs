//! `migrate`: imports other programs' accounts and keys into the vault.

mod outcome;

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};
use tower_credentials::migrate::{self, Found, MigrateError, MigrationReport, Source};
use tower_credentials::vault::Vault;
use tower_credentials::{Kind, PoolKey};

use crate::account::Unrenewable;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Json;
use crate::output::{self, plain};
use crate::prompt;
use crate::running::Before;
use crate::shell::quoted;
use outcome::{Entry, Outcome, Problem};

/// Import accounts and keys from other programs
///
/// The programs are opencode, Codex, Claude Code, Gemini CLI and Qwen Code, which keep secrets in files of plain text.
/// Without FILE, their usual places are searched. Migrating again imports only what has changed in the files, and never
/// replaces a newer token. The files are kept unless you give --remove-old.
///
/// Afterwards, the other program and the vault share a sign-in, and the first to renew it may sign the other out. Use only
/// one of the two, or sign in again with one. To renew a sign-in, the settings need the id of the OAuth client that signed
/// in: if it is missing, the command says so, and does not remove the file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials migrate --dry-run
  credentials migrate --from codex
  credentials migrate --from claude /mnt/old/home/.claude/.credentials.json
  credentials migrate --remove-old

Exit codes:
  1  something was skipped, is damaged, or was not removed; the rest was done. An unfinished sign-in does
     not count
  3  there is no file")]
pub(crate) struct Migrate {
    /// A file of one of these programs
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// The program whose files to read
    #[arg(long, value_name = "PROGRAM", value_enum)]
    from: Option<Program>,
    /// Show what would be done, and do nothing
    #[arg(long, conflicts_with = "remove_old")]
    dry_run: bool,
    /// Remove each file once everything in it was read back from the vault
    #[arg(long)]
    remove_old: bool,
    /// Don't ask for confirmation
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    output: Json,
}

/// A program whose files can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Program {
    Opencode,
    Codex,
    Claude,
    Gemini,
    Qwen,
}

impl Program {
    fn sources(self) -> &'static [Source] {
        match self {
            Self::Opencode => &[Source::Opencode, Source::OpencodeMcp],
            Self::Codex => &[Source::Codex],
            Self::Claude => &[Source::Claude],
            Self::Gemini => &[Source::Gemini],
            Self::Qwen => &[Source::Qwen],
        }
    }
}

impl Migrate {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut outcome = Outcome { dry_run: self.dry_run, ..Outcome::default() };
        let found = self.read(&mut outcome)?;
        let removable = found.iter().filter(|found| kept_for(context, found).is_none());
        let removable: Vec<_> = removable.map(|found| found.path.display().to_string()).collect();
        if self.remove_old && !removable.is_empty() && !self.yes {
            let files = removable.join(", ");
            let question = format!(
                "Remove {files} once all of it is in the vault? {} will need a new sign-in.",
                if removable.len() == 1 { "Its program" } else { "Their programs" }
            );
            prompt::confirm(&question, "--yes").await?;
        }
        let has_entries = found.iter().any(|found| !found.entries.is_empty());
        let report = match (self.dry_run, has_entries) {
            (true, _) => {
                migrate::plan(&context.vault_or_empty().await?, &context.registry, &found).await?
            }
            // A vault is created only if there is something to put into it.
            (false, false) => MigrationReport::default(),
            (false, true) => {
                let vault = context.vault_or_new().await?;
                let before = Before::of(context, &vault).await?;
                let report = migrate::apply(&vault, &context.registry, &found).await?;
                before.tell(context, &vault).await?;
                self.remove(context, &vault, &found, &mut outcome).await;
                report
            }
        };
        outcome.add(context, &found, report);
        outcome.tell(context);
        match self.output.json {
            true => output::print_json(&outcome)?,
            false if outcome.entries.is_empty() => output::say("There was nothing to import."),
            false => output::print(outcome.shown())?,
        }
        outcome.tell_of_unknown_providers(context);
        outcome.tell_of_left_out(context).await?;
        if !self.dry_run {
            self.tell_what_is_left(&found, &outcome);
        }
        outcome.end()
    }

    /// Reads the files that exist. A file that is named must exist and be valid.
    fn read(&self, outcome: &mut Outcome) -> Result<Vec<Found>, Failure> {
        if let Some(file) = &self.file {
            return Ok(vec![self.read_named(file)?]);
        }
        let home = etcetera::home_dir().map_err(|error| {
            Failure::failed("could not find the home directory").because(error).way_out("set HOME")
        })?;
        let sources = self.from.map_or(&Source::ALL[..], Program::sources);
        let places =
            sources.iter().map(|source| (*source, source.place(&home, |name| std::env::var_os(name))));
        let (mut found, mut looked_at) = (Vec::new(), Vec::new());
        for (source, path) in places {
            match migrate::read(source, &path) {
                Ok(read) => found.push(read),
                Err(MigrateError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    looked_at.push(path.display().to_string());
                }
                // The other files are not affected.
                Err(error) => outcome.failed.push(Problem::of(&path, &error)),
            }
        }
        if found.is_empty() && outcome.failed.is_empty() {
            return Err(Failure::not_found("there is no file to migrate")
                .because(format!("none of these exists: {}", looked_at.join(", ")))
                .way_out("credentials migrate FILE"));
        }
        Ok(found)
    }

    fn read_named(&self, file: &Path) -> Result<Found, Failure> {
        let Some(program) = self.from else { return Ok(migrate::read(None, file)?) };
        match program.sources() {
            [source] => Ok(migrate::read(*source, file)?),
            sources => match migrate::read(None, file) {
                Ok(found) if sources.contains(&found.source) => Ok(found),
                _ => Ok(migrate::read(sources[0], file)?),
            },
        }
    }

    async fn remove(
        &self,
        context: &Context,
        vault: &impl Vault,
        found: &[Found],
        outcome: &mut Outcome,
    ) {
        for found in found.iter().filter(|_| self.remove_old) {
            if let Some(reason) = kept_for(context, found) {
                let file = found.path.display();
                outcome.not_removed += 1;
                outcome.failed.push(Problem {
                    file: file.to_string(),
                    entry: None,
                    line: None,
                    reason: format!("{file} is not removed: {reason}"),
                    unfinished: false,
                });
                continue;
            }
            match migrate::remove_old(vault, &context.registry, found).await {
                Ok(()) => outcome.removed.push(found.path.display().to_string()),
                Err(error) => {
                    outcome.not_removed += 1;
                    outcome.failed.push(Problem::of(&found.path, &error));
                }
            }
        }
    }

    fn tell_what_is_left(&self, found: &[Found], outcome: &Outcome) {
        // A file without entries has no secrets.
        let left = found.iter().filter(|found| !found.entries.is_empty() || !found.skipped.is_empty());
        let left = left.map(|found| found.path.display().to_string());
        let left = left.filter(|path| !outcome.removed.contains(path));
        let left: Vec<_> = left.map(|path| format!("\n  {path}")).collect();
        if left.is_empty() {
            return;
        }
        output::say(format_args!("The secrets are still in plain text in{}", left.concat()));
        // With --remove-old, the reason was reported.
        if !self.remove_old {
            let from = self.from.and_then(|from| from.to_possible_value());
            let from = from.map(|from| format!(" --from {}", from.get_name())).unwrap_or_default();
            let file = self.file.as_ref().map(|file| file.display().to_string());
            let file = file.map(|file| format!(" {}", quoted(file))).unwrap_or_default();
            output::say(format_args!(
                "{} credentials migrate --remove-old{from}{file}",
                output::strong("To remove the old files, once all that is in them is in the vault:"),
            ));
        }
        let is_shared = |entry: &Entry| matches!(entry.kind, Kind::OAuth | Kind::Mcp) && entry.is_new();
        if outcome.entries.iter().any(is_shared) {
            output::say(
                "The first to renew a sign-in may sign the other program out: use it with only one of the two",
            );
        }
    }
}

/// Returns why a file is kept although the vault has all of it: nothing else could renew one of its sign-ins.
fn kept_for(context: &Context, found: &Found) -> Option<String> {
    let lost = |entry: &migrate::Entry| {
        let pool = pool_of(context, &entry.provider);
        let why = Unrenewable::of(context, &pool, &entry.secret)?;
        why.is_of_settings().then(|| {
            format!("without it nothing could renew the sign-in of {}: {why}", plain(&entry.name))
        })
    };
    found.entries.iter().find_map(lost)
}

fn pool_of(context: &Context, provider: &str) -> PoolKey {
    context.registry.pool_key(provider).unwrap_or_else(|_| PoolKey::new(provider))
}

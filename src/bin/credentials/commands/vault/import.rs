//! `vault import`: stores a key from a backup or from another machine.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use tower_credentials::vault::file::Report;
use tower_credentials::vault::key::{Keys, VaultKey};

use super::damaged_key::{no_previous, set_damaged_aside};
use super::look::{look, opened_by, opens, opens_engine, say_kept};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::keys::{KeyPlaceExt, key_in, no_key};
use crate::{output, prompt};

/// Import a key that `vault export` wrote
///
/// The key is asked for without being shown, or read from a file or from standard input. A key that does not open the vault
/// is refused. A key that is already there is kept beside the new one, and so is a damaged key file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials vault import --file /media/stick/vault.key
  ssh other credentials vault export | credentials vault import --key-stdin")]
pub(crate) struct Import {
    /// Read the key from this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "key_stdin")]
    file: Option<PathBuf>,
    /// Read the key from standard input
    #[arg(long)]
    key_stdin: bool,
    /// Import it even if it does not open the vault
    #[arg(long)]
    force: bool,
    /// Replace another key without asking
    #[arg(long, short)]
    yes: bool,
}

impl Import {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        if !context.keys.can_keep() {
            return Err(context.keys.is_read_only().way_out("put it there yourself"));
        }
        let key = self.read().await?;
        let report = look(context).await?;
        let damaged = context.keys.damaged_file().await;
        let known = if damaged.is_some() { None } else { context.keys.known().await? };
        if known.as_ref().is_some_and(|known| known.current.id() == key.id()) {
            output::say(format_args!("The key {} is in {} already", key.id(), context.keys));
            return Ok(Exit::Done);
        }
        let empty = report.as_ref().filter(|report| {
            report.records == 0 && report.key == known.as_ref().map(|known| known.current.id())
        });
        if let Some(report) = &report
            && empty.is_none()
            && !self.force
        {
            opens(context, report, &key).map_err(|failure| {
                failure.way_out(
                    "import the vault's key; or add --force if the right vault will be put here later",
                )
            })?;
        }
        if !self.force {
            opens_engine(context, key.id()).await?;
        }
        if let Some(known) = &known {
            self.ask(context, report.as_ref(), known, &key).await?;
        }
        if let Some(damaged) = damaged {
            if report.as_ref().and_then(|report| report.key) != Some(key.id()) {
                no_previous(&damaged)?;
            }
            set_damaged_aside(&damaged, self.yes).await?;
        }
        // A vault of no accounts can change its key: first it takes both, so that a process that is killed here
        // leaves one that opens.
        let vault = match (empty, &known) {
            (Some(_), Some(known)) => {
                let keys = Keys::new(key.clone()).previous(known.current.clone());
                Some(context.open(&keys).await?)
            }
            _ => None,
        };
        let kept = context.keys.put(&key).await?;
        if let Some(vault) = vault {
            vault.reseal(|_| ()).await?;
        }
        output::say(format_args!("The key {} is in {} now", key.id(), context.keys));
        say_kept(&kept);
        Ok(Exit::Done)
    }

    async fn read(&self) -> Result<VaultKey, Failure> {
        match &self.file {
            Some(path) => key_in(path),
            None => {
                let key = match self.key_stdin {
                    true => VaultKey::from_base64(&prompt::secret_from_stdin("key").await?),
                    false => VaultKey::from_base64(prompt::secret("key").await?.expose()),
                };
                key.map_err(|_| no_key("the input"))
            }
        }
    }

    /// Asks before a key is replaced, and says what only that key opens.
    async fn ask(
        &self,
        context: &Context,
        report: Option<&Report>,
        known: &Keys,
        key: &VaultKey,
    ) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let known = known.current.id();
        let lost = match opened_by(report, known) {
            Some(lost) => format!("which alone opens {lost}"),
            None => "which opens nothing in this vault".to_owned(),
        };
        let question = format!(
            "{} has another key, {known}, {lost}. Replace it with {}, and keep the old one beside it?",
            context.keys,
            key.id()
        );
        prompt::confirm(&question, "--yes").await
    }
}

//! `vault init`: creates a key and a vault.

use std::path::{Path, PathBuf};

use clap::Args;
use tower_credentials::vault::file::{FileVault, Finding, FindingKind, Report};
use tower_credentials::vault::key::{FileKey, KeyId, KeyServiceExt, VaultKey};

use super::damaged_key::{no_previous, set_damaged_aside};
use super::look::{in_words, look, say_kept};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::keys::KeyPlaceExt;
use crate::{output, prompt};

/// Create a key and an empty vault
///
/// The first sign-in does so, too. With --force, a new key and an empty vault replace the present ones. Nothing is removed:
/// the old key, even if it is damaged, and the old vault are kept under other names.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials vault init
  credentials vault init --key-file ~/keys/vault.key")]
pub(crate) struct Init {
    /// Start over, even if there is a key or a vault
    #[arg(long)]
    force: bool,
    /// Don't ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

impl Init {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        if context.places.vault.directory().is_none() {
            return self.in_engine(context).await;
        }
        let report = look(context).await?;
        let damaged = context.keys.damaged_file().await;
        let known = match &damaged {
            Some(_) => None,
            None => context.keys.known().await?.map(|keys| keys.current.id()),
        };
        let has_key = known.is_some() || damaged.is_some();
        // If the program can't store the key, it exists already.
        if report.is_none() && (!has_key || !context.keys.can_keep()) {
            context.check_room()?;
            let key = context.keys.load_or_create().await?;
            return self.create(context, &key).await;
        }
        if !self.force {
            return Err(there_already(context, report.as_ref(), known, damaged.as_ref()));
        }
        if !context.keys.can_keep() {
            let way_out = "name a place for the new key, for example with --key-file";
            return Err(context.keys.is_read_only().way_out(way_out));
        }
        match &report {
            Some(_) if context.is_key_in_vault() => return Err(key_would_move(context)),
            Some(report) => is_alone(report)?,
            None => context.check_room()?,
        }
        if let Some(damaged) = &damaged {
            no_previous(damaged)?;
        }
        self.ask(report.as_ref()).await?;
        if let Some(damaged) = &damaged {
            set_damaged_aside(damaged, self.yes).await?;
        }
        // The vault first: if the program is killed here, the present key is still its key.
        if let Some(report) = &report {
            let kept = set_aside(context, report.key.or(known))?;
            output::say(format_args!("The vault is kept in {}", output::path(&kept)));
        }
        let key = VaultKey::generate();
        say_kept(&context.keys.put(&key).await?);
        self.create(context, &key).await
    }

    /// Creates a vault in an engine, with the present key if there is one: other hosts have the same.
    async fn in_engine(&self, context: &Context) -> Result<Exit, Failure> {
        let another = "choose another prefix: --vault 'URL?prefix=NAME'";
        if self.force {
            return Err(Failure::usage(
                "--force sets a vault in a directory aside, and this one is in an engine",
            )
            .way_out(another));
        }
        if context.vault().await?.is_some() {
            let message = format!("there is a vault in {} already", context.vault_name());
            return Err(Failure::failed(message).way_out(another));
        }
        context.vault_or_new().await?;
        Ok(Exit::Done)
    }

    async fn ask(&self, report: Option<&Report>) -> Result<(), Failure> {
        let Some(report) = report.filter(|report| report.records > 0) else { return Ok(()) };
        let providers = report.sealed.iter().flat_map(|sealed| &sealed.providers);
        let mut providers: Vec<_> = providers.collect();
        providers.sort();
        providers.dedup();
        let lost = in_words(report.records, providers.into_iter());
        let question = format!("A new key opens none of the vault's {lost}. Start over without them?");
        match self.yes {
            true => Ok(()),
            false => prompt::confirm(&question, "--yes").await,
        }
    }

    async fn create(&self, context: &Context, key: &VaultKey) -> Result<Exit, Failure> {
        FileVault::open(&context.places.own, key).await?;
        context.say_created(Some(key.id()));
        Ok(Exit::Done)
    }
}

fn there_already(
    context: &Context,
    report: Option<&Report>,
    known: Option<KeyId>,
    damaged: Option<&FileKey>,
) -> Failure {
    let mut failure = match (known, damaged) {
        (Some(id), _) => Failure::failed(format!("there is the key {id} in {} already", context.keys)),
        (None, Some(file)) => {
            let file = file.path().display();
            Failure::new(
                Exit::Vault,
                format!("there is a key file already, {file}, and it holds no key"),
            )
        }
        (None, None) => Failure::new(Exit::Vault, "there is a vault already, and its key is missing"),
    };
    if let Some(report) = report {
        let vault = context.vault_name();
        failure = failure.because(format!("the vault {vault} has {} accounts", report.records));
    }
    failure.way_out(match (known, report) {
        (None, _) => "credentials vault import --file FILE; or add --force to start over",
        (_, None) => "credentials login PROVIDER, which creates the vault; or add --force to start over",
        _ => "credentials vault rotate-key for another key; or add --force to start over",
    })
}

/// Refuses to rename a directory that contains more than the vault.
fn is_alone(report: &Report) -> Result<(), Failure> {
    let is_beside = |finding: &&Finding| {
        let place = Path::new(&finding.path).parent();
        finding.kind == FindingKind::UnknownFile && place == Some(Path::new(&report.directory))
    };
    let Some(other) = report.findings.iter().find(is_beside) else { return Ok(()) };
    let message =
        format!("{} is not part of the vault, and would be moved with it", output::plain(&other.path));
    Err(Failure::failed(message)
        .way_out("move it elsewhere, or choose another directory with --vault DIR"))
}

/// Returns the failure that the key is in the directory that would be renamed.
fn key_would_move(context: &Context) -> Failure {
    let message =
        format!("the key file {} is in the vault's directory, and would be moved with it", context.keys);
    Failure::usage(message).way_out("move it elsewhere, and name its new place with --key-file FILE")
}

/// Renames the vault.
fn set_aside(context: &Context, key: Option<KeyId>) -> Result<PathBuf, Failure> {
    let vault = &context.places.own;
    let mut name = vault.as_os_str().to_owned();
    name.push(format!(".{}", key.map_or_else(|| "old".to_owned(), |key| key.to_string())));
    let free = (1..1000).map(|number| {
        let mut name = name.clone();
        if number > 1 {
            name.push(format!("-{number}"));
        }
        PathBuf::from(name)
    });
    let free = free.into_iter().find(|path| !path.try_exists().unwrap_or(true));
    let failed = || Failure::failed(format!("could not rename the vault {}", vault.display()));
    let kept = free.ok_or_else(|| failed().because("all its possible names are taken"))?;
    std::fs::rename(vault, &kept).map_err(|error| failed().because(error))?;
    Ok(kept)
}

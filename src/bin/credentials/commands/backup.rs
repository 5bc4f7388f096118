//! `backup` and `restore`: all accounts in one encrypted file.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use serde::Serialize;
use tower_credentials::SecretString;
use tower_credentials::vault::backup::{self, BackupError, Lock, Restored, RestoredAs, SealedBy};
use tower_credentials::vault::key::VaultKey;

use crate::account::{self, Identity};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Json;
use crate::running::Before;
use crate::shell::quoted;
use crate::time::rfc3339;
use crate::{files, output, prompt};

/// Write all accounts to one encrypted file
///
/// The passphrase, or the key that --recovery-key generates, is enough to open the file: the vault's own key is not needed.
/// The file contains every account's secret, label, place, tier and quota, and which are paused, but not the settings. Most vendors
/// replace a refresh token when it is renewed, so a backup of sign-ins is soon out of date; one of keys is not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials backup /media/stick/accounts.backup
  credentials backup accounts.backup --recovery-key > recovery.key")]
pub(crate) struct Backup {
    /// The file to write, which only you may read
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Encrypt it with a new key, written to standard output, instead of a passphrase
    #[arg(long)]
    recovery_key: bool,
    /// Overwrite the file
    #[arg(long)]
    force: bool,
}

/// The fewest characters of a passphrase: anyone who has the file can try as many as they like.
const LEAST: usize = 8;

impl Backup {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let vault = context.vault_with_accounts().await?;
        files::is_elsewhere(&self.file, &context.places.own, "is backed up", "FILE")?;
        if self.file.exists() && !self.force {
            return Err(Failure::failed(format!("{} is there already", self.file.display()))
                .way_out("choose another name, or add --force to overwrite it"));
        }
        let backup = backup::Backup::of(&vault).await?;
        for damage in &backup.damaged {
            account::warn_of_damage(damage);
        }
        let (count, is_whole) = (backup.accounts().count(), backup.damaged.is_empty());
        if count == 0 {
            return Err(
                Failure::not_found("there are no accounts").way_out("credentials login PROVIDER")
            );
        }
        let key = self.recovery_key.then(VaultKey::generate);
        let passphrase = match &key {
            Some(_) => None,
            None => Some(new_passphrase().await?),
        };
        let bytes = on_a_thread({
            let (key, passphrase) = (key.clone(), passphrase);
            move || backup.seal(&lock(key.as_ref(), passphrase.as_ref())?)
        })
        .await?
        .map_err(|error| failed(&self.file.display().to_string(), &error))?;
        if let Some(key) = key {
            // Before the file, which is useless without it.
            output::say("This key opens the backup; keep it apart from the file:");
            output::print(key.to_base64().expose())?;
        }
        files::write(&self.file, &bytes, self.force)?;
        let accounts = if count == 1 { "account" } else { "accounts" };
        output::say(format_args!("Wrote {count} {accounts} to {}", self.file.display()));
        Ok(if is_whole { Exit::Done } else { Exit::Vault })
    }
}

/// Restore the accounts of a backup to the vault
///
/// Accounts that the vault does not have are added after the others. Nothing is replaced: an account that the vault has with
/// another secret is kept, and named. Restoring again changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials restore /media/stick/accounts.backup
  credentials restore accounts.backup --dry-run
  credentials restore accounts.backup < recovery.key

Exit codes:
  1  the vault has another secret for some of the accounts; the rest were restored
  5  the passphrase or the key is wrong, the file was changed, or the vault's own record of an account is damaged")]
pub(crate) struct Restore {
    /// The file that `backup` wrote
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Show which accounts are in it, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Json,
}

/// An account of a backup in `--json`.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    account: Identity<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
}

impl Restore {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let bytes = read(&self.file)?;
        let file = self.file.display().to_string();
        let failed = |error: BackupError| failed(&file, &error);
        let sealed_by = backup::Backup::sealed_by(&bytes).map_err(failed)?;
        if !self.dry_run {
            context.check_vault().await?;
        }
        let (mut key, mut passphrase) = (None, None);
        match sealed_by {
            SealedBy::Passphrase => passphrase = Some(prompt::secret("passphrase").await?),
            SealedBy::Key(id) => {
                let text = prompt::secret(&format!("recovery key {id}")).await?;
                key = Some(VaultKey::from_base64(text.expose()).map_err(|_| no_recovery_key())?);
            }
            _ => {
                return Err(Failure::failed(format!(
                    "{file} is encrypted in a way that this version does not know"
                )));
            }
        }
        let opened =
            on_a_thread(move || backup::Backup::open(&bytes, &lock(key.as_ref(), passphrase.as_ref())?));
        let backup = opened.await?.map_err(failed)?;
        output::say(format_args!("The backup is of {}", rfc3339(backup.created_at)));
        let providers: Vec<_> =
            backup.accounts().map(|account| account.pool.provider().to_owned()).collect();
        if self.dry_run {
            let exit = self.show(backup.accounts().map(|account| (account, None)))?;
            account::tell_unknown_providers(context, providers.iter().map(String::as_str));
            return Ok(exit);
        }
        let vault = context.vault_or_new().await?;
        let before = Before::of(context, &vault).await?;
        let restored = backup.restore(&vault).await?;
        let exit =
            self.show(restored.iter().map(|Restored { account, what, .. }| (account, Some(*what))))?;
        account::tell_unknown_providers(context, providers.iter().map(String::as_str));
        before.tell(context, &vault).await?;
        let those = |what| restored.iter().filter(move |restored| restored.what == what);
        let (kept, damaged) = (those(RestoredAs::Kept), those(RestoredAs::Damaged));
        let name = |restored: &Restored| quoted(account::name(&restored.account));
        let kept_first = kept.clone().next().map(name);
        let kept = match kept.count() {
            1 => "the vault keeps another secret for 1 account".to_owned(),
            count => format!("the vault keeps other secrets for {count} accounts"),
        };
        if let Some(first) = damaged.clone().next() {
            let message = match damaged.count() {
                1 => "the vault's record of 1 account is damaged, and was left as it is".to_owned(),
                count => format!(
                    "the vault's records of {count} accounts are damaged, and were left as they are"
                ),
            };
            let failure = Failure::new(Exit::Vault, message);
            let failure = if kept_first.is_some() { failure.because(kept) } else { failure };
            // By its id, since its name may not be readable.
            let way_out = format!("credentials logout {} --yes, then restore again", first.account.id);
            return Err(failure.way_out(way_out));
        }
        match kept_first {
            Some(name) => {
                Err(Failure::failed(kept)
                    .way_out(format!("credentials logout {name}, then restore again")))
            }
            None => Ok(exit),
        }
    }

    fn show<'a>(
        &self,
        accounts: impl Iterator<Item = (&'a tower_credentials::Metadata, Option<RestoredAs>)>,
    ) -> Result<Exit, Failure> {
        let word = |what| match what {
            RestoredAs::Added => "restored",
            RestoredAs::Unchanged => "unchanged",
            RestoredAs::Damaged => "damaged",
            _ => "kept",
        };
        if self.output.json {
            let lines = accounts
                .map(|(account, what)| Line { account: Identity::of(account), action: what.map(word) });
            output::print_json(&lines.collect::<Vec<_>>())?;
            return Ok(Exit::Done);
        }
        for (account, what) in accounts {
            let name = output::plain(&account::name(account));
            match what {
                Some(what) => output::print(format_args!("{name}: {}", word(what)))?,
                None => output::print(name)?,
            }
        }
        Ok(Exit::Done)
    }
}

/// Asks for a passphrase; a person at a terminal types it twice.
async fn new_passphrase() -> Result<SecretString, Failure> {
    let passphrase = prompt::secret("passphrase").await?;
    if passphrase.expose().chars().count() < LEAST {
        return Err(Failure::usage(format!("a passphrase needs at least {LEAST} characters"))
            .way_out("use several words, or --recovery-key"));
    }
    if prompt::can_ask() && prompt::secret("passphrase again").await?.expose() != passphrase.expose() {
        return Err(Failure::usage("the two passphrases differ").way_out("run the command again"));
    }
    Ok(passphrase)
}

fn lock<'a>(
    key: Option<&'a VaultKey>,
    passphrase: Option<&'a SecretString>,
) -> Result<Lock<'a>, BackupError> {
    match (key, passphrase) {
        (Some(key), _) => Ok(Lock::Key(key)),
        (None, Some(passphrase)) => Ok(Lock::Passphrase(passphrase)),
        (None, None) => Err(BackupError::Failed("neither a key nor a passphrase was given")),
    }
}

/// Runs this on a thread: deriving a key from a passphrase takes a while, and signals must be heeded meanwhile.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<Result<T, BackupError>, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::failed("the backup was interrupted").because(error))
}

fn no_recovery_key() -> Failure {
    Failure::usage(
        "the input is not a recovery key: that is 32 bytes in base64, as `credentials backup --recovery-key` wrote it",
    )
}

/// The most bytes that a backup takes.
const MOST: u64 = 256 * 1024 * 1024;

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("could not read {}", path.display())).because(error)
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MOST).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn failed(file: &str, error: &BackupError) -> Failure {
    let text = error.to_string();
    let said = text.strip_prefix("the file ").or_else(|| text.strip_prefix("the backup "));
    let failure = |exit| match said {
        Some(said) => Failure::new(exit, format!("{file} {said}")),
        None => Failure::new(exit, &*text).because(format!("the file is {file}")),
    };
    match error {
        BackupError::NoBackup(_) | BackupError::Newer(_) => failure(Exit::Usage),
        BackupError::Failed(_) => failure(Exit::Failed),
        _ => failure(Exit::Vault).way_out("run it again with the right one"),
    }
}

//! `vault rotate-key`: seals every record with a new key.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tower_credentials::vault::file::{Check, FileVault, Finding, FindingKind, Resealing};
use tower_credentials::vault::key::{KeyId, Keys, VaultKey};
use tower_credentials::vault::seal::UnboundAttributes;

use super::attributes::Attributes;
use super::look::{NEW_KEY, no_vault};
use crate::account;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::keys::{KeyPlaceExt, key_in, no_key};
use crate::shell::quoted;
use crate::{output, prompt};

/// Replace the vault's key, and seal every account with the new one
///
/// If the key is in a file or in the keyring, a new key is created there, and the old key is kept under another name, because
/// backups of the vault need it. If the key comes from a variable or a command, give the new key here, and put it there
/// afterwards. If it is interrupted, run it again to continue. The vault can be used meanwhile.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials vault rotate-key
  openssl rand -base64 32 > new.key
  credentials vault rotate-key --key-command 'pass show vault-key' --new-key-file new.key")]
pub(crate) struct RotateKey {
    /// The file with the new key, if the old one comes from a variable or a command
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "new_key_stdin")]
    new_key_file: Option<PathBuf>,
    /// Read the new key from standard input
    #[arg(long)]
    new_key_stdin: bool,
    #[command(flatten)]
    attributes: Attributes,
}

impl RotateKey {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        if !FileVault::is_at(context.directory("vault rotate-key", NEW_KEY)?) {
            return Err(no_vault(context));
        }
        match context.keys.can_keep() {
            true => self.rotate_kept(context).await,
            false => self.rotate_given(context).await,
        }
    }

    /// Rotates a key that the program can store: the new key is created in the place of the old one.
    async fn rotate_kept(&self, context: &Context) -> Result<Exit, Failure> {
        if self.new_key_file.is_some() || self.new_key_stdin {
            let message = format!("the new key is created in {}, so none can be given", context.keys);
            return Err(Failure::usage(message).way_out("leave the option out"));
        }
        let keys = context.vault_key().await?;
        // Before any change: the vault must open with the present key, and be writable.
        context.open(&keys).await?.check_writable().await?;
        self.are_attributes_known(context, &keys).await?;
        not_shared(context, keys.previous.as_ref().unwrap_or(&keys.current).id()).await?;
        let rotation = context.keys.rotate().await?.ok_or_else(|| context.keys.is_read_only())?;
        if rotation.is_resumed() {
            output::say("Continuing a key change that was not finished");
        }
        let keys = rotation.keys().clone();
        let old = keys.previous.as_ref().map(VaultKey::id);
        let resealing = self.reseal(context, &keys).await?;
        let way_out = "credentials vault check, then fix or remove them and run this again";
        all_sealed(&resealing, old).map_err(|failure| failure.way_out(way_out))?;
        // Backups need it, and so may another vault.
        let kept = rotation.keep_previous().await?;
        rotation.finish().await?;
        done(&resealing, &keys);
        if let Some(kept) = kept {
            let place = kept.place;
            output::say(format_args!(
                "It is kept in {place}, for backups; remove it when nothing needs it"
            ));
        }
        output::say("Keep a copy of the new key elsewhere: credentials vault export --output FILE");
        Ok(Exit::Done)
    }

    /// Rotates a key that the program can't store: the new key is given, and somebody else stores it.
    async fn rotate_given(&self, context: &Context) -> Result<Exit, Failure> {
        let new = match &self.new_key_file {
            Some(path) => key_in(path)?,
            None if self.new_key_stdin => {
                let text = prompt::secret_from_stdin("key").await?;
                VaultKey::from_base64(&text).map_err(|_| no_key("the input"))?
            }
            None => {
                let way_out = "openssl rand -base64 32 > new.key; then --new-key-file new.key";
                return Err(context.keys.is_read_only().way_out(way_out));
            }
        };
        let old = context.vault_key().await?.current;
        if old.id() == new.id() {
            let message =
                format!("the new key, {}, is the one that {} gives already", new.id(), context.keys);
            return Err(Failure::usage(message).way_out(
                "give another one; if a key change was interrupted, let it give the old one again",
            ));
        }
        let keys = Keys::new(new).previous(old);
        self.are_attributes_known(context, &keys).await?;
        let resealing = self.reseal(context, &keys).await?;
        let way_out =
            "credentials vault check, then fix or remove them and run this again with both keys";
        let old = keys.previous.as_ref().map(VaultKey::id);
        all_sealed(&resealing, old).map_err(|failure| failure.way_out(way_out))?;
        done(&resealing, &keys);
        output::say(format_args!("Now let {} give the new key", context.keys));
        Ok(Exit::Done)
    }

    /// Refuses to seal attributes that were not authenticated, if no option says what to do with them.
    async fn are_attributes_known(&self, context: &Context, keys: &Keys) -> Result<(), Failure> {
        if self.attributes.unbound() != UnboundAttributes::Ask {
            return Ok(());
        }
        let report = Check::new(&context.places.own).keys(keys).run().await?;
        let is_unbound = |finding: &&Finding| finding.kind == FindingKind::UnboundAttributes;
        let mut unbound = report.findings.iter().filter(is_unbound).peekable();
        if unbound.peek().is_none() {
            return Ok(());
        }
        unbound.for_each(|finding| output::warn(output::plain(&finding.what)));
        let message = "anyone who could write to the vault could change those attributes, and a new seal would vouch for them";
        Err(Failure::new(Exit::Vault, message).way_out(
            "credentials show ACCOUNT, for each; then add --keep-attributes or --drop-attributes",
        ))
    }

    async fn reseal(&self, context: &Context, keys: &Keys) -> Result<Resealing, Failure> {
        let builder = FileVault::builder(&context.places.own);
        let vault = builder.unbound_attributes(self.attributes.unbound()).open_with(keys).await?;
        // Draws nothing if there is no terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} accounts") {
            bar.set_style(style);
        }
        let resealing = vault
            .reseal(|so_far| {
                bar.set_length(so_far.total as u64);
                bar.set_position(so_far.done as u64);
            })
            .await;
        bar.finish_and_clear();
        Ok(resealing?)
    }
}

/// Fails if something still needs the old key.
fn all_sealed(resealing: &Resealing, old: Option<KeyId>) -> Result<(), Failure> {
    if resealing.left == 0 {
        return Ok(());
    }
    for damage in &resealing.damaged {
        account::warn_of_damage(damage);
    }
    let old = old.map_or_else(|| "from before".to_owned(), |id| id.to_string());
    let what = match resealing.left {
        1 => "1 record can't be opened, so it was not sealed with the new key".to_owned(),
        left => format!("{left} records can't be opened, so they were not sealed with the new key"),
    };
    let because = format!("the key {old} is kept, because it is needed as long as they exist");
    Err(Failure::new(Exit::Vault, what).because(because))
}

fn done(resealing: &Resealing, keys: &Keys) {
    let accounts = if resealing.total == 1 { "account is" } else { "accounts are" };
    let total = resealing.total;
    output::say(format_args!("{total} {accounts} sealed with the key {} now", keys.current.id()));
    if let Some(old) = &keys.previous {
        output::say(format_args!("The key {} no longer opens anything in the vault", old.id()));
    }
}

/// Refuses to change the default key if the default vault, which is another one, has the same: that one would no longer
/// open.
async fn not_shared(context: &Context, key: KeyId) -> Result<(), Failure> {
    let places = &context.places;
    if !context.keys.is_default() {
        return Ok(());
    }
    for other in places.other_vaults() {
        if !FileVault::is_at(other) {
            continue;
        }
        let report = Check::new(other).run().await?;
        if report.key == Some(key) || report.sealed.iter().any(|sealed| sealed.key == key) {
            let message =
                format!("the vault {} has the same key, and would no longer open", other.display());
            return Err(Failure::new(Exit::Vault, message).way_out(format!(
                "give this vault a key of its own: credentials vault export --output FILE, then \
                 credentials --vault {} --key-file FILE vault rotate-key",
                quoted(places.own.display())
            )));
        }
    }
    Ok(())
}

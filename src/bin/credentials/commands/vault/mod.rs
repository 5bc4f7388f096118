//! `vault …`: the vault itself, and its key.

mod check;
mod export;
mod import;
mod init;
mod path;
mod revoke_key;
mod rotate_key;

use clap::{Args, Subcommand};
use tower_credentials::vault::file::{Check, FileVault, Report};
use tower_credentials::vault::key::{KeptKey, KeyId, VaultKey};
use tower_credentials::vault::seal::UnboundAttributes;

use crate::args::Global;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

/// Make, look through and move the vault and its key
#[derive(Debug, Args)]
pub(crate) struct Vault {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Path(path::Path),
    Export(export::Export),
    Import(import::Import),
    RotateKey(rotate_key::RotateKey),
    RevokeKey(revoke_key::RevokeKey),
    Check(check::Check),
}

impl Vault {
    pub(crate) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let context = Context::new(global)?;
        match self.command {
            Command::Init(command) => command.run(&context).await,
            Command::Path(command) => command.run(&context).await,
            Command::Export(command) => command.run(&context).await,
            Command::Import(command) => command.run(&context).await,
            Command::RotateKey(command) => command.run(&context).await,
            Command::RevokeKey(command) => command.run(&context).await,
            Command::Check(command) => command.run(&context).await,
        }
    }
}

/// What becomes of attributes that nothing has vouched for.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Attributes {
    /// Keep the attributes of accounts of version 1, which nothing vouches for so far: look at them first
    #[arg(long, conflicts_with = "drop_attributes")]
    keep_attributes: bool,
    /// Drop those attributes
    #[arg(long)]
    drop_attributes: bool,
}

impl Attributes {
    fn unbound(self) -> UnboundAttributes {
        match (self.keep_attributes, self.drop_attributes) {
            (true, _) => UnboundAttributes::Keep,
            (_, true) => UnboundAttributes::Drop,
            _ => UnboundAttributes::Ask,
        }
    }
}

/// What there is in the vault, as far as that can be told without a key; `None` where there is none.
async fn look(context: &Context) -> Result<Option<Report>, Failure> {
    match FileVault::is_at(&context.places.vault) {
        true => Ok(Some(Check::new(&context.places.vault).run().await?)),
        false => Ok(None),
    }
}

/// The accounts that this key alone opens, in words; `None` where there are none.
fn opened_by(report: Option<&Report>, key: KeyId) -> Option<String> {
    let sealed = report?.sealed.iter().find(|sealed| sealed.key == key)?;
    Some(in_words(sealed.records, sealed.providers.iter()))
}

fn in_words<'a>(count: usize, providers: impl Iterator<Item = &'a String>) -> String {
    let accounts = if count == 1 { "account" } else { "accounts" };
    let providers: Vec<_> = providers.map(|provider| output::plain(provider)).collect();
    format!("{count} {accounts} ({})", providers.join(", "))
}

/// Refuses a key that does not open the vault.
fn opens(report: &Report, key: &VaultKey) -> Result<(), Failure> {
    let id = key.id();
    let is_sealed_with = report.sealed.iter().any(|sealed| sealed.key == id);
    let other = match report.key {
        Some(known) => (known != id).then_some(known),
        // Only the records say it.
        None => report.sealed.iter().map(|sealed| sealed.key).find(|_| !is_sealed_with),
    };
    let Some(other) = other else { return Ok(()) };
    let failure = Failure::new(Exit::Vault, format!("the key {id} is not the vault's"))
        .because(format!("the vault {} is sealed with the key {other}", report.directory));
    let failure = match is_sealed_with {
        true => failure.because(format!("the key {id} opens only what is still to be sealed anew")),
        false => failure,
    };
    Err(failure.way_out(format!("credentials vault import, with the key {other}")))
}

fn say_kept(kept: &[KeptKey]) {
    for kept in kept {
        output::say(format_args!("The key {} is kept in {}", kept.id, kept.place));
    }
}

fn no_vault(context: &Context) -> Failure {
    let vault = context.places.vault.display();
    Failure::not_found(format!("there is no vault in {vault}")).way_out("credentials vault init")
}

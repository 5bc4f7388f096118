//! What can be known about a vault without its key.

use tower_credentials::vault::file::{Check, FileVault, Report};
use tower_credentials::vault::key::{KeptKey, KeyId, VaultKey};

use crate::context::{Context, import_of};
use crate::failure::{Exit, Failure};
use crate::keys::KeyPlaceExt;
use crate::output;

/// How a vault in an engine gets another key.
pub(super) const NEW_KEY: &str = "credentials backup FILE; then restore it under another prefix (?prefix=…) with a new key: \
                                  credentials --vault URL --key-file FILE restore FILE";

/// Looks through a vault in a directory, as far as that needs no key. `None` if there is none.
pub(super) async fn look(context: &Context) -> Result<Option<Report>, Failure> {
    match context.places.vault.directory().filter(|directory| FileVault::is_at(directory)) {
        Some(directory) => Ok(Some(Check::new(directory).run().await?)),
        None => Ok(None),
    }
}

/// Describes the accounts that only this key opens. `None` if there are none.
pub(super) fn opened_by(report: Option<&Report>, key: KeyId) -> Option<String> {
    let sealed = report?.sealed.iter().find(|sealed| sealed.key == key)?;
    Some(in_words(sealed.records, sealed.providers.iter()))
}

pub(super) fn in_words<'a>(count: usize, providers: impl Iterator<Item = &'a String>) -> String {
    let accounts = if count == 1 { "account" } else { "accounts" };
    let providers: Vec<_> = providers.map(|provider| output::plain(provider)).collect();
    format!("{count} {accounts} ({})", providers.join(", "))
}

/// The end of a check that has found so many problems.
pub(super) fn end_of_check(problems: usize) -> Result<Exit, Failure> {
    match problems {
        0 => Ok(Exit::Done),
        1 => Err(Failure::new(Exit::Vault, "the vault has 1 problem")),
        problems => Err(Failure::new(Exit::Vault, format!("the vault has {problems} problems"))),
    }
}

/// The failure of a key that is not that of the vault, which is sealed with another one.
fn not_the_vaults(key: KeyId, vault: impl std::fmt::Display, other: KeyId) -> Failure {
    Failure::new(Exit::Vault, format!("the key {key} is not the vault's"))
        .because(format!("the vault {vault} is sealed with the key {other}"))
}

fn import_key(key: KeyId) -> String {
    format!("credentials vault import --file FILE, with the key {key}")
}

/// Refuses a key that does not open the vault.
pub(super) fn opens(context: &Context, report: &Report, key: &VaultKey) -> Result<(), Failure> {
    let id = key.id();
    let is_sealed_with = report.sealed.iter().any(|sealed| sealed.key == id);
    let other = match report.key {
        Some(known) => (known != id).then_some(known),
        // Only the records tell.
        None => report.sealed.iter().map(|sealed| sealed.key).find(|_| !is_sealed_with),
    };
    let Some(other) = other else { return Ok(()) };
    let failure = not_the_vaults(id, &report.directory, other);
    let failure = match is_sealed_with {
        true => failure.because(format!("the key {id} opens only what is not yet sealed with that key")),
        false => failure,
    };
    Err(failure.way_out(match context.keys.kept_key(other) {
        Some(file) => import_of(&file),
        None => import_key(other),
    }))
}

/// Refuses a key that does not open the vault in an engine. One that is away can't be asked.
pub(super) async fn opens_engine(context: &Context, key: KeyId) -> Result<(), Failure> {
    let Some(engine) = context.engine().await? else { return Ok(()) };
    match engine.sealed_with().await {
        Ok(Some(other)) if other != key => {
            Err(not_the_vaults(key, context.vault_name(), other).way_out(import_key(other)))
        }
        Ok(_) => Ok(()),
        Err(error) => {
            output::warn(format_args!("whether the key {key} is the vault's was not checked: {error}"));
            Ok(())
        }
    }
}

pub(super) fn say_kept(kept: &[KeptKey]) {
    for kept in kept {
        output::say(format_args!("The key {} is kept in {}", kept.id, kept.place));
    }
}

pub(super) fn no_vault(context: &Context) -> Failure {
    let vault = context.vault_name();
    Failure::not_found(format!("there is no vault in {vault}")).way_out("credentials vault init")
}

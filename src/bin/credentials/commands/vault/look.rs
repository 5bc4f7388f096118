//! What can be known about a vault without its key.

use tower_credentials::vault::file::{Check, FileVault, Report};
use tower_credentials::vault::key::{KeptKey, KeyId, VaultKey};

use crate::context::{Context, import_of};
use crate::failure::{Exit, Failure};
use crate::keys::KeyPlaceExt;
use crate::output;

/// Looks through the vault, as far as that needs no key. `None` if there is no vault.
pub(super) async fn look(context: &Context) -> Result<Option<Report>, Failure> {
    match FileVault::is_at(&context.places.vault) {
        true => Ok(Some(Check::new(&context.places.vault).run().await?)),
        false => Ok(None),
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
    let failure = Failure::new(Exit::Vault, format!("the key {id} is not the vault's"))
        .because(format!("the vault {} is sealed with the key {other}", report.directory));
    let failure = match is_sealed_with {
        true => failure.because(format!("the key {id} opens only what is not yet sealed with that key")),
        false => failure,
    };
    Err(failure.way_out(match context.keys.kept_key(other) {
        Some(file) => import_of(&file),
        None => format!("credentials vault import --file FILE, with the key {other}"),
    }))
}

pub(super) fn say_kept(kept: &[KeptKey]) {
    for kept in kept {
        output::say(format_args!("The key {} is kept in {}", kept.id, kept.place));
    }
}

pub(super) fn no_vault(context: &Context) -> Failure {
    let vault = context.places.vault.display();
    Failure::not_found(format!("there is no vault in {vault}")).way_out("credentials vault init")
}

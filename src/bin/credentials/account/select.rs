//! Which account is meant.

use tower_credentials::Metadata;
use tower_credentials::vault::{Listing, Vault, VaultExt};

use super::damage::warn_of_damage;
use super::pools::{of_the_environment_alone, own_name};
use crate::context::Context;
use crate::failure::Failure;
use crate::naming::{name, names};
use crate::nearest::nearest;
use crate::options::{OneAccount, SomeAccounts};
use crate::shell::quoted;

/// Finds the account that the text names.
pub(crate) async fn find(
    context: &Context,
    vault: &impl Vault,
    which: &OneAccount,
) -> Result<Metadata, Failure> {
    let text = &which.account;
    let namespace = which.namespace.namespace.as_deref();
    let found = find_all(context, vault, text, namespace).await?;
    match <[Metadata; 1]>::try_from(found) {
        Ok([one]) => Ok(one),
        Err(several) => Err(ambiguous(text, &several).way_out("name one by its label or its id")),
    }
}

/// Finds the accounts that the texts name, each once.
pub(crate) async fn find_some(
    context: &Context,
    vault: &impl Vault,
    which: &SomeAccounts,
) -> Result<Vec<Metadata>, Failure> {
    let namespace = which.namespace.namespace.as_deref();
    let mut meant: Vec<Metadata> = Vec::new();
    if which.accounts.is_empty() {
        let mut all = known(vault.list().await?, namespace);
        if all.is_empty() {
            return Err(
                Failure::not_found("there are no accounts").way_out("credentials login PROVIDER")
            );
        }
        meant.append(&mut all);
    }
    for text in &which.accounts {
        let found = find_all(context, vault, text, namespace).await?;
        if found.len() > 1 && !which.all {
            return Err(ambiguous(text, &found).way_out("name one of them, or add --all"));
        }
        let is_new = |account: &Metadata| meant.iter().all(|known| known.id != account.id);
        let new: Vec<_> = found.into_iter().filter(is_new).collect();
        meant.extend(new);
    }
    Ok(meant)
}

/// Returns the failure that a text names several accounts, but should name one.
pub(crate) fn ambiguous(text: &str, several: &[Metadata]) -> Failure {
    Failure::usage(format!("{text} matches {} accounts: {}", several.len(), names(several)))
}

/// Finds every account that the text names, at least one.
pub(crate) async fn find_all(
    context: &Context,
    vault: &impl Vault,
    text: &str,
    namespace: Option<&str>,
) -> Result<Vec<Metadata>, Failure> {
    find_listed(context, vault.list().await?, text, namespace)
}

/// The same of accounts that were listed before.
pub(crate) fn find_listed(
    context: &Context,
    listing: Listing,
    text: &str,
    namespace: Option<&str>,
) -> Result<Vec<Metadata>, Failure> {
    let known = known(listing, namespace);
    let found = matching(context, &known, text);
    if found.is_empty() {
        return Err(none_found(context, &known, text));
    }
    Ok(found)
}

/// Returns all accounts, in this namespace or in all, and warns of those that can't be read.
fn known(listing: Listing, namespace: Option<&str>) -> Vec<Metadata> {
    for damage in &listing.damaged {
        warn_of_damage(damage);
    }
    let mut known = listing.credentials;
    known
        .retain(|credential| namespace.is_none_or(|namespace| credential.pool.namespace() == namespace));
    known
}

/// Returns the accounts that the text names: by a whole id, else by a path, else by a provider, else by a label or the
/// beginning of an id.
pub(crate) fn matching(context: &Context, known: &[Metadata], text: &str) -> Vec<Metadata> {
    let (provider, rest) = text.split_once('/').map_or((text, None), |(name, rest)| (name, Some(rest)));
    let provider = own_name(context, provider);
    let path = rest.map(|rest| format!("{provider}/{rest}"));
    let is_path = |credential: &Metadata| {
        let (pool, label) = (&credential.pool, &credential.label);
        // A provider's own name may have a slash in it.
        [Some(text), path.as_deref()].into_iter().flatten().any(|path| {
            path == format!("{}/{label}", pool.provider()) || path == format!("{pool}/{label}")
        })
    };
    let is_of_provider = |credential: &Metadata| {
        credential.pool.provider() == text || (rest.is_none() && credential.pool.provider() == provider)
    };
    let begins =
        |credential: &Metadata| text.len() >= DIGITS && credential.id.to_string().starts_with(text);
    // It may be either.
    let is_label_or_beginning = |credential: &Metadata| *credential.label == *text || begins(credential);
    let by: [&dyn Fn(&Metadata) -> bool; 4] = [
        &|credential| credential.id.to_string() == text,
        &is_path,
        &is_of_provider,
        &is_label_or_beginning,
    ];
    let found = |is: &&dyn Fn(&Metadata) -> bool| {
        let found: Vec<_> = known.iter().filter(|credential| is(credential)).cloned().collect();
        (!found.is_empty()).then_some(found)
    };
    by.iter().find_map(found).unwrap_or_default()
}

/// The fewest digits of an id's beginning that name an account.
const DIGITS: usize = 4;

fn none_found(context: &Context, known: &[Metadata], text: &str) -> Failure {
    let provider = own_name(context, text.split('/').next().unwrap_or(text));
    if let Some(variable) = of_the_environment_alone(context, known, &provider) {
        return Failure::not_found(format!(
            "the only account of {provider} is the key in the variable {variable}"
        ))
        .way_out(format!(
            "set or unset {variable}, or store a key: credentials login {} --api-key",
            quoted(&provider)
        ));
    }
    let others: Vec<_> =
        known.iter().filter(|other| other.pool.provider() == provider).cloned().collect();
    let failure = Failure::not_found(format!("there is no account {text}"));
    let is_short = !text.is_empty() && text.len() < DIGITS;
    if is_short && known.iter().any(|other| other.id.to_string().starts_with(text)) {
        let because = format!("the beginning of an id needs at least {DIGITS} digits");
        return failure.because(because).way_out("credentials list");
    }
    if !others.is_empty() {
        return failure
            .because(format!("{provider} has {}", names(&others)))
            .way_out("credentials list");
    }
    if context.registry.provider(&provider).is_ok() {
        return failure.way_out(format!("credentials login {}", quoted(&provider)));
    }
    if known.is_empty() {
        return Failure::not_found("there are no accounts yet").way_out("credentials login PROVIDER");
    }
    let names: Vec<_> = known.iter().map(|one| (&*one.label, name(one))).collect();
    let by_label = names.iter().flat_map(|(label, name)| [*label, name]);
    match nearest(text, by_label) {
        Some(near) => {
            let is_near = |(label, name): &&(&str, String)| *label == near || *name == near;
            let name = names.iter().find(is_near).map_or(near.as_str(), |(_, name)| name);
            failure.because(format!("the nearest is {name}"))
        }
        None => failure,
    }
    .way_out("credentials list")
}

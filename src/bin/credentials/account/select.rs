//! Which account is meant.

use std::collections::HashMap;

use tower_credentials::vault::{Vault, VaultExt};
use tower_credentials::{Kind, Metadata, PoolKey};

use super::of_the_environment;
use crate::args::OneAccount;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// The variable with the only key that a provider has.
fn of_the_environment_alone(context: &Context, known: &[Metadata], provider: &str) -> Option<String> {
    of_the_environment(context, provider)?;
    let has_none = known.iter().all(|other| other.pool.provider() != provider);
    let variable = context.registry.api_key_variable(provider).ok()??;
    has_none.then(|| variable.to_owned())
}

/// A provider's own name, whatever alias it was typed by. A vault may hold credentials of providers that no
/// setting names.
pub(crate) fn own_name(context: &Context, name: &str) -> String {
    match context.registry.pool_key(name) {
        Ok(key) => key.provider().to_owned(),
        Err(_) => name.to_owned(),
    }
}

/// The one account that is meant.
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

/// That a text names several accounts where one is wanted.
pub(crate) fn ambiguous(text: &str, several: &[Metadata]) -> Failure {
    Failure::usage(format!("{text} may be any of {}: {}", several.len(), names(several)))
}

/// Every account that is meant, at least one.
pub(crate) async fn find_all(
    context: &Context,
    vault: &impl Vault,
    text: &str,
    namespace: Option<&str>,
) -> Result<Vec<Metadata>, Failure> {
    let listing = vault.list().await?;
    for damage in &listing.damaged {
        output::warn(damage);
    }
    let mut known = listing.credentials;
    known
        .retain(|credential| namespace.is_none_or(|namespace| credential.pool.namespace() == namespace));
    let found = matching(context, &known, text);
    if found.is_empty() {
        return Err(none_found(context, &known, text));
    }
    Ok(found)
}

/// Those that the text names: by an id whole, then by a path, then by a provider, then by a label alone or an id's
/// beginning.
fn matching(context: &Context, known: &[Metadata], text: &str) -> Vec<Metadata> {
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
    let begins = |credential: &Metadata| text.len() >= 4 && credential.id.to_string().starts_with(text);
    // Either may be meant.
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

fn none_found(context: &Context, known: &[Metadata], text: &str) -> Failure {
    let provider = own_name(context, text.split('/').next().unwrap_or(text));
    if let Some(variable) = of_the_environment_alone(context, known, &provider) {
        return Failure::not_found(format!(
            "{provider} has no account but the key in the variable {variable}"
        ))
        .way_out(format!(
            "set or unset {variable}, or store a key: credentials login {provider} --api-key"
        ));
    }
    let others: Vec<_> =
        known.iter().filter(|other| other.pool.provider() == provider).cloned().collect();
    let failure = Failure::not_found(format!("there is no account {text}"));
    if !others.is_empty() {
        return failure
            .because(format!("{provider} has {}", names(&others)))
            .way_out("credentials list");
    }
    if context.registry.provider(&provider).is_ok() {
        return failure.way_out(format!("credentials login {provider}"));
    }
    failure.way_out("credentials list")
}

/// An account as it is typed.
pub(crate) fn name(credential: &Metadata) -> String {
    let Metadata { pool, label, .. } = credential;
    match pool.namespace() {
        PoolKey::DEFAULT_NAMESPACE => format!("{}/{label}", pool.provider()),
        _ => format!("{pool}/{label}"),
    }
}

/// How a person adds an account to a pool.
pub(crate) fn login(context: &Context, pool: &PoolKey) -> String {
    let is_usual = context.registry.pool_key(pool.provider()).is_ok_and(|usual| usual == *pool);
    let namespace = match is_usual {
        true => String::new(),
        false => format!(" --namespace {}", shell_words::quote(pool.namespace())),
    };
    format!("credentials login {}{namespace}", shell_words::quote(pool.provider()))
}

/// How a person puts another secret in the place of an account's. `None` where no command does that.
pub(crate) fn renewal(context: &Context, credential: &Metadata) -> Option<String> {
    let Metadata { pool, label, kind, .. } = credential;
    if let Some(variable) = label.strip_prefix('$') {
        return Some(format!("set {variable} to another key"));
    }
    let by = match kind {
        Kind::OAuth => "",
        Kind::Api => " --api-key",
        _ => return None,
    };
    Some(format!("{} --label {}{by} --replace", login(context, pool), shell_words::quote(label)))
}

/// How a person puts a paused account to use again.
pub(crate) fn resumption(credential: &Metadata) -> String {
    format!("credentials resume {}", shell_words::quote(&name(credential)))
}

/// How many names are told where there are many.
const TOLD: usize = 6;

/// Accounts as they are typed; of many, the first ones.
pub(crate) fn names(credentials: &[Metadata]) -> String {
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for credential in credentials {
        *by_name.entry(name(credential)).or_default() += 1;
    }
    let told = credentials.iter().take(TOLD).map(|credential| match name(credential) {
        name if by_name[&name] > 1 => format!("{name} ({})", credential.id),
        name => name,
    });
    let mut told: Vec<_> = told.collect();
    if credentials.len() > TOLD {
        told.push(format!("and {} more", credentials.len() - TOLD));
    }
    told.join(", ")
}

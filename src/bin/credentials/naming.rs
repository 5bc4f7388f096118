//! The names of accounts, and the commands for them, as a person types them.

use std::collections::HashMap;

use tower_credentials::{Kind, Metadata, PoolKey};

use crate::shell::{option, quoted};

/// Returns the name of an account, as a person types it.
pub(crate) fn name(credential: &Metadata) -> String {
    named(&credential.pool, &credential.label)
}

/// Returns the name of the account with this label, as a person types it.
pub(crate) fn named(pool: &PoolKey, label: &str) -> String {
    match pool.namespace() {
        PoolKey::DEFAULT_NAMESPACE => format!("{}/{label}", pool.provider()),
        _ => format!("{pool}/{label}"),
    }
}

/// Returns the kind of an account, for a person. `--json` has the word of the vault's format.
pub(crate) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::WellKnown => "environment",
        other => other.as_str(),
    }
}

/// The most names that are listed.
const MOST: usize = 6;

/// Returns the names of accounts; of many, only the first ones.
pub(crate) fn names(credentials: &[Metadata]) -> String {
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for credential in credentials {
        *by_name.entry(name(credential)).or_default() += 1;
    }
    let listed = credentials.iter().take(MOST).map(|credential| match name(credential) {
        name if by_name[&name] > 1 => format!("{name} ({})", credential.id),
        name => name,
    });
    let mut listed: Vec<_> = listed.collect();
    if credentials.len() > MOST {
        listed.push(format!("and {} more", credentials.len() - MOST));
    }
    listed.join(", ")
}

/// Returns the command that tests the accounts of a pool.
pub(crate) fn test(pool: &PoolKey) -> String {
    let namespace = match pool.namespace() {
        PoolKey::DEFAULT_NAMESPACE => String::new(),
        namespace => format!(" {}", option("--namespace", namespace)),
    };
    format!("credentials test {}{namespace}", quoted(pool.provider()))
}

/// Returns the command that ends an account's cooldowns.
pub(crate) fn reset(credential: &Metadata) -> String {
    format!("credentials reset {}, to use it now", quoted(name(credential)))
}

/// Returns the command that resumes a paused account.
pub(crate) fn resumption(credential: &Metadata) -> String {
    format!("credentials resume {}", quoted(name(credential)))
}

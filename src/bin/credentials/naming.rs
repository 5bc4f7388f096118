//! The names of accounts, and the commands for them, as a person types them.

use std::collections::HashMap;

use tower_credentials::{Metadata, PoolKey};

use crate::shell::{option, quoted};

/// An account as it is typed.
pub(crate) fn name(credential: &Metadata) -> String {
    let Metadata { pool, label, .. } = credential;
    match pool.namespace() {
        PoolKey::DEFAULT_NAMESPACE => format!("{}/{label}", pool.provider()),
        _ => format!("{pool}/{label}"),
    }
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

/// How a person asks the vendor about the accounts of a pool.
pub(crate) fn test(pool: &PoolKey) -> String {
    let namespace = match pool.namespace() {
        PoolKey::DEFAULT_NAMESPACE => String::new(),
        namespace => format!(" {}", option("--namespace", namespace)),
    };
    format!("credentials test {}{namespace}", quoted(pool.provider()))
}

/// How a person puts a paused account to use again.
pub(crate) fn resumption(credential: &Metadata) -> String {
    format!("credentials resume {}", quoted(name(credential)))
}

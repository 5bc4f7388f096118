//! The pools that hold accounts, and the keys that the environment adds to them.

use std::collections::{BTreeMap, BTreeSet};

use tower_credentials::vault::{Listing, Vault, VaultExt};
use tower_credentials::{Metadata, PoolKey};

use crate::context::Context;
use crate::failure::Failure;
use crate::shell::option;

/// Returns a provider's own name for a name or an alias. A vault may have accounts of providers that the settings lack.
pub(crate) fn own_name(context: &Context, name: &str) -> String {
    match context.registry.pool_key(name) {
        Ok(key) => key.provider().to_owned(),
        Err(_) => name.to_owned(),
    }
}

/// Returns the pools that have accounts, of this provider or of all, in this namespace or in all.
pub(crate) fn pools(
    context: &Context,
    listing: &Listing,
    provider: Option<&str>,
    namespace: Option<&str>,
) -> BTreeSet<PoolKey> {
    let provider = provider.map(|name| own_name(context, name));
    // The accounts of a pool follow one another.
    let listed = listing.credentials.chunk_by(|one, other| one.pool == other.pool);
    let mut pools: BTreeSet<_> = listed.map(|of_pool| of_pool[0].pool.clone()).collect();
    pools.extend(context.registry.names().filter_map(|name| of_the_environment(context, name)));
    pools.retain(|pool| {
        provider.as_deref().is_none_or(|provider| pool.provider() == provider)
            && namespace.is_none_or(|namespace| pool.namespace() == namespace)
    });
    pools
}

/// Returns the failure that a pool has no account, with where else the provider has some.
pub(crate) async fn no_account(vault: &impl Vault, key: &PoolKey, failure: Failure) -> Failure {
    let listed = vault.list().await.map(|listing| listing.credentials).unwrap_or_default();
    let mut counts: BTreeMap<PoolKey, usize> = BTreeMap::new();
    for account in listed.into_iter().filter(|account| account.pool.provider() == key.provider()) {
        *counts.entry(account.pool).or_default() += 1;
    }
    let first = counts.keys().next().map(|pool| option("--namespace", pool.namespace()));
    let failure = counts.iter().fold(failure, |failure, (pool, count)| match count {
        1 => failure.because(format!("1 account is in {pool}")),
        count => failure.because(format!("{count} accounts are in {pool}")),
    });
    match first {
        Some(namespace) => failure.way_out(format!("add {namespace}")),
        None => failure,
    }
}

/// Returns the provider's pool, if the environment has a key for it.
pub(super) fn of_the_environment(context: &Context, provider: &str) -> Option<PoolKey> {
    let variable = context.registry.api_key_variable(provider).ok()??;
    std::env::var_os(variable).filter(|key| !key.is_empty())?;
    context.registry.pool_key(provider).ok()
}

/// Returns the variable of a provider's key, if that is its only account.
pub(super) fn of_the_environment_alone(
    context: &Context,
    known: &[Metadata],
    provider: &str,
) -> Option<String> {
    of_the_environment(context, provider)?;
    let has_none = known.iter().all(|other| other.pool.provider() != provider);
    let variable = context.registry.api_key_variable(provider).ok()??;
    has_none.then(|| variable.to_owned())
}

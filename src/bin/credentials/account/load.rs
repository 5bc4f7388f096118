//! Reads accounts from the vault, with all that is known of them.

use std::collections::{HashMap, HashSet};

use tower_credentials::vault::{Damage, Listing, Vault, VaultExt};
use tower_credentials::{Credential, CredentialId, CredentialStatus, Pool, PoolKey};

use super::left_out::Choice;
use super::pools::{of_the_environment, pools};
use super::quota::{QuotaOf, Quotas};
use super::read_once::ReadOnce;
use super::renewal::{LastRenewal, Unrenewable, last_renewals};
use super::state::{Account, unread_response};
use super::tiers::Tiers;
use super::unusable::{Unusable, is_same};
use crate::context::Context;
use crate::failure::Failure;
use crate::time::now;

/// Loads the listed accounts of this provider or of all, in this namespace or in all, and what could not be read.
pub(crate) async fn load_selected(
    context: &Context,
    vault: &impl Vault,
    listing: &Listing,
    provider: Option<&str>,
    namespace: Option<&str>,
) -> Result<(Vec<Account>, Vec<Damage>), Failure> {
    let pools = pools(context, listing, provider, namespace);
    if let Some(provider) = provider.filter(|_| pools.is_empty()) {
        // A name without a provider or an account is a typing error.
        context.pool_key(provider, None)?;
    }
    // What can't be read may belong to any pool, even to one that is not listed.
    let (accounts, damaged) = load(context, vault, pools).await;
    let mut damaged: Vec<_> = listing.damaged.iter().cloned().chain(damaged).collect();
    damaged.sort_by(|one, other| one.record.cmp(&other.record));
    damaged.dedup_by(|one, other| is_same(one, other));
    Ok((accounts, damaged))
}

/// Loads the accounts of these pools, in the order in which requests take them, and what could not be read. A key of the
/// environment that a pool uses is one of the accounts.
pub(crate) async fn load(
    context: &Context,
    vault: &impl Vault,
    pools: impl IntoIterator<Item = PoolKey>,
) -> (Vec<Account>, Vec<Damage>) {
    let (mut accounts, mut damaged) = (Vec::new(), Vec::new());
    let last_renewals = last_renewals(context).await;
    for key in pools {
        // One that does not open does not affect the others.
        let loaded = load_one(context, vault, key, &last_renewals).await;
        accounts.extend(loaded.accounts);
        damaged.extend(loaded.damaged);
    }
    (accounts, damaged)
}

/// One pool's accounts, what could not be read, and the pool that was opened with them.
pub(crate) struct Loaded {
    pub(crate) accounts: Vec<Account>,
    pub(crate) damaged: Vec<Damage>,
    /// An error if there is no such provider, or if its mode allows none of the accounts.
    pub(crate) pool: Result<Pool, Failure>,
}

/// Loads the accounts of a pool as [`load`] does.
pub(crate) async fn load_pool(context: &Context, vault: &impl Vault, key: PoolKey) -> Loaded {
    load_one(context, vault, key, &last_renewals(context).await).await
}

async fn load_one(
    context: &Context,
    vault: &impl Vault,
    key: PoolKey,
    last_renewals: &HashMap<CredentialId, LastRenewal>,
) -> Loaded {
    let now = now();
    let stored = match vault.load_pool(key.clone()).await {
        Ok(stored) => stored,
        Err(error) => {
            let damage = Damage::new(format!("the pool {key}"), error.to_string());
            return Loaded { accounts: Vec::new(), damaged: vec![damage], pool: Err(error.into()) };
        }
    };
    let tiers = Tiers::of(context, &key, &stored.standings);
    let has_tiers = tiers.are_several();
    let mut by_tier: Vec<_> = stored.credentials.iter().collect();
    by_tier.sort_by_key(|record| tiers.tier(&record.metadata));
    let known: HashSet<_> = stored.credentials.iter().map(|record| record.metadata.id).collect();
    let kinds = stored.credentials.iter().map(|record| record.metadata.kind);
    let choice = Choice::of(context, &key, kinds, &stored.damaged);
    let left_out = |kind| choice.and_then(|choice| choice.leaves_out(kind));
    let mut damaged = stored.damaged.clone();
    let quotas = Quotas::of(&stored.standings, stored.credentials.iter().map(|record| &record.metadata));
    // As the pool sees them.
    let mut standings = stored.standings.seen(now);
    let stand = |record: &Credential| Account {
        tier: tiers.tier(&record.metadata),
        quota: quotas.quota(record.metadata.id),
        standing: standings.remove(&record.metadata.id).unwrap_or_default(),
        expires_at: record.secret.expires_at(),
        unrenewable: Unrenewable::of(context, &key, &record.secret),
        is_renewable: Unrenewable::is_renewable(context, &key, &record.secret),
        left_out: left_out(record.metadata.kind),
        is_known: choice.is_some(),
        has_unread_response: unread_response(&record.secret).is_some(),
        last_renewal: last_renewals.get(&record.metadata.id).cloned(),
        is_active: false,
        credential: record.metadata.clone(),
    };
    let mut accounts: Vec<_> = by_tier.into_iter().map(stand).collect();
    let unusable = Unusable::default();
    let read = ReadOnce::new(vault.clone());
    read.keep(&key, stored);
    let pool = match context.picking_pool(&key, read) {
        Ok(pool) => pool.on_event(unusable.observer()).open().await.map_err(Failure::from),
        Err(failure) => Err(failure),
    };
    damaged.extend(unusable.beside(&damaged));
    // By the settings, requests may use another namespace.
    let named = context.registry.namespace(key.provider()).ok().flatten();
    let is_used = named.is_none_or(|namespace| namespace == key.namespace());
    let active = pool.as_ref().ok().and_then(Pool::active).filter(|_| is_used);
    for account in &mut accounts {
        account.is_active = active == Some(account.credential.id);
    }
    // Only the environment adds one.
    let in_use = match of_the_environment(context, key.provider()) {
        Some(_) => pool.as_ref().map(Pool::status).unwrap_or_default(),
        None => Vec::new(),
    };
    let of_the_environment = in_use.into_iter().filter(|status| !known.contains(&status.credential.id));
    accounts.extend(of_the_environment.map(|CredentialStatus { credential, standing, .. }| Account {
        tier: if has_tiers { standing.tier(credential.kind) } else { 0 },
        quota: QuotaOf::default(),
        standing,
        expires_at: None,
        unrenewable: None,
        left_out: left_out(credential.kind),
        is_known: true,
        has_unread_response: false,
        is_renewable: false,
        last_renewal: None,
        is_active: active == Some(credential.id),
        credential,
    }));
    Loaded { accounts, damaged, pool }
}

//! An account, and how it stands.

mod json;
mod left_out;
mod read_once;
mod renewal;
mod select;
mod state;
mod trouble;

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tower_credentials::events::Event;
use tower_credentials::standing::{Standing, Standings};
use tower_credentials::vault::{Damage, Listing, Vault, VaultExt};
use tower_credentials::{Credential, CredentialStatus, Metadata, Mode, Pool, PoolKey};

use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::time::now;

pub(crate) use json::Identity;
pub(crate) use left_out::{
    Choice, LeftOut, tell as tell_left_out, tell_of as tell_left_out_of,
    tell_of_stored as tell_left_out_of_stored, way_out as use_left_out,
};
pub(crate) use read_once::{ReadOnce, read_all};
pub(crate) use renewal::{CUT_OFF, Unrenewable, cut_off};
pub(crate) use select::{
    ambiguous, find, find_all, find_some, login, name, names, own_name, renewal, resumption, setting,
    test,
};
pub(crate) use state::{Account, State, unread_response};
pub(crate) use trouble::Trouble;

/// The accounts of this provider or of all, in this namespace or in all; and what could not be read.
pub(crate) async fn load_meant(
    context: &Context,
    vault: &impl Vault,
    provider: Option<&str>,
    namespace: Option<&str>,
) -> Result<(Vec<Account>, Vec<Damage>), Failure> {
    let listing = vault.list().await?;
    let pools = pools(context, &listing, provider, namespace);
    if let Some(provider) = provider.filter(|_| pools.is_empty()) {
        // One that nobody knows and of which there is no account is a slip of the keyboard.
        context.registry.provider(provider)?;
    }
    // What can't be read at all may be of any pool, and of one that is not listed.
    let (accounts, damaged) = load(context, vault, pools).await;
    let mut damaged: Vec<_> = listing.damaged.into_iter().chain(damaged).collect();
    damaged.sort_by(|one, other| one.record.cmp(&other.record));
    damaged.dedup_by(|one, other| is_same(one, other));
    Ok((accounts, damaged))
}

/// Whether the same is wrong with the same record.
fn is_same(one: &Damage, other: &Damage) -> bool {
    (&one.record, &one.reason) == (&other.record, &other.reason)
}

/// The accounts of these pools, in each pool's order, and what could not be read. A key of the environment that
/// a pool uses is one of them.
pub(crate) async fn load(
    context: &Context,
    vault: &impl Vault,
    pools: impl IntoIterator<Item = PoolKey>,
) -> (Vec<Account>, Vec<Damage>) {
    let (mut accounts, mut damaged) = (Vec::new(), Vec::new());
    let (cut_off, now) = (cut_off(context).await, now());
    for key in pools {
        let stored = match vault.load_pool(key.clone()).await {
            Ok(stored) => stored,
            // The others are not affected.
            Err(error) => {
                damaged.push(Damage::new(format!("the pool {key}"), error.to_string()));
                continue;
            }
        };
        let tiers = Tiers::of(context, &key, &stored.standings);
        let mut by_tier: Vec<_> = stored.credentials.iter().collect();
        by_tier.sort_by_key(|record| tiers.tier(&record.metadata));
        let known: HashSet<_> = stored.credentials.iter().map(|record| record.metadata.id).collect();
        let kinds = stored.credentials.iter().map(|record| record.metadata.kind);
        let choice = Choice::of(context, &key, kinds, &stored.damaged);
        let left_out = |kind| choice.and_then(|choice| choice.leaves_out(kind));
        damaged.extend_from_slice(&stored.damaged);
        let standing = |id| {
            let mut standing = stored.standings.credentials.get(&id).cloned().unwrap_or_default();
            // As the pool takes it.
            standing.forget_misdated(now);
            standing
        };
        let stand = |record: &Credential| Account {
            standing: standing(record.metadata.id),
            expires_at: record.secret.expires_at(),
            unrenewable: Unrenewable::of(context, &key, &record.secret),
            left_out: left_out(record.metadata.kind),
            is_known: choice.is_some(),
            has_unread_response: unread_response(&record.secret).is_some(),
            is_cut_off: cut_off.contains(&record.metadata.id),
            is_active: false,
            credential: record.metadata.clone(),
        };
        let first = accounts.len();
        accounts.extend(by_tier.into_iter().map(stand));
        let unusable = Unusable::default();
        // Nothing where the settings name no such provider, or its mode allows none of these.
        let pool = match context.pool(&key, ReadOnce::new(vault.clone(), &key, Some(stored))) {
            Ok(pool) => pool.on_event(unusable.observer()).open().await.ok(),
            Err(_) => None,
        };
        damaged.extend(unusable.beside(&damaged));
        let active = pool.as_ref().and_then(Pool::active);
        for account in &mut accounts[first..] {
            account.is_active = active == Some(account.credential.id);
        }
        let in_use = pool.map(|pool| pool.status()).unwrap_or_default();
        let of_the_environment =
            in_use.into_iter().filter(|status| !known.contains(&status.credential.id));
        accounts.extend(of_the_environment.map(|CredentialStatus { credential, standing, .. }| {
            Account {
                standing,
                expires_at: None,
                unrenewable: None,
                left_out: left_out(credential.kind),
                is_known: true,
                has_unread_response: false,
                is_cut_off: false,
                is_active: active == Some(credential.id),
                credential,
            }
        }));
    }
    (accounts, damaged)
}

/// The tiers of a pool's accounts.
pub(crate) struct Tiers<'a> {
    standings: &'a Standings,
    /// Whether requests come by accounts of several: the pool's mode takes all kinds, or a person has said so.
    are_several: bool,
}

impl<'a> Tiers<'a> {
    pub(crate) fn of(context: &Context, pool: &PoolKey, standings: &'a Standings) -> Self {
        let takes_all = context.registry.mode(pool.provider()).is_ok_and(|mode| mode == Mode::All);
        let is_said = standings.credentials.values().any(|standing| standing.tier.is_some());
        Self { standings, are_several: takes_all || is_said }
    }

    pub(crate) fn tier(&self, account: &Metadata) -> u8 {
        if !self.are_several {
            return 0;
        }
        let standing = self.standings.credentials.get(&account.id);
        standing.unwrap_or(&Standing::default()).tier(account.kind)
    }
}

/// What a pool can't use, as its events tell it: a key of the environment, too, which is no record of the vault's.
#[derive(Default)]
pub(crate) struct Unusable(Arc<Mutex<Vec<Damage>>>);

impl Unusable {
    pub(crate) fn observer(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let told = self.0.clone();
        move |event| {
            if let Event::Damaged { damage } = event {
                told.lock().unwrap_or_else(PoisonError::into_inner).push((*damage).clone());
            }
        }
    }

    /// Warns of what a pool can't use, but for these. A pool that can use nothing says so by its error.
    pub(crate) fn warn(&self, pool: &Pool, known: &[Damage]) {
        if !pool.status().is_empty() {
            self.beside(known).iter().for_each(output::warn);
        }
    }

    /// What is not among these.
    pub(crate) fn beside(&self, known: &[Damage]) -> Vec<Damage> {
        let mut told = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        told.retain(|damage| !known.iter().any(|known| is_same(known, damage)));
        told
    }
}

/// The pools that hold credentials, of this provider or of all, in this namespace or in all.
pub(crate) fn pools(
    context: &Context,
    listing: &Listing,
    provider: Option<&str>,
    namespace: Option<&str>,
) -> BTreeSet<PoolKey> {
    let provider = provider.map(|name| own_name(context, name));
    let mut pools: BTreeSet<_> =
        listing.credentials.iter().map(|credential| credential.pool.clone()).collect();
    pools.extend(context.registry.names().filter_map(|name| of_the_environment(context, name)));
    pools.retain(|pool| {
        provider.as_deref().is_none_or(|provider| pool.provider() == provider)
            && namespace.is_none_or(|namespace| pool.namespace() == namespace)
    });
    pools
}

/// The provider's pool, if the environment has a key for it.
fn of_the_environment(context: &Context, provider: &str) -> Option<PoolKey> {
    let variable = context.registry.api_key_variable(provider).ok()??;
    std::env::var_os(variable).filter(|key| !key.is_empty())?;
    context.registry.pool_key(provider).ok()
}

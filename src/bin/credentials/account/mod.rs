//! An account, and how it stands.

mod select;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tower_credentials::events::Event;
use tower_credentials::standing::{Health, Reason, Standing};
use tower_credentials::vault::{Damage, Vault, VaultExt};
use tower_credentials::{
    CredentialId, CredentialStatus, Generation, Metadata, OAuthTokens, Pool, PoolKey, Secret,
    SecretString, Timestamp,
};

use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::time::{brief, rfc3339};

pub(crate) use select::{ambiguous, find, find_all, login, name, names, own_name, renewal, resumption};

/// An account, and how it stands.
pub(crate) struct Account {
    pub(crate) credential: Metadata,
    pub(crate) standing: Standing,
    /// When its access token stops working.
    pub(crate) expires_at: Option<Timestamp>,
    /// Whether a token that has expired is renewed without a person.
    pub(crate) is_renewable: bool,
    /// Whether a request takes it that names none.
    pub(crate) is_active: bool,
    /// Whether an answer of its token endpoint is kept that could not be read.
    pub(crate) has_unread_answer: bool,
}

/// An answer of the token endpoint that could not be read: the tokens in it are nowhere else.
pub(crate) fn unread_answer(secret: &Secret) -> Option<&SecretString> {
    match secret {
        Secret::OAuth(tokens) | Secret::Mcp(tokens) => tokens.extra.get(OAuthTokens::UNREAD_ANSWER),
        _ => None,
    }
}

/// Whether an account can be used now.
pub(crate) enum State {
    Ready,
    Paused,
    Cooling {
        until: Timestamp,
    },
    /// Out of money, or at a bound of its owner's: until this time, or until a person acts.
    Spent {
        reason: Option<String>,
        until: Option<Timestamp>,
    },
    /// The key is of no use any more.
    Dead {
        reason: String,
    },
    NeedsSignIn {
        reason: String,
    },
}

impl Account {
    pub(crate) fn state(&self, now: Timestamp) -> State {
        if self.standing.paused {
            return State::Paused;
        }
        match &self.standing.health {
            Health::NeedsSignIn { reason, .. } => return State::NeedsSignIn { reason: reason.clone() },
            Health::Dead { reason, .. } => return State::Dead { reason: reason.clone() },
            Health::Spent { reason, .. } => {
                return State::Spent { reason: Some(reason.clone()), until: None };
            }
            _ => {}
        }
        match self.standing.cooldown(None) {
            Some(cooldown) if cooldown.until > now && cooldown.reason == Reason::Spent => {
                State::Spent { reason: None, until: Some(cooldown.until) }
            }
            Some(cooldown) if cooldown.until > now => State::Cooling { until: cooldown.until },
            _ => State::Ready,
        }
    }

    /// The state in words, in colour.
    pub(crate) fn describe_state(&self, now: Timestamp) -> String {
        match self.state(now) {
            State::NeedsSignIn { .. } => output::bad("needs sign-in").to_string(),
            State::Cooling { until } => {
                output::doubtful(format_args!("cooling, {} left", brief(until.since(now)))).to_string()
            }
            State::Dead { .. } => output::bad("dead, needs another key").to_string(),
            State::Spent { until: None, .. } => output::bad("spent").to_string(),
            State::Spent { until: Some(until), .. } => {
                output::bad(format_args!("spent, {} left", brief(until.since(now)))).to_string()
            }
            State::Paused => output::doubtful("paused").to_string(),
            State::Ready => match self.expires_at {
                Some(end) if end <= now && !self.is_renewable => output::bad("expired").to_string(),
                Some(end) if end <= now => output::good("ready, to be renewed").to_string(),
                Some(end) => {
                    output::good(format_args!("ready, expires in {}", brief(end.since(now)))).to_string()
                }
                None => output::good("ready").to_string(),
            },
        }
    }

    /// The cooldowns of single scopes that have not ended: what is limited, and until when.
    pub(crate) fn limited_scopes(&self, now: Timestamp) -> impl Iterator<Item = (&str, Timestamp)> {
        self.standing.cooldowns.iter().filter_map(move |cooldown| {
            let scope = cooldown.scope.as_ref()?;
            (cooldown.until > now).then(|| (scope.as_str(), cooldown.until))
        })
    }

    pub(crate) fn json(&self, now: Timestamp) -> Json<'_> {
        let credential = &self.credential;
        let (state, until, reason) = match self.state(now) {
            State::Ready => ("ready", None, None),
            State::Paused => ("paused", None, None),
            State::Cooling { until } => ("cooling", Some(rfc3339(until)), None),
            State::Spent { reason, until } => ("spent", until.map(rfc3339), reason),
            State::Dead { reason } => ("dead", None, Some(reason)),
            State::NeedsSignIn { reason } => ("needs_sign_in", None, Some(reason)),
        };
        Json {
            identity: Identity::of(credential),
            active: self.is_active,
            state,
            cooling_until: until,
            cooling_scopes: self
                .limited_scopes(now)
                .map(|(scope, until)| CoolingScope { scope, cooling_until: rfc3339(until) })
                .collect(),
            reason,
            unread_answer: self.has_unread_answer,
            expires_at: self.expires_at.map(rfc3339),
            failures: self.standing.failures,
            last_status: self.standing.last_answer.map(|answer| answer.status),
            last_used_at: self.standing.last_answer.map(|answer| rfc3339(answer.at)),
            created_at: rfc3339(credential.created_at),
            updated_at: rfc3339(credential.updated_at),
            generation: credential.generation,
            attributes: &credential.attributes,
        }
    }
}

/// Which account, in `--json`.
#[derive(Serialize)]
pub(crate) struct Identity<'a> {
    id: CredentialId,
    provider: &'a str,
    namespace: &'a str,
    label: &'a str,
    kind: &'static str,
}

impl<'a> Identity<'a> {
    pub(crate) fn of(credential: &'a Metadata) -> Self {
        Self {
            id: credential.id,
            provider: credential.pool.provider(),
            namespace: credential.pool.namespace(),
            label: &credential.label,
            kind: credential.kind.as_str(),
        }
    }
}

/// An account in `--json`.
#[derive(Serialize)]
pub(crate) struct Json<'a> {
    #[serde(flatten)]
    identity: Identity<'a>,
    active: bool,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cooling_until: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cooling_scopes: Vec<CoolingScope<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unread_answer: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    created_at: String,
    updated_at: String,
    generation: Generation,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: &'a BTreeMap<String, String>,
}

/// A scope of an account in `--json`, such as a model, that is limited alone.
#[derive(Serialize)]
struct CoolingScope<'a> {
    scope: &'a str,
    cooling_until: String,
}

/// The accounts of these pools, in each pool's order, and what could not be read. A key of the environment that
/// a pool uses is one of them.
pub(crate) async fn load(
    context: &Context,
    vault: &impl Vault,
    pools: impl IntoIterator<Item = PoolKey>,
) -> Result<(Vec<Account>, Vec<Damage>), Failure> {
    let (mut accounts, mut damaged) = (Vec::new(), Vec::new());
    for key in pools {
        let mut stored = match vault.load_pool(key.clone()).await {
            Ok(stored) => stored,
            // The others are not affected.
            Err(error) => {
                damaged.push(Damage::new(format!("the pool {key}"), error.to_string()));
                continue;
            }
        };
        damaged.append(&mut stored.damaged);
        let unusable = Unusable::default();
        // Nothing where the settings name no such provider, or its mode allows none of these.
        let pool = match context.pool(&key, vault.clone()) {
            Ok(pool) => pool.on_event(unusable.observer()).open().await.ok(),
            Err(_) => None,
        };
        damaged.extend(unusable.beside(&damaged));
        let active = pool.as_ref().and_then(Pool::active);
        let in_use = pool.map(|pool| pool.status()).unwrap_or_default();
        let known: HashSet<_> = stored.credentials.iter().map(|record| record.metadata.id).collect();
        for record in stored.credentials {
            let id = record.metadata.id;
            accounts.push(Account {
                standing: stored.standings.credentials.remove(&id).unwrap_or_default(),
                expires_at: record.secret.expires_at(),
                is_renewable: record.secret.refresh_token().is_some(),
                has_unread_answer: unread_answer(&record.secret).is_some(),
                is_active: active == Some(id),
                credential: record.metadata,
            });
        }
        let of_the_environment =
            in_use.into_iter().filter(|status| !known.contains(&status.credential.id));
        accounts.extend(of_the_environment.map(|CredentialStatus { credential, standing, .. }| {
            Account {
                standing,
                expires_at: None,
                is_renewable: false,
                has_unread_answer: false,
                is_active: active == Some(credential.id),
                credential,
            }
        }));
    }
    damaged.sort_by(|one, other| one.record.cmp(&other.record));
    damaged.dedup();
    Ok((accounts, damaged))
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

    /// What is not among these.
    pub(crate) fn beside(&self, known: &[Damage]) -> Vec<Damage> {
        let mut told = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        told.retain(|damage| {
            known.iter().all(|known| (&known.record, &known.reason) != (&damage.record, &damage.reason))
        });
        told
    }
}

/// The pools that hold credentials, of this provider or of all, in this namespace or in all.
pub(crate) async fn pools(
    context: &Context,
    vault: &impl Vault,
    provider: Option<&str>,
    namespace: Option<&str>,
) -> Result<BTreeSet<PoolKey>, Failure> {
    let listing = vault.list().await?;
    let provider = provider.map(|name| own_name(context, name));
    let mut pools: BTreeSet<_> =
        listing.credentials.into_iter().map(|credential| credential.pool).collect();
    pools.extend(context.registry.names().filter_map(|name| of_the_environment(context, name)));
    pools.retain(|pool| {
        provider.as_deref().is_none_or(|provider| pool.provider() == provider)
            && namespace.is_none_or(|namespace| pool.namespace() == namespace)
    });
    Ok(pools)
}

/// The provider's pool, if the environment has a key for it.
fn of_the_environment(context: &Context, provider: &str) -> Option<PoolKey> {
    let variable = context.registry.api_key_variable(provider).ok()??;
    std::env::var_os(variable).filter(|key| !key.is_empty())?;
    context.registry.pool_key(provider).ok()
}

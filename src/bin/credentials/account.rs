//! Which account is meant, and how it stands.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use serde::Serialize;
use tower_credentials::standing::{Health, Standing};
use tower_credentials::vault::{Damage, Vault, VaultExt};
use tower_credentials::{CredentialId, CredentialStatus, Kind, Metadata, Pool, PoolKey, Timestamp};

use crate::args::OneAccount;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::time::{brief, rfc3339};

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
}

/// Whether an account can be used now.
pub(crate) enum State {
    Ready,
    Paused,
    Cooling { until: Timestamp },
    NeedsSignIn { reason: String },
}

impl Account {
    pub(crate) fn state(&self, now: Timestamp) -> State {
        if self.standing.paused {
            return State::Paused;
        }
        if let Health::NeedsSignIn { reason, .. } = &self.standing.health {
            return State::NeedsSignIn { reason: reason.clone() };
        }
        match self.standing.cooldown(None) {
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

    /// The cooldowns of single scopes that have not ended: what is limited, and for how long.
    pub(crate) fn limited_scopes(&self, now: Timestamp) -> impl Iterator<Item = (&str, Duration)> {
        self.standing.cooldowns.iter().filter_map(move |cooldown| {
            let scope = cooldown.scope.as_ref()?;
            (cooldown.until > now).then(|| (scope.as_str(), cooldown.until.since(now)))
        })
    }

    pub(crate) fn json(&self, now: Timestamp) -> Json<'_> {
        let credential = &self.credential;
        let (state, until, reason) = match self.state(now) {
            State::Ready => ("ready", None, None),
            State::Paused => ("paused", None, None),
            State::Cooling { until } => ("cooling", Some(rfc3339(until)), None),
            State::NeedsSignIn { reason } => ("needs_sign_in", None, Some(reason)),
        };
        Json {
            identity: Identity::of(credential),
            active: self.is_active,
            state,
            cooling_until: until,
            reason,
            expires_at: self.expires_at.map(rfc3339),
            failures: self.standing.failures,
            last_status: self.standing.last_answer.map(|answer| answer.status),
            last_used_at: self.standing.last_answer.map(|answer| rfc3339(answer.at)),
            created_at: rfc3339(credential.created_at),
            updated_at: rfc3339(credential.updated_at),
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
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    created_at: String,
    updated_at: String,
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
        // Nothing where the settings name no such provider, or its mode allows none of these.
        let pool = match context.pool(&key, vault.clone()) {
            Ok(pool) => pool.open().await.ok(),
            Err(_) => None,
        };
        let active = pool.as_ref().and_then(Pool::active);
        let in_use = pool.map(|pool| pool.status()).unwrap_or_default();
        let known: HashSet<_> = stored.credentials.iter().map(|record| record.metadata.id).collect();
        for record in stored.credentials {
            let id = record.metadata.id;
            accounts.push(Account {
                standing: stored.standings.credentials.remove(&id).unwrap_or_default(),
                expires_at: record.secret.expires_at(),
                is_renewable: record.secret.refresh_token().is_some(),
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
                is_active: active == Some(credential.id),
                credential,
            }
        }));
    }
    damaged.sort_by(|one, other| one.record.cmp(&other.record));
    damaged.dedup();
    Ok((accounts, damaged))
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

//! Looks at the vault again and again, so that what other programs change is shown within a second.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tower_credentials::PoolKey;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;

use super::{Shared, failed};
use crate::account::{self, Account};
use crate::commands::{login, providers};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::time::now;
use crate::tui::state::account::Seen;
use crate::tui::state::job::{Failed, Look, Provider, Update};

/// How often it is looked whether anything has changed.
const OFTEN: Duration = Duration::from_millis(500);

/// How often the vault is read although nothing seems to have changed.
const SELDOM: Duration = Duration::from_secs(30);

/// Reads the vault whenever something has changed, and tells the screen.
pub(super) async fn look_again_and_again(shared: Arc<Shared>) {
    let mut known: Option<(Marks, Instant)> = None;
    let mut trouble: Option<Failed> = None;
    loop {
        if let Err(failure) = renew_context(&shared, known.as_ref(), trouble.is_some()) {
            tell_trouble(&shared, &failure, &mut trouble);
        } else {
            let context = shared.context();
            let marks = Marks::of(&context, known.as_ref().map(|(marks, _)| marks)).await;
            let is_new = known.as_ref().is_none_or(|(old, at)| *old != marks || at.elapsed() >= SELDOM);
            if is_new {
                match look(&context).await {
                    Ok(look) => {
                        let pools = look.accounts.iter().map(|seen| seen.pool().clone()).collect();
                        known = Some((Marks::with(&context, marks, pools).await, Instant::now()));
                        trouble = None;
                        shared.tell(Update::Looked(Box::new(look)));
                    }
                    Err(failure) => {
                        known = None;
                        tell_trouble(&shared, &failure, &mut trouble);
                    }
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(OFTEN) => {}
            // Our own change may leave no mark, for example one that failed half-way.
            () = shared.changed.notified() => known = None,
        }
    }
}

fn tell_trouble(shared: &Shared, failure: &Failure, trouble: &mut Option<Failed>) {
    let now = failed(failure);
    if trouble.as_ref() != Some(&now) {
        shared.tell(Update::NotLooked(now.clone()));
        *trouble = Some(now);
    }
}

/// Reads the settings again if their file has changed, or if something was wrong.
fn renew_context(
    shared: &Shared,
    known: Option<&(Marks, Instant)>,
    is_troubled: bool,
) -> Result<(), Failure> {
    let changed =
        |(marks, _): &(Marks, Instant)| marks.settings != Mark::of(&shared.context().places.config);
    if is_troubled || known.is_some_and(changed) {
        let context = Arc::new(Context::quiet(&shared.global, None)?);
        *shared.context.lock().unwrap_or_else(PoisonError::into_inner) = context;
    }
    Ok(())
}

/// When a file or a directory was last changed, and how long it is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark(Option<(SystemTime, u64)>);

impl Mark {
    fn of(path: &Path) -> Self {
        let metadata = std::fs::metadata(path).ok();
        Self(metadata.and_then(|metadata| Some((metadata.modified().ok()?, metadata.len()))))
    }
}

/// What shows that something has changed, and costs little to look at.
#[derive(Clone, PartialEq, Eq)]
struct Marks {
    settings: Mark,
    /// The directories in which new accounts and new pools make files.
    directories: [Mark; 2],
    /// The revisions of the known pools.
    revisions: Vec<(PoolKey, Option<tower_credentials::vault::Revision>)>,
}

impl Marks {
    async fn of(context: &Context, known: Option<&Self>) -> Self {
        let pools = known.iter().flat_map(|known| &known.revisions).map(|(pool, _)| pool.clone());
        let pools = pools.collect();
        Self::about(context, pools).await
    }

    /// The same marks with the revisions of these pools, which were read after them.
    async fn with(context: &Context, marks: Self, pools: Vec<PoolKey>) -> Self {
        let known: Vec<_> = marks.revisions.iter().map(|(pool, _)| pool).collect();
        let mut pools = pools;
        pools.dedup();
        if known.len() == pools.len() && pools.iter().all(|pool| known.contains(&pool)) {
            return marks;
        }
        Self { revisions: Self::about(context, pools).await.revisions, ..marks }
    }

    async fn about(context: &Context, pools: Vec<PoolKey>) -> Self {
        // As the vault's format has it.
        let place = &context.places.vault;
        let directories = ["records", "pools"].map(|name| Mark::of(&place.join(name)));
        let mut revisions = Vec::new();
        if FileVault::is_at(place)
            && let Ok(Some(vault)) = context.vault().await
        {
            for pool in pools {
                let revision = vault.revision(pool.clone()).await.ok();
                revisions.push((pool, revision));
            }
        }
        Self { settings: Mark::of(&context.places.config), directories, revisions }
    }
}

/// Reads the vault.
pub(super) async fn look(context: &Context) -> Result<Look, Failure> {
    let vault = account::read_all(context.vault_or_empty().await?).await?;
    let (accounts, damaged) = account::load_selected(context, &vault, None, None).await?;
    let damaged = damaged.iter().map(|damage| output::plain(&damage.to_string())).collect();
    Ok(Look {
        accounts: seen(context, accounts),
        damaged,
        providers: providers(context)?,
        settings: settings(context)?,
    })
}

/// Adds to the accounts, which are in the order in which requests take them, what the screen shows of them.
fn seen(context: &Context, accounts: Vec<Account>) -> Vec<Seen> {
    let now = now();
    let add = |account: Account| {
        let trouble = account.trouble(context, now);
        let mut seen = Seen::new(account, now);
        seen.trouble = trouble.map(|trouble| {
            let way_out = trouble.way_out.map(|way_out| output::plain(&output::suggestion(&way_out)));
            (output::plain(&trouble.why), way_out)
        });
        seen
    };
    let mut seen: Vec<_> = accounts.into_iter().map(add).collect();
    let is_same_tier =
        |one: &Seen, other: &Seen| one.pool() == other.pool() && one.account.tier == other.account.tier;
    for tier in seen.chunk_by_mut(is_same_tier) {
        let of = tier.len();
        for (place, seen) in tier.iter_mut().enumerate() {
            (seen.place, seen.of) = (place + 1, of);
        }
    }
    seen
}

fn providers(context: &Context) -> Result<Vec<Provider>, Failure> {
    let registry = &context.registry;
    let of = |name: &str| {
        let (pool, provider) = (registry.pool_key(name)?, registry.provider(name)?);
        let config = provider.oauth();
        let flows = config.map(|config| config.flows.clone()).unwrap_or_default();
        let needs = config.filter(|_| !flows.is_empty());
        Ok(Provider {
            takes_keys: login::has_api_keys(&pool),
            needs: needs.and_then(|config| providers::needs(name, config)),
            mode: registry.mode(name)?,
            pool,
            flows,
        })
    };
    registry.names().map(of).collect()
}

/// The settings in effect, for a person.
fn settings(context: &Context) -> Result<Vec<(String, String)>, Failure> {
    let (places, registry) = (&context.places, &context.registry);
    let title = |text: &str| (text.to_owned(), String::new());
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![
        title("Places"),
        fact("settings", output::path(&places.config)),
        fact("vault", output::path(&places.vault)),
        fact("key", output::plain(&context.keys.to_string())),
        fact("cache", output::path(&places.cache)),
    ];
    for name in registry.names() {
        let provider = registry.provider(name)?;
        facts.push(title(&output::plain(name)));
        facts.push(fact("mode", registry.mode(name)?.as_str().to_owned()));
        let namespace = registry.pool_key(name)?.namespace().to_owned();
        if namespace != PoolKey::DEFAULT_NAMESPACE {
            facts.push(fact("namespace", output::plain(&namespace)));
        }
        facts.extend(provider.origin().map(|origin| fact("origin", output::plain(&origin.to_string()))));
        let variable = registry.api_key_variable(name)?;
        facts.extend(variable.map(|variable| fact("key in", variable.to_owned())));
        let most = registry.max_attempts(name)?;
        facts.extend(most.map(|most| fact("attempts", u32::from(most).to_string())));
        if let Some(config) = provider.oauth() {
            let id = config.client_id.as_deref().map(output::plain);
            facts.extend(id.map(|id| fact("client id", id)));
            facts.extend(providers::needs(name, config).map(|needs| fact("needs", needs)));
        }
    }
    Ok(facts)
}

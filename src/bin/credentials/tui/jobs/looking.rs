//! Looks at the vault again and again, so that what other programs change is shown within a second.

use std::sync::Arc;

use tower_credentials::PoolKey;

use super::{Shared, failed};
use crate::account::{self, Account, Changes, LOOK_EVERY};
use crate::commands::providers;
use crate::context::Context;
use crate::failure::Failure;
use crate::log;
use crate::output;
use crate::time::now;
use crate::tui::state::account::Seen;
use crate::tui::state::job::{Failed, Look, Provider, Update};

/// Reads the vault whenever something has changed, and tells the screen.
pub(super) async fn look_again_and_again(shared: Arc<Shared>) {
    let mut changes = Changes::default();
    let mut trouble: Option<Failed> = None;
    loop {
        if let Err(failure) = look_if_needed(&shared, &mut changes, &mut trouble).await {
            let now = failed(&failure);
            if trouble.as_ref() != Some(&now) {
                shared.tell(Update::NotLooked(now.clone()));
                trouble = Some(now);
                // Another vault may have taken the place of the one that was opened.
                if let Ok(again) = Context::quiet(&shared.global, None) {
                    shared.context.send_replace(Arc::new(again));
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            // Our own change may leave no mark, for example one that failed half-way.
            () = shared.changed.notified() => changes.force(),
        }
    }
}

async fn look_if_needed(
    shared: &Shared,
    changes: &mut Changes,
    trouble: &mut Option<Failed>,
) -> Result<(), Failure> {
    let mut context = shared.context();
    // If they are wrong, those before stay in effect.
    let settings = context.changed(&shared.global).map(|changed| {
        if let Some(changed) = changed {
            context = Arc::new(changed);
            shared.context.send_replace(context.clone());
        }
    });
    if changes.are_there(&context).await {
        let look = look(&context).await.inspect_err(|_| changes.force())?;
        changes.were_read(look.accounts.iter().map(Seen::pool));
        *trouble = None;
        log::show_engine(true);
        shared.tell(Update::Looked(Box::new(look)));
    }
    settings
}

/// Reads the vault.
pub(super) async fn look(context: &Context) -> Result<Look, Failure> {
    let (vault, listing) = account::read_all(context.vault_or_empty().await?).await?;
    let (accounts, damaged) = account::load_selected(context, &vault, &listing, None, None).await?;
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
            takes_keys: registry.has_api_keys(name)?,
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
        fact("vault", context.vault_name()),
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

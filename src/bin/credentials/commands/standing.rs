//! `pause`, `resume` and `reset`: what a person decides about accounts.

use std::collections::BTreeMap;

use clap::Args;
use tower_credentials::Metadata;
use tower_credentials::events::EventKind;
use tower_credentials::setup::SetupVault;
use tower_credentials::standing::{Change, Cooldown, Outcome, Reason};
use tower_credentials::vault::{StoredPool, VaultExt};

use crate::account::{self, Choice};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::SomeAccounts;
use crate::output;
use crate::recorder;
use crate::time::now;

/// Clear the cooldowns and failures of accounts
///
/// This also clears that an account is spent, that its key was refused for good, or that it needs a new sign-in. If the
/// account shares a quota, the limits of that end for all that do. A paused account stays paused. Running programs see the change within a second.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES.replace("COMMAND", "reset"), override_usage = USAGE.replace("COMMAND", "reset"))]
pub(crate) struct Reset {
    #[command(flatten)]
    pub(crate) accounts: SomeAccounts,
}

impl Reset {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        change(context, &self.accounts, &Change::Reset, "is reset").await?;
        Ok(Exit::Done)
    }
}

/// Pause accounts: no request uses them until they are resumed
///
/// Their tokens are not renewed meanwhile. Running programs see the change within a second.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES.replace("COMMAND", "pause"), override_usage = USAGE.replace("COMMAND", "pause"))]
pub(crate) struct Pause {
    #[command(flatten)]
    pub(crate) accounts: SomeAccounts,
}

impl Pause {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (vault, paused) = change(context, &self.accounts, &Change::Paused, "is paused").await?;
        for (pool, paused) in by_pool(paused) {
            let stored = vault.load_pool(pool.clone()).await?;
            let kinds = stored.credentials.iter().map(|record| record.metadata.kind);
            let Some(choice) = Choice::of(context, &pool, kinds, &stored.damaged) else { continue };
            let is_used = |account: &Metadata| choice.leaves_out(account.kind).is_none();
            let is_paused = |account: &Metadata| {
                stored.standings.credentials.get(&account.id).is_some_and(|standing| standing.paused)
            };
            let mut used = stored
                .credentials
                .iter()
                .map(|record| &record.metadata)
                .filter(|account| is_used(account));
            // No other account takes the place of those that are paused, or these were not used anyway.
            if used.all(is_paused) || !paused.iter().all(is_used) {
                account::tell_left_out(context, &vault, &pool).await;
            }
        }
        Ok(Exit::Done)
    }
}

/// Resume paused accounts
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES.replace("COMMAND", "resume"), override_usage = USAGE.replace("COMMAND", "resume"))]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(crate) accounts: SomeAccounts,
}

impl Resume {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (vault, resumed) =
            change(context, &self.accounts, &Change::Resumed, "is in use again").await?;
        for (pool, _) in by_pool(resumed) {
            account::tell_left_out(context, &vault, &pool).await;
        }
        Ok(Exit::Done)
    }
}

const USAGE: &str = "\
credentials COMMAND [OPTIONS] <ACCOUNT>...
       credentials COMMAND [OPTIONS] --all [ACCOUNT]...";

const EXAMPLES: &str = "\
Examples:
  credentials COMMAND openai/work openai/spare
  credentials COMMAND openai --all
  credentials COMMAND --all";

fn by_pool(accounts: Vec<Metadata>) -> BTreeMap<tower_credentials::PoolKey, Vec<Metadata>> {
    let mut pools = BTreeMap::<_, Vec<_>>::new();
    for account in accounts {
        pools.entry(account.pool.clone()).or_default().push(account);
    }
    pools
}

/// Returns the event of a change that a person makes here.
fn event(change: &Change, account: &Metadata) -> EventKind {
    let account = account.into();
    match change {
        Change::Paused => EventKind::Paused { account },
        Change::Resumed => EventKind::Resumed { account },
        _ => EventKind::Reset { account },
    }
}

/// Returns those that share an account's quota and are held up by a limit of it.
fn held_up<'a>(account: &Metadata, stored: &'a StoredPool) -> Vec<&'a Metadata> {
    let now = now();
    let seen = stored.standings.standing(account.id, now);
    let is_running = |cooldown: &Cooldown| cooldown.until > now && cooldown.reason != Reason::Refused;
    if !seen.cooldowns.iter().any(is_running) {
        return Vec::new();
    }
    let sharing: Vec<_> = stored.standings.sharing(account.id).collect();
    let others = stored.credentials.iter().map(|record| &record.metadata);
    others.filter(|other| sharing.contains(&other.id)).collect()
}

/// Applies a change to all accounts that are named, and says so for each.
async fn change(
    context: &Context,
    which: &SomeAccounts,
    change: &Change,
    done: &str,
) -> Result<(SetupVault, Vec<Metadata>), Failure> {
    let vault = context.vault_with_accounts().await?;
    // All of them are found before any is changed.
    let meant = account::find_some(context, &vault, which).await?;
    for (pool, accounts) in by_pool(meant.clone()) {
        let stored = vault.load_pool(pool.clone()).await?;
        let before = &stored.standings.credentials;
        let was_paused = |account: &Metadata| before.get(&account.id).is_some_and(|one| one.paused);
        let outcomes = accounts.iter().map(|account| Outcome { id: account.id, change: change.clone() });
        vault.record(pool, outcomes.collect()).await?;
        for account in &accounts {
            let mut also = if *change == Change::Reset { held_up(account, &stored) } else { Vec::new() };
            also.retain(|other| accounts.iter().all(|account| account.id != other.id));
            let done = match (change, was_paused(account)) {
                (Change::Paused, true) => "was paused already",
                (Change::Resumed, false) => "was not paused",
                _ => {
                    recorder::done(event(change, account));
                    done
                }
            };
            output::say(format_args!("{} {done}", account::name(account)));
            if !also.is_empty() {
                let also: Vec<_> = also.into_iter().map(account::name).collect();
                let also = output::plain(&also.join(", "));
                output::say(format_args!("The limit of its quota ends for {also}, too"));
            }
        }
    }
    Ok((vault, meant))
}

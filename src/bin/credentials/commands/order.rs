//! `move`, `activate` and `tier`: the order in which requests take a pool's accounts.

use clap::{ArgGroup, Args};
use tower_credentials::Metadata;
use tower_credentials::events::EventKind;
use tower_credentials::setup::SetupVault;
use tower_credentials::standing::{Change, Outcome, Standing};
use tower_credentials::vault::{StoredPool, VaultExt};

use crate::account::{self, Choice};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::OneAccount;
use crate::recorder;
use crate::shell::quoted;
use crate::{numbers, output};

/// Move an account to another place in its tier
///
/// Requests take the accounts of a tier in this order.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  credentials move openai/spare --to 2")]
pub(crate) struct Move {
    #[command(flatten)]
    pub(crate) account: OneAccount,
    /// The place, counting from 1; a number past the end means the last place
    #[arg(long, value_name = "N", value_parser = place)]
    pub(crate) to: u32,
}

impl Move {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let vault = context.vault_with_accounts().await?;
        put(context, &vault, &self.account, self.to).await?;
        Ok(Exit::Done)
    }
}

fn place(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err("places are counted from 1".to_owned()),
        Ok(place) => Ok(place),
        Err(_) => Err("not a place: places are counted from 1".to_owned()),
    }
}

/// Make an account the first of its tier that requests take
///
/// While it is cooling down, requests take another account. `credentials reset` ends the cooldown.
#[derive(Debug, Args)]
#[command(visible_alias = "use")]
pub(crate) struct Activate {
    #[command(flatten)]
    pub(crate) account: OneAccount,
}

impl Activate {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let vault = context.vault_with_accounts().await?;
        let credential = put(context, &vault, &self.account, 1).await?;
        let pool = vault.load_pool(credential.pool.clone()).await?;
        let kinds = pool.credentials.iter().map(|record| record.metadata.kind);
        let choice = Choice::of(context, &credential.pool, kinds, &pool.damaged);
        if let Some(why) = choice.and_then(|choice| choice.leaves_out(credential.kind)) {
            output::warn(format_args!("{} is not used: {why}", account::name(&credential)));
            output::way_out(account::use_left_out(context, &credential.pool));
        }
        if pool.standings.credentials.get(&credential.id).is_some_and(|standing| standing.paused) {
            let way_out = account::resumption(&credential);
            output::warn(format_args!("it is paused, so no request takes it: {way_out}"));
        }
        Ok(Exit::Done)
    }
}

/// Set an account's tier: requests take the accounts of lower tiers first
///
/// Requests return to the accounts of a lower tier as soon as one of them is ready again. By default, sign-ins are in
/// tier 0 and keys are in tier 1.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("which").args(["to", "usual"]).required(true),
    after_help = "Examples:\n  credentials tier openai/spare --to 2\n  credentials tier openai/spare --usual"
)]
pub(crate) struct Tier {
    #[command(flatten)]
    pub(crate) account: OneAccount,
    /// The tier; tier 0 comes first
    #[arg(long, value_name = "N", value_parser = numbers::tier)]
    pub(crate) to: Option<u8>,
    /// Return the account to the default tier of its kind
    #[arg(long)]
    pub(crate) usual: bool,
}

impl Tier {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let vault = context.vault_with_accounts().await?;
        let meant = account::find(context, &vault, &self.account).await?;
        let change = Change::Tier { tier: self.to };
        vault.record(meant.pool.clone(), vec![Outcome { id: meant.id, change }]).await?;
        recorder::done(EventKind::Moved { account: (&meant).into(), tier: self.to, place: None });
        let tier = self.to.unwrap_or_else(|| Standing::default().tier(meant.kind));
        output::say(format_args!("{} is in tier {tier} now", account::name(&meant)));
        Ok(Exit::Done)
    }
}

/// Puts an account at a place of its tier that is counted from 1, and says where it is then.
async fn put(
    context: &Context,
    vault: &SetupVault,
    which: &OneAccount,
    place: u32,
) -> Result<Metadata, Failure> {
    let meant = account::find(context, vault, which).await?;
    let StoredPool { credentials, standings, .. } = vault.load_pool(meant.pool.clone()).await?;
    let tiers = account::Tiers::of(context, &meant.pool, &standings);
    let tier_of = |one: &Metadata| tiers.tier(one);
    let tier = tier_of(&meant);
    let others: Vec<_> =
        credentials.iter().map(|stored| &stored.metadata).filter(|one| one.id != meant.id).collect();
    let places = others.iter().enumerate().filter(|(_, one)| tier_of(one) == tier);
    let places: Vec<_> = places.map(|(place, _)| place).collect();
    let wanted = usize::try_from(place - 1).unwrap_or(usize::MAX).min(places.len());
    let last = places.last().map_or(usize::MAX, |place| place + 1);
    vault.move_to(&meant.pool, meant.id, places.get(wanted).copied().unwrap_or(last)).await?;
    let name = account::name(&meant);
    let (place, count) = (wanted + 1, places.len() + 1);
    let moved = u32::try_from(place).ok();
    recorder::done(EventKind::Moved { account: (&meant).into(), tier: None, place: moved });
    if count == others.len() + 1 {
        output::say(format_args!("{name} is {place} of {count} now"));
        return Ok(meant);
    }
    output::say(format_args!("{name} is {place} of {count} in tier {tier} now"));
    if others.iter().any(|one| tier_of(one) < tier) {
        let first = credentials.iter().map(|stored| tier_of(&stored.metadata)).min().unwrap_or_default();
        output::say(format_args!(
            "Accounts in lower tiers come before it. To move it there: credentials tier {} --to {first}",
            quoted(&name)
        ));
    }
    Ok(meant)
}

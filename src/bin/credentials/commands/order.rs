//! `move` and `activate`: the order in which requests take a pool's accounts.

use clap::Args;
use tower_credentials::Metadata;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;

use crate::account::{self, Choice};
use crate::args::OneAccount;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

/// Move an account to another place in the order in which requests take them
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  credentials move openai/spare --to 2")]
pub(crate) struct Move {
    #[command(flatten)]
    account: OneAccount,
    /// The place, counted from 1; one past the end means the last
    #[arg(long, value_name = "N", value_parser = place)]
    to: u32,
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
        Err(_) => Err("it is no place: they are counted from 1".to_owned()),
    }
}

/// Make an account the first that requests take
///
/// A request still takes another while this one is cooling down: see `reset` for that.
#[derive(Debug, Args)]
#[command(visible_alias = "use")]
pub(crate) struct Activate {
    #[command(flatten)]
    account: OneAccount,
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

/// Puts an account at a place that is counted from 1, and says where it is then.
async fn put(
    context: &Context,
    vault: &FileVault,
    which: &OneAccount,
    place: u32,
) -> Result<Metadata, Failure> {
    let meant = account::find(context, vault, which).await?;
    let from_zero = usize::try_from(place - 1).unwrap_or(usize::MAX);
    vault.move_to(meant.id, from_zero).await?;
    let pool: Vec<Metadata> = vault
        .list()
        .await?
        .credentials
        .into_iter()
        .filter(|credential| credential.pool == meant.pool)
        .collect();
    let place =
        pool.iter().position(|credential| credential.id == meant.id).map_or(0, |place| place + 1);
    output::say(format_args!("{} is {place} of {} now", account::name(&meant), pool.len()));
    Ok(meant)
}

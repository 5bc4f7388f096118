//! `pause`, `resume` and `reset`: what a person knows better of an account.

use clap::Args;
use tower_credentials::Metadata;
use tower_credentials::standing::{Change, Outcome};
use tower_credentials::vault::VaultExt;

use crate::account;
use crate::args::OneAccount;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

/// Clear an account's cooldowns and failures, and what the vendor has said of it
///
/// One that is paused stays so. Programs that run see it within a second.
#[derive(Debug, Args)]
pub(crate) struct Reset {
    #[command(flatten)]
    account: OneAccount,
}

impl Reset {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let credential = change(context, &self.account, Change::Reset).await?;
        output::say(format_args!("{} is as if new", account::name(&credential)));
        Ok(Exit::Done)
    }
}

/// Take an account out of use, without removing it
///
/// No request takes it, and its token is not renewed, until it is resumed. Programs that run see it within a second.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    account: OneAccount,
}

impl Pause {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let credential = change(context, &self.account, Change::Paused).await?;
        output::say(format_args!("{} is paused", account::name(&credential)));
        Ok(Exit::Done)
    }
}

/// Put an account to use again that was paused
#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    account: OneAccount,
}

impl Resume {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let credential = change(context, &self.account, Change::Resumed).await?;
        output::say(format_args!("{} is in use again", account::name(&credential)));
        Ok(Exit::Done)
    }
}

/// Merges a change into an account's standing.
async fn change(context: &Context, which: &OneAccount, change: Change) -> Result<Metadata, Failure> {
    let vault = context.vault_with_accounts().await?;
    let meant = account::find(context, &vault, which).await?;
    vault.record(meant.pool.clone(), vec![Outcome { id: meant.id, change }]).await?;
    Ok(meant)
}

//! `quota`: which accounts share a quota, so that a limit of one holds up all.

use clap::{ArgGroup, Args};
use tower_credentials::events::EventKind;
use tower_credentials::standing::{self, Change, Outcome, QuotaName};
use tower_credentials::vault::VaultExt;

use crate::account::{self, Quotas};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::OneAccount;
use crate::output;
use crate::recorder;

/// Set the quota that an account takes from, which it may share
///
/// Accounts of a provider with the same quota share it: a limit that one of them meets holds up all. By default, an API key takes from the quota that
/// its vendor's responses name (the organization at Anthropic and OpenAI), and every other account from its own.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("which").args(["to", "own", "usual"]).required(true),
    after_help = "\
Examples:
  credentials quota openai/work --to acme
  credentials quota openai/spare --to acme
  credentials quota openai/spare --own
  credentials quota openai/spare --usual"
)]
pub(crate) struct Quota {
    #[command(flatten)]
    pub(crate) account: OneAccount,
    /// The name of the shared quota
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) to: Option<QuotaName>,
    /// The account shares no quota, whatever its vendor says
    #[arg(long)]
    pub(crate) own: bool,
    /// Return to the quota that the vendor names
    #[arg(long)]
    pub(crate) usual: bool,
}

fn name(text: &str) -> Result<QuotaName, String> {
    QuotaName::new(text).map_err(|error| error.to_string())
}

impl Quota {
    /// Sets this quota, or returns to the one that the vendor names.
    #[cfg(feature = "tui")]
    pub(crate) fn of(account: OneAccount, quota: Option<standing::Quota>) -> Self {
        let (own, usual) = (quota == Some(standing::Quota::Own), quota.is_none());
        let to = match quota {
            Some(standing::Quota::Shared(name)) => Some(name),
            _ => None,
        };
        Self { account, to, own, usual }
    }

    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let vault = context.vault_with_accounts().await?;
        let meant = account::find(context, &vault, &self.account).await?;
        let quota = match self.own {
            true => Some(standing::Quota::Own),
            false => self.to.map(standing::Quota::Shared),
        };
        let change = Change::Quota { quota: quota.clone() };
        vault.record(meant.pool.clone(), vec![Outcome { id: meant.id, change }]).await?;
        recorder::done(EventKind::QuotaSet { account: (&meant).into(), quota });
        let stored = vault.load_pool(meant.pool.clone()).await?;
        let accounts = stored.credentials.iter().map(|record| &record.metadata);
        let takes_from = Quotas::of(&stored.standings, accounts).quota(meant.id);
        output::say(format_args!("{} takes from {takes_from} now", account::name(&meant)));
        Ok(Exit::Done)
    }
}

//! `rename`: gives an account another label.

use clap::Args;
use tower_credentials::events::EventKind;
use tower_credentials::vault::VaultExt;

use crate::account;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::{self, OneAccount};
use crate::output;
use crate::recorder;
use crate::shell::quoted;

/// Give an account another label
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  credentials rename openai/default work")]
pub(crate) struct Rename {
    #[command(flatten)]
    pub(crate) account: OneAccount,
    /// The new label, which no other account of the provider and namespace may have
    pub(crate) label: String,
}

impl Rename {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let vault = context.vault_with_accounts().await?;
        let old = account::find(context, &vault, &self.account).await?;
        if let Some(label) = self.label.strip_prefix(&format!("{}/", old.pool.provider())) {
            return Err(Failure::usage("the label must not contain the provider").way_out(format!(
                "credentials rename {} {}",
                quoted(&self.account.account),
                quoted(label)
            )));
        }
        options::check_name("label", &self.label)?;
        let new = vault.relabel(&old.pool, old.id, self.label).await?;
        let before = old.label.clone();
        recorder::done(EventKind::Renamed { account: (&new).into(), before });
        output::say(format_args!("{} is {} now", account::name(&old), account::name(&new)));
        Ok(Exit::Done)
    }
}

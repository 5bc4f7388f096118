//! `vault restored`: says that an engine's own backup was put back on purpose.

use clap::Args;

use super::look::no_vault;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::{output, prompt};

/// Say that you have put back a backup of the vault's Redis or Valkey
///
/// The hosts of a vault give an engine back what it has forgotten. After you have put back its own backup (an RDB or AOF file),
/// they would undo that. Run this once, after the engine was started and before hosts use it again: they take what the engine
/// has then, and forget what they knew. Secrets that were renewed since the backup are lost. `credentials restore`, of a backup
/// that `credentials backup` wrote, does not need it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials --vault rediss://vault@redis.internal vault restored")]
pub(crate) struct Restored {
    /// Don't ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

impl Restored {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Some(engine) = context.engine().await? else {
            let message = format!(
                "`vault restored` is for a vault in a Redis or Valkey, and this one is the directory {}",
                context.vault_name()
            );
            return Err(Failure::usage(message).way_out(
                "credentials vault check --fix --restored, if you have put records back there",
            ));
        };
        if !engine.is_vault().await? {
            return Err(no_vault(context));
        }
        if !self.yes {
            let question = format!(
                "Let all hosts take what {} has now, and forget newer secrets that they know?",
                context.vault_name()
            );
            prompt::confirm(&question, "--yes").await?;
        }
        engine.restored().await?;
        output::say("Hosts no longer give back what is missing in the engine's backup");
        Ok(Exit::Done)
    }
}

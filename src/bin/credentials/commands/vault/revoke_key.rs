//! `vault revoke-key`: stops trusting an old key.

use clap::Args;
use tower_credentials::vault::VaultError;
use tower_credentials::vault::key::KeyId;

use super::look::{NEW_KEY, no_vault};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::keys::KeyPlaceExt;
use crate::output;

/// Stop trusting a former key of the vault
///
/// After `vault rotate-key` nothing needs the former key. But `vault check --fix --restored` accepts accounts from a backup
/// that were sealed with it, so anyone else who has that key could put accounts there. Once the key is revoked, they are
/// never accepted. This can't be undone.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials vault rotate-key
  credentials vault revoke-key 33eda49e8c74be7f")]
pub(crate) struct RevokeKey {
    /// The key's id, as `vault rotate-key` and `vault check` show it
    #[arg(value_name = "KEY-ID")]
    key: KeyId,
}

impl RevokeKey {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.directory("vault revoke-key", NEW_KEY)?;
        let Some(vault) = context.vault().await? else { return Err(no_vault(context)) };
        let Some(vault) = vault.files() else { return Err(no_vault(context)) };
        vault.revoke(self.key).await.map_err(|error| match error {
            error @ VaultError::Key(_) => {
                Failure::from(error).way_out("credentials vault rotate-key, then run this again")
            }
            error => error.into(),
        })?;
        output::say(format_args!(
            "The key {} is revoked: accounts sealed with it are no longer accepted",
            self.key
        ));
        if let Some(file) = context.keys.kept_file(self.key) {
            let file = output::path(&file);
            output::say(format_args!(
                "It is still in {file}; remove that unless another vault needs it"
            ));
        }
        Ok(Exit::Done)
    }
}

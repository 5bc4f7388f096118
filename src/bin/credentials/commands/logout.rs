//! `logout`: removes accounts.

use std::str::FromStr;

use clap::Args;
use tower_credentials::events::EventKind;
use tower_credentials::setup::SetupVault;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{CredentialId, PoolKey};

use crate::account;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Namespace;
use crate::{output, prompt, recorder};

/// Remove accounts from the vault
///
/// The vendor is not told: to end the session there, use the vendor's page. To remove a damaged record whose name can't be
/// read, give its whole id.
#[derive(Debug, Args)]
#[command(visible_alias = "rm", aliases = ["remove", "delete"])]
#[command(after_help = "\
Examples:
  credentials logout openai/spare
  credentials logout openai --all --yes")]
pub(crate) struct Logout {
    /// PROVIDER/LABEL, PROVIDER/NAMESPACE/LABEL, PROVIDER or an id
    #[arg(value_name = "ACCOUNT")]
    account: String,
    #[command(flatten)]
    namespace: Namespace,
    /// Remove every account that matches ACCOUNT
    #[arg(long)]
    all: bool,
    /// Don't ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

impl Logout {
    /// Removes the account with this id; whoever asks for that was asked before.
    pub(crate) fn of(id: CredentialId) -> Self {
        Self { account: id.to_string(), namespace: Namespace { namespace: None }, all: false, yes: true }
    }

    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let vault = context.vault_with_accounts().await?;
        let namespace = self.namespace.namespace.as_deref();
        let found = match account::find_all(context, &vault, &self.account, namespace).await {
            Ok(found) => found,
            Err(failure) => return self.remove_record(context, &vault, failure).await,
        };
        let names = account::names(&found);
        if found.len() > 1 && !self.all {
            return Err(
                account::ambiguous(&self.account, &found).way_out("name one of them, or add --all")
            );
        }
        self.ask(&names).await?;
        for credential in &found {
            match vault.remove(&credential.pool, credential.id).await {
                // Another process has removed it.
                Ok(()) | Err(VaultError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
            let (pool, id) = (credential.pool.clone(), credential.id);
            recorder::done(EventKind::Removed { pool, id });
            output::say(format_args!("Removed {}", account::name(credential)));
        }
        forget(&vault, &found.iter().map(|credential| credential.id).collect::<Vec<_>>()).await;
        Ok(Exit::Done)
    }

    /// Removes a record by its whole id alone: it can't be read, and so is in no list, or it is in another namespace.
    async fn remove_record(
        &self,
        context: &Context,
        vault: &SetupVault,
        failure: Failure,
    ) -> Result<Exit, Failure> {
        let Ok(id) = CredentialId::from_str(&self.account) else { return Err(failure) };
        // A record that can be read is in a namespace that was not searched.
        let listed = vault.list().await.unwrap_or_default().credentials;
        let readable = listed.into_iter().find(|credential| credential.id == id);
        let pool = match readable {
            Some(credential) => credential.pool,
            None => pool_of(context, vault, id).await?,
        };
        match vault.get(&pool, id).await {
            Err(VaultError::NotFound(_)) => return Err(failure),
            // Damage that the list has was reported when the list was read.
            Err(VaultError::Damaged(damage)) => {
                let reported = vault.list().await?.damaged;
                if reported.iter().all(|reported| reported.record != damage.record) {
                    account::warn_of_damage(&damage);
                }
            }
            _ => {}
        }
        self.ask(&format!("the record {id}")).await?;
        vault.remove(&pool, id).await?;
        output::say(format_args!("Removed the record {id}"));
        forget(vault, &[id]).await;
        Ok(Exit::Done)
    }

    async fn ask(&self, what: &str) -> Result<(), Failure> {
        match self.yes {
            true => Ok(()),
            false => prompt::confirm(&format!("Remove {what} from the vault?"), "--yes").await,
        }
    }
}

/// Returns the pool of a record that can't be read, which is in no list. A directory does not ask for it.
async fn pool_of(context: &Context, vault: &SetupVault, id: CredentialId) -> Result<PoolKey, Failure> {
    let pools = match context.engine().await? {
        Some(engine) => engine.pools().await?,
        None => Vec::new(),
    };
    for pool in pools {
        if !matches!(vault.get(&pool, id).await, Err(VaultError::NotFound(_))) {
            return Ok(pool);
        }
    }
    Ok(PoolKey::new("unknown"))
}

/// Removes the names of removed accounts from the disk. If that fails, the accounts are still removed.
async fn forget(vault: &SetupVault, ids: &[CredentialId]) {
    // An engine trims its log by itself.
    let Some(files) = vault.files() else { return };
    if let Err(error) = files.forget_removed(ids).await {
        output::warn(format_args!("the vault's log may still contain their names: {error}"));
    }
}

//! The account that `--replace` names.

use tower_credentials::setup::SetupVault;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{Kind, Metadata, PoolKey};

use super::{DEFAULT_LABEL, Login};
use crate::account;
use crate::failure::{Exit, Failure};
use crate::shell::quoted;

impl Login {
    /// Finds the account to replace.
    pub(super) async fn to_replace(
        &self,
        vault: &SetupVault,
        pool: &PoolKey,
    ) -> Result<Metadata, Failure> {
        let label = self.label.as_deref().unwrap_or(DEFAULT_LABEL);
        let known = vault.list().await?.credentials.into_iter();
        let mut known = known.filter(|known| known.pool == *pool && *known.label == *label);
        known.next().ok_or_else(|| {
            Failure::not_found(format!("there is no account {label} of {pool} to replace"))
                .way_out("leave out --replace")
        })
    }

    /// Finds the account to replace, and checks that it takes this kind of secret.
    pub(super) async fn to_replace_with(
        &self,
        vault: &SetupVault,
        pool: &PoolKey,
        kind: Kind,
    ) -> Result<Metadata, Failure> {
        let known = self.to_replace(vault, pool).await?;
        if known.kind != kind {
            let message = format!("{} is of the kind {}", account::name(&known), known.kind);
            return Err(Failure::usage(message).way_out("leave out --replace, and give another label"));
        }
        Ok(known)
    }
}

/// Checks that an account's record opens: the tokens of a sign-in are compared with it, and would be lost.
pub(super) async fn opens(vault: &SetupVault, known: &Metadata) -> Result<(), Failure> {
    match vault.get(&known.pool, known.id).await {
        Ok(_) => Ok(()),
        Err(VaultError::Damaged(damage)) if !damage.may_be_restored && !damage.may_pass => {
            let message = format!("{} can't be replaced: its record is damaged", account::name(known));
            let way_out = format!(
                "credentials logout {} --yes, then sign in without --replace",
                quoted(account::name(known))
            );
            let because = format!("{}: {}", damage.record, account::what_is_wrong(&damage));
            Err(Failure::new(Exit::Vault, message).because(because).way_out(way_out))
        }
        Err(error) => Err(error.into()),
    }
}

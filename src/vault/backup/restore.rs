//! Restoring a backup's accounts into a vault.

use super::{Account, Backup};
use crate::credential::{Credential, Metadata};
use crate::standing::{Change, Outcome};
use crate::vault::{Vault, VaultError, VaultExt, put_again};

/// An account of a backup after [`Backup::restore`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Restored {
    /// The account, as it is in the vault now.
    pub account: Metadata,
    /// What was done with it.
    pub what: RestoredAs,
}

/// What was done with an account of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoredAs {
    /// It is in the vault again.
    Added,
    /// The vault has it already.
    Unchanged,
    /// The vault has another secret for the same account, which is kept.
    Kept,
    /// The vault has a record of the account that can't be read or does not open. It is left as it is: remove the account,
    /// then restore it.
    Damaged,
}

/// The name of the lease that makes restorations into a vault run one after the other.
const LEASE: &str = "tower-credentials restore";

impl Backup {
    /// Adds the accounts that the vault does not have, with their ids, in each pool's order, behind the accounts that are
    /// there. Replaces nothing: if the vault has another secret for an account, it is kept, and the result says so. So a
    /// second call changes nothing.
    ///
    /// # Errors
    /// If the vault can't be read or written; the accounts before that are restored.
    pub async fn restore(&self, vault: &impl Vault) -> Result<Vec<Restored>, VaultError> {
        let _lease = vault.lease_client(LEASE.into()).await?;
        let mut restored = Vec::new();
        for account in &self.accounts {
            restored.push(one(vault, account).await?);
        }
        Ok(restored)
    }
}

async fn one(vault: &impl Vault, account: &Account) -> Result<Restored, VaultError> {
    let Account { metadata, secret, paused, tier, quota } = account;
    let pool = vault.load_pool(metadata.pool.clone()).await?;
    let same = |known: &Credential| known.metadata.kind == metadata.kind && known.secret.is_same(secret);
    let has_id = |known: &Credential| known.metadata.id == metadata.id;
    let known = pool.credentials.iter().find(|known| has_id(known));
    if let Some(known) = known.or_else(|| pool.credentials.iter().find(|known| same(known))) {
        let what = if same(known) { RestoredAs::Unchanged } else { RestoredAs::Kept };
        return Ok(Restored { account: known.metadata.clone(), what });
    }
    // A credential that does not open is still there.
    let listed = vault.list().await?.credentials.into_iter().find(|known| known.id == metadata.id);
    if let Some(account) = listed {
        return Ok(Restored { account, what: RestoredAs::Damaged });
    }
    let credential = Credential { metadata: metadata.clone(), secret: secret.clone() };
    let account = match put_again(vault.clone(), credential).await {
        Ok(account) => account,
        // Its record can't even be listed.
        Err(VaultError::Exists(_)) => {
            return Ok(Restored { account: metadata.clone(), what: RestoredAs::Damaged });
        }
        Err(error) => return Err(error),
    };
    let paused = paused.then_some(Change::Paused);
    let tier = tier.map(|tier| Change::Tier { tier: Some(tier) });
    let quota = quota.clone().map(|quota| Change::Quota { quota: Some(quota) });
    let changes = paused.into_iter().chain(tier).chain(quota);
    let outcomes: Vec<_> = changes.map(|change| Outcome { id: account.id, change }).collect();
    if !outcomes.is_empty() {
        vault.record(account.pool.clone(), outcomes).await?;
    }
    Ok(Restored { account, what: RestoredAs::Added })
}

//! An account that has been signed in to.

use std::sync::Arc;

use crate::account;
use crate::credential::{Credential, Kind, Metadata, OAuthTokens, PoolKey};
use crate::vault::{Replaced, Vault, VaultError, VaultExt};

/// An account that has been signed in to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SignedIn {
    /// Its tokens.
    pub tokens: OAuthTokens,
    /// The vendor's own id of the account, where its answer tells: two sign-ins with the same id are to the
    /// same account. Where the vendor has workspaces, it is the workspace's id, a slash, and the person's.
    pub account: Option<String>,
    /// What people know the account by, where the answer tells: an email address, a login.
    pub label: Option<String>,
}

impl SignedIn {
    /// The attribute of a record that has the [account's](Self::account) id.
    pub const ACCOUNT: &'static str = account::ACCOUNT;

    /// Stores the tokens, and answers the record's metadata. A record of the same account in the pool gets
    /// them in place of its old ones, and keeps its label; else they are a new record's, last in the pool.
    ///
    /// # Errors
    /// As at [`VaultExt::put`] and [`VaultExt::replace_secret`].
    pub async fn store(
        &self,
        vault: &impl Vault,
        pool: PoolKey,
        label: impl Into<Arc<str>>,
    ) -> Result<Metadata, VaultError> {
        // One that was removed while it was looked at is not there to be updated.
        while let Some(known) = self.find(vault, &pool).await? {
            match self.replace(vault, &known).await {
                Err(VaultError::NotFound(_)) => {}
                stored => return stored,
            }
        }
        let mut credential = Credential::new(pool, label, self.tokens.clone());
        if let Some(account) = &self.account {
            credential = credential.attribute(Self::ACCOUNT, account);
        }
        vault.put(credential).await
    }

    async fn find(&self, vault: &impl Vault, pool: &PoolKey) -> Result<Option<Metadata>, VaultError> {
        let Some(account) = &self.account else { return Ok(None) };
        let is_same = |known: &Metadata| {
            known.pool == *pool
                && known.kind == Kind::OAuth
                && known.attributes.get(Self::ACCOUNT) == Some(account)
        };
        Ok(vault.list().await?.credentials.into_iter().find(is_same))
    }

    async fn replace(&self, vault: &impl Vault, known: &Metadata) -> Result<Metadata, VaultError> {
        loop {
            let current = vault.get(known.id).await?;
            let mut tokens = self.tokens.clone();
            if tokens.refresh.is_none() {
                // Some vendors give one at the first sign-in only, and it goes on working.
                tokens.refresh = current.secret.refresh_token().cloned();
            }
            // Where a refresh comes first, its tokens are of an older sign-in than these.
            if let Replaced::Swapped(_) =
                vault.replace_secret(known.id, current.metadata.generation, tokens).await?
            {
                return Ok(vault.get(known.id).await?.metadata);
            }
        }
    }
}

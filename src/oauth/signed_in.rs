//! An account that has been signed in to.

use std::fmt;
use std::sync::Arc;

use super::identity::Identity;
use crate::claims;
use crate::credential::{Credential, CredentialId, Kind, Metadata, OAuthTokens, PoolKey, Secret};
use crate::vault::{Replaced, Vault, VaultError, VaultExt};

/// An account that has been signed in to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SignedIn {
    /// Its tokens.
    pub tokens: OAuthTokens,
    /// The vendor's own id of the account, if the response has one: two sign-ins with the same id are to the same account.
    /// If the vendor has workspaces, it is the workspace's id, a slash, and the person's.
    pub account: Option<String>,
    /// The name that people know the account by, if the response has one: an email address, a login.
    pub label: Option<String>,
}

impl SignedIn {
    /// The attribute of a record that has the [account's](Self::account) id.
    pub const ACCOUNT: &'static str = claims::ACCOUNT;

    /// Returns the [label](Self::label), or else the vendor's id of the account.
    pub fn name(&self) -> Option<&str> {
        self.label.as_deref().or(self.account.as_deref())
    }

    /// Stores the tokens, and returns the record's metadata. If the pool has a record of the same account, they replace
    /// its tokens, and it keeps its label; otherwise they become a new record, last in the pool.
    ///
    /// # Errors
    /// The same as [`VaultExt::put`] and [`VaultExt::replace_secret`].
    pub async fn store(
        &self,
        vault: &impl Vault,
        pool: PoolKey,
        label: impl Into<Arc<str>>,
    ) -> Result<Metadata, VaultError> {
        // A record that was removed meanwhile can't be updated: look again.
        while let Some(known) = self.find(vault, &pool).await? {
            match self.replace(vault, &pool, known.id).await {
                Err(ReplaceError::Vault(VaultError::NotFound(_))) => {}
                Err(ReplaceError::Vault(error)) => return Err(error),
                Ok(stored) => return Ok(stored),
                // It has become another account's meanwhile: look again.
                Err(ReplaceError::AnotherAccount { .. }) => {}
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

    /// Replaces the tokens of the pool's record with this id, and returns its metadata. If nothing says whose the record is, or
    /// whose the tokens are, they are stored: see [`is_of`](Self::is_of).
    ///
    /// # Errors
    /// [`ReplaceError::AnotherAccount`] if both say whose they are, and it is not the same account. Nothing is stored then.
    pub async fn replace(
        &self,
        vault: &impl Vault,
        pool: &PoolKey,
        id: CredentialId,
    ) -> Result<Metadata, ReplaceError> {
        loop {
            let current = vault.get(pool, id).await?;
            if self.is_of(&current) == Some(false) {
                return Err(ReplaceError::AnotherAccount {
                    record: format!("{}/{}", current.metadata.pool.provider(), current.metadata.label),
                    stored: Identity::of_record(&current).to_string(),
                    signed_in: self.identity().to_string(),
                });
            }
            let mut tokens = self.tokens.clone();
            if tokens.refresh.is_none() {
                // Some vendors give a refresh token at the first sign-in only, and it goes on working.
                tokens.refresh = current.secret.refresh_token().cloned();
            }
            let mut attributes = current.metadata.attributes.clone();
            if let Some(account) = &self.account {
                attributes.entry(Self::ACCOUNT.to_owned()).or_insert_with(|| account.clone());
            }
            // If a refresh comes first, its tokens are of an older sign-in than these, so they are replaced, too.
            let secret = match current.metadata.kind {
                Kind::Mcp => Secret::Mcp(tokens),
                _ => Secret::OAuth(tokens),
            };
            let generation = current.metadata.generation;
            if let Replaced::Swapped(_) = vault.replace(pool, id, generation, secret, attributes).await?
            {
                return Ok(vault.get(pool, id).await?.metadata);
            }
        }
    }

    /// Returns whether this is a sign-in to the record's account, by the vendor's id of it or else by the email address;
    /// `None` if the record, its tokens and these don't say.
    pub fn is_of(&self, record: &Credential) -> Option<bool> {
        Identity::of_record(record).is(&self.identity())
    }

    fn identity(&self) -> Identity {
        Identity::of_sign_in(&self.tokens, self.account.as_deref(), self.label.as_deref())
    }
}

/// Why a record was not given the tokens of a sign-in.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplaceError {
    /// The sign-in was to another account than the record's.
    AnotherAccount {
        /// The record: its provider, a slash, and its label.
        record: String,
        /// Its owner, in words.
        stored: String,
        /// Who has signed in, in words.
        signed_in: String,
    },
    /// The vault failed.
    Vault(VaultError),
}

impl fmt::Display for ReplaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnotherAccount { record, stored, signed_in } => write!(
                f,
                "{record} is the account of {stored}, and {signed_in} has signed in; sign in as {stored}, or \
                 store {signed_in} as an account of its own"
            ),
            Self::Vault(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReplaceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::AnotherAccount { .. } => None,
            Self::Vault(error) => error.source(),
        }
    }
}

impl From<VaultError> for ReplaceError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

//! Storing an API key.

use tower_credentials::setup::SetupVault;
use tower_credentials::vault::{Replaced, VaultExt};
use tower_credentials::{Credential, Metadata, PoolKey, Secret, SecretString};

use super::telling::{Done, Label};
use super::{DEFAULT_LABEL, LEASE, Login};
use crate::account;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::running::Before;
use crate::shell::quoted;

impl Login {
    /// Stores a key.
    pub(crate) async fn store_key(
        &self,
        context: &Context,
        pool: PoolKey,
        key: SecretString,
    ) -> Result<Exit, Failure> {
        let key = SecretString::api_key(key.expose()).map_err(|reason| {
            Failure::usage("this is not an API key").because(reason).way_out("give the key alone")
        })?;
        let label = self.label.as_deref().unwrap_or(DEFAULT_LABEL);
        let credential = Credential::new(pool.clone(), label, Secret::api_key(key));
        let provider = context.registry.provider(&self.provider)?;
        provider
            .headers(&credential)
            .map_err(|error| Failure::usage("this is not an API key").because(error))?;
        let vault = context.vault_or_new().await?;
        let _one_at_a_time = vault.lease_client(LEASE.into()).await?;
        let before = Before::of(context, &vault).await?;
        let token = credential.secret.token().expose();
        let stored = vault.load_pool(pool.clone()).await?.credentials;
        let same = stored.iter().find(|known| {
            known.metadata.kind == credential.metadata.kind && known.secret.token().expose() == token
        });
        if let Some(known) = same {
            if self.replace && *known.metadata.label != *label {
                let name = account::name(&known.metadata);
                let message = format!(
                    "{} was not changed: {name} has this key already",
                    account::name(&credential.metadata)
                );
                return Err(Failure::usage(message).way_out(format!(
                    "give another key; or credentials logout {}, then run this again",
                    quoted(&name)
                )));
            }
            let is_taken = stored.iter().any(|other| *other.metadata.label == *label);
            self.tell(Done::StoredAlready, &known.metadata, Label::kept(is_taken));
        } else if self.replace {
            let metadata = self.put_in_place(&vault, &pool, credential.secret).await?;
            self.tell(Done::Replaced, &metadata, Label::Kept);
        } else {
            self.tell(Done::Stored, &vault.put(credential).await?, Label::Given);
        }
        before.tell(context, &vault).await?;
        account::tell_left_out(context, &vault, &pool).await;
        Ok(Exit::Done)
    }

    /// Replaces the key of the account with this label.
    async fn put_in_place(
        &self,
        vault: &SetupVault,
        pool: &PoolKey,
        secret: Secret,
    ) -> Result<Metadata, Failure> {
        let mut known = self.to_replace_with(vault, pool, secret.kind()).await?;
        // A refresh that came first stored older tokens than these.
        loop {
            match vault.replace_secret(&known.pool, known.id, known.generation, secret.clone()).await? {
                Replaced::Swapped(_) => return Ok(vault.get(&known.pool, known.id).await?.metadata),
                Replaced::Conflict(current) => known = current.metadata,
            }
        }
    }
}

//! Refreshes that have stored nothing, and are not going on.

use std::collections::BTreeSet;

use super::fault::Fault;
use super::keys::Keys;
use super::script::UNFINISHED;
use super::{Inner, RedisBackend};
use crate::credential::CredentialId;
use crate::vault::{UnfinishedRefresh, VaultError};

/// How many leases are looked at in one step.
const AT_A_TIME: usize = 200;

impl RedisBackend {
    /// Returns the refreshes that have begun, have stored nothing and are not going on: nobody holds their leases now. Such a
    /// refresh has failed, or its host was killed or cut off. The next one that stores a secret, or that the vendor refuses,
    /// ends that.
    ///
    /// ```no_run
    /// # use tower_credentials::vault::redis::RedisBackend;
    /// # async fn run(backend: RedisBackend) -> Result<(), tower_credentials::vault::VaultError> {
    /// for refresh in backend.unfinished_refreshes().await? {
    ///     match refresh.failure {
    ///         Some(why) => println!("the refresh of {} failed: {why}", refresh.id),
    ///         None => println!("the refresh of {} was cut off, and its new token may be lost", refresh.id),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`VaultError::Unreachable`] if the engine is away, and other errors if it refuses.
    pub async fn unfinished_refreshes(&self) -> Result<Vec<UnfinishedRefresh>, VaultError> {
        let mut unfinished = Vec::new();
        for pool in self.0.all_pools().await? {
            unfinished.extend(self.0.unfinished(&Keys::new(&self.0.prefix, &pool)).await?);
        }
        Ok(unfinished)
    }
}

impl Inner {
    /// Returns those of a pool.
    pub(super) async fn unfinished(&self, keys: &Keys) -> Result<Vec<UnfinishedRefresh>, Fault> {
        let mut unfinished = Vec::new();
        // A script is told all its keys before, so first it is asked whose leases they are.
        let noted: Vec<_> = self.noted(keys).await?.into_iter().collect();
        for ids in noted.chunks(AT_A_TIME) {
            let call = UNFINISHED.on(keys.all().chain(ids.iter().map(|id| keys.lease(*id))));
            let call = ids.iter().fold(call, |call, id| call.arg(id.to_string()));
            let said: Vec<(String, String, String)> = self.engine.run(keys.slot(), &call).await?;
            unfinished.extend(said.into_iter().filter_map(|(id, has_failed, why)| {
                let failure = (!has_failed.is_empty()).then_some(why);
                Some(UnfinishedRefresh { id: id.parse().ok()?, failure })
            }));
        }
        Ok(unfinished)
    }

    /// Returns the credentials of which a refresh was noted, of whatever generation.
    async fn noted(&self, keys: &Keys) -> Result<BTreeSet<CredentialId>, Fault> {
        let mut noted = BTreeSet::new();
        for part in ["notes", "failures"] {
            let mut ask = redis::cmd("HKEYS");
            ask.arg(keys.part(part));
            let names: Vec<Vec<u8>> = self.engine.command(keys.slot(), &ask).await?;
            let ids =
                names.iter().filter_map(|name| str::from_utf8(name).ok()?.parse::<CredentialId>().ok());
            noted.extend(ids);
        }
        Ok(noted)
    }
}

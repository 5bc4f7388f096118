//! Refreshes that have stored nothing, and are not going on.

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
        // A script is told all its keys before, so it first says whose leases they are.
        let noted = self.unfinished_without(keys, &[]).await?;
        for some in noted.chunks(AT_A_TIME) {
            let ids: Vec<_> = some.iter().map(|refresh| refresh.id).collect();
            let still = self.unfinished_without(keys, &ids).await?;
            unfinished.extend(still.into_iter().filter(|refresh| ids.contains(&refresh.id)));
        }
        Ok(unfinished)
    }

    /// Returns them without those of these ids whose leases are held.
    async fn unfinished_without(
        &self,
        keys: &Keys,
        ids: &[CredentialId],
    ) -> Result<Vec<UnfinishedRefresh>, Fault> {
        let leases = ids.iter().map(|id| keys.lease(*id));
        let call = UNFINISHED.on(keys.all().chain(leases));
        let call = ids.iter().fold(call, |call, id| call.arg(id.to_string()));
        let said: Vec<(String, String, String)> = self.engine.run(keys.slot(), &call).await?;
        let told = said.into_iter().filter_map(|(id, has_failed, why)| {
            let failure = (!has_failed.is_empty()).then_some(why);
            Some(UnfinishedRefresh { id: id.parse().ok()?, failure })
        });
        Ok(told.collect())
    }
}

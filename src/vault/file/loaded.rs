//! Loading a whole vault.

use std::collections::BTreeMap;

use tokio::task::spawn_blocking;

use super::directory::finished;
use super::vault::FileVault;
use crate::credential::PoolKey;
use crate::vault::{Listing, StoredPool, VaultError};

/// The content of a vault at one moment; returned by [`FileVault::load_all`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The same as [`list`](crate::vault::VaultExt::list) returns.
    pub listing: Listing,
    /// The same as [`load_pool`](crate::vault::VaultExt::load_pool) returns for each pool of the listing. A pool that needs a
    /// key that is not known here is missing: load it on its own, which looks for the key.
    pub pools: BTreeMap<PoolKey, StoredPool>,
}

impl FileVault {
    /// Loads every pool, for programs that show them all. Listing the vault and then loading each pool would read every record
    /// twice.
    ///
    /// # Errors
    /// If the vault cannot be read. A single damaged record is not an error: [`Loaded`] names it.
    pub async fn load_all(&self) -> Result<Loaded, VaultError> {
        let (listing, sealed) = self.directory.work(|store| store.load_all()).await?;
        let seals = self.ring.seals();
        let open = move || {
            let opened =
                sealed.into_iter().filter_map(|(key, pool)| Some((key, seals.open_pool(pool)?)));
            opened.collect()
        };
        let pools = finished(spawn_blocking(open).await, self.directory())?;
        Ok(Loaded { listing, pools })
    }
}

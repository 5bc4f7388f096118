//! A vault that is read whole.

use std::collections::BTreeMap;

use tokio::task::spawn_blocking;

use super::directory::finished;
use super::vault::FileVault;
use crate::credential::PoolKey;
use crate::vault::{Listing, StoredPool, VaultError};

/// All that a vault holds, as it was at one moment; by [`FileVault::load_all`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// What [`list`](crate::vault::VaultExt::list) would have answered.
    pub listing: Listing,
    /// What [`load_pool`](crate::vault::VaultExt::load_pool) would have answered of each pool of the listing. One that
    /// needs another key than those that are known here is missing: load it on its own, which looks for the key.
    pub pools: BTreeMap<PoolKey, StoredPool>,
}

impl FileVault {
    /// Every pool, for a program that shows them all: to list the vault, and then load each pool, would read every record
    /// twice.
    ///
    /// # Errors
    /// When the vault cannot be read. A single damaged record is no error: [`Loaded`] names it.
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

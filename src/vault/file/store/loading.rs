//! Loading one pool or all pools from their records and logs, and listing all.

use std::collections::{BTreeMap, HashMap};

use super::{Store, name_kinds};
use crate::credential::{Metadata, PoolKey, Record};
use crate::standing::Standings;
use crate::vault::file::busy::Stopped;
use crate::vault::file::damage::as_damage;
use crate::vault::file::lock::Held;
use crate::vault::seal::Sealed;
use crate::vault::{Changes, Damage, Listing, Revision, StoredPool, VaultError};

/// Pools by their keys, in order.
type Pools = Vec<(PoolKey, StoredPool<Sealed>)>;

impl Store {
    pub(super) fn load(&self, key: &PoolKey) -> Result<StoredPool<Sealed>, Stopped> {
        // Held while the records are read, so that no credential is seen in the log and not on the disk.
        let vault = self.lock.take_to_read()?;
        let (ids, mut damaged) = self.records.ids()?;
        let ids = self.records.candidates(ids, key);
        let mut credentials = self.records.read(&ids, &mut damaged);
        credentials.retain(|record| record.metadata.pool == *key);
        self.with_log(key, credentials, damaged, vault.as_ref())
    }

    /// Loads every pool that has a record, at one moment, with the results of [`load`](Self::load) and
    /// [`list`](Self::list). No record is read twice.
    pub(in crate::vault::file) fn load_all(&self) -> Result<(Listing, Pools), Stopped> {
        let vault = self.lock.take_to_read()?;
        let (ids, damaged) = self.records.ids()?;
        let mut listing = Listing { credentials: Vec::with_capacity(ids.len()), damaged };
        let mut members: BTreeMap<PoolKey, Vec<Record<Sealed>>> = BTreeMap::new();
        for record in self.records.read(&ids, &mut listing.damaged) {
            members.entry(record.metadata.pool.clone()).or_default().push(record);
        }
        let (unread, mut pools) = (listing.damaged.clone(), Vec::new());
        for (key, credentials) in members {
            // Before the log is mended.
            self.look_at(&key, &mut listing.damaged);
            // As when a pool is loaded alone, damage that is known to be another pool's is left out.
            let may_be = |id| self.records.owner(id).is_none_or(|owner| owner == key);
            let unread = unread.iter().filter(|damage| damage.id.is_none_or(may_be)).cloned().collect();
            let pool = self.with_log(&key, credentials, unread, vault.as_ref())?;
            listing.credentials.extend(pool.credentials.iter().map(|record| record.metadata.clone()));
            pools.push((key, pool));
        }
        Ok((listing, pools))
    }

    /// Returns the pool of these credentials, with its log, which is made to agree with them. The caller must hold the
    /// vault's lock.
    fn with_log(
        &self,
        key: &PoolKey,
        mut credentials: Vec<Record<Sealed>>,
        mut damaged: Vec<Damage>,
        vault: Option<&Held<'_>>,
    ) -> Result<StoredPool<Sealed>, Stopped> {
        let is_writable = vault.is_some_and(Held::is_writable);
        let files = self.pool(key);
        let (pool, standings) = {
            let mut pool = files.pool();
            let held = match files.lock.take_to_read() {
                // Nobody can have made it.
                Err(Stopped::Failed(VaultError::DirectoryGone(_))) if !is_writable => None,
                held => held?,
            };
            let can_mend = is_writable && held.as_ref().is_some_and(Held::is_writable);
            let refreshed = pool.refresh();
            // Before the log is mended, which may set a file aside.
            damaged.extend(pool.damage());
            match refreshed {
                Ok(()) if can_mend => self.mend(&mut pool, &credentials)?,
                Ok(()) => {}
                // A log that was not read must not be overwritten.
                Err(error) => damaged.push(as_damage(&self.pool_path(key, "log"), error)),
            }
            drop(held);
            self.name_missing(&pool, key, &credentials, &mut damaged);
            let standings = pool.standings().clone();
            (pool, standings)
        };
        sort(&mut credentials, &standings, |record| &record.metadata);
        Ok(StoredPool::new(credentials, standings, pool.revision(), damaged))
    }

    /// Returns what has changed in a pool since a revision; `None` if the pool must be loaded for that.
    pub(super) fn changes(
        &self,
        key: &PoolKey,
        since: Revision,
    ) -> Result<Option<Changes<Sealed>>, Stopped> {
        let files = self.pool(key);
        {
            let mut pool = files.pool();
            pool.refresh()?;
            let Some(news) = pool.news(since) else { return Ok(None) };
            if news.records.is_empty() {
                return Ok(Some(news.changes(pool.standings(), pool.revision())));
            }
        }
        // The log tells of a record before it changes, so the record is read once that is done.
        let _vault = self.lock.take_to_read()?;
        let mut pool = files.pool();
        pool.refresh()?;
        let Some(news) = pool.news(since) else { return Ok(None) };
        let mut changes = news.changes(pool.standings(), pool.revision());
        for id in news.records {
            match self.records.get(id) {
                Ok(record) if record.metadata.pool == *key => changes.credentials.push(record),
                // Its writer has died before it was there.
                Ok(_) | Err(VaultError::NotFound(_)) => changes.removed.push(id),
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(changes))
    }

    pub(super) fn list(&self) -> Result<Listing, Stopped> {
        let _vault = self.lock.take_to_read()?;
        let (ids, mut damaged) = self.records.ids()?;
        let mut pools: BTreeMap<PoolKey, Vec<Metadata>> = BTreeMap::new();
        for Record { metadata, .. } in self.records.read(&ids, &mut damaged) {
            pools.entry(metadata.pool.clone()).or_default().push(metadata);
        }
        let mut credentials = Vec::new();
        for (key, mut members) in pools {
            self.look_at(&key, &mut damaged);
            sort(&mut members, self.pool(&key).pool().standings(), |metadata| metadata);
            credentials.append(&mut members);
        }
        Ok(Listing { credentials, damaged })
    }

    /// Reads what is new in the pool's log, and names what cannot be read of it.
    fn look_at(&self, key: &PoolKey, damaged: &mut Vec<Damage>) {
        let files = self.pool(key);
        let mut pool = files.pool();
        if let Err(error) = pool.refresh() {
            damaged.push(as_damage(&self.pool_path(key, "log"), error));
        }
        damaged.extend(pool.damage());
        name_kinds(&pool, damaged);
    }
}

/// Sorts by the order. A member that is not in the order comes last, by age.
fn sort<T>(members: &mut [T], standings: &Standings, metadata: impl Fn(&T) -> &Metadata) {
    let places: HashMap<_, _> =
        standings.order.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    members.sort_by_cached_key(|member| {
        let metadata = metadata(member);
        let place = places.get(&metadata.id).copied().unwrap_or(usize::MAX);
        (place, metadata.created_at, metadata.id)
    });
}

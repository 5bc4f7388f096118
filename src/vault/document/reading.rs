//! What is read of a document.

use super::PoolDocument;
use super::unread::Unread;
use crate::credential::{CredentialId, Record};
use crate::vault::{Changes, Listing, Revision, StoredPool, VaultError};

impl<T> PoolDocument<T> {
    /// Returns a credential's record, for example to see whether it exists before its refresh is leased.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], or [`VaultError::Damaged`] if it can't be read.
    pub fn get(&self, id: CredentialId) -> Result<&Record<T>, VaultError> {
        self.records.get(&id).ok_or_else(|| self.missing(id))
    }

    /// Returns the metadata of every credential, in the pool's order, and the credentials that can't be read. A backend's
    /// response to `List` has all pools, by their keys.
    pub fn listing(&self) -> Listing {
        Listing {
            credentials: self.in_order().map(|record| record.metadata.clone()).collect(),
            damaged: self.unread.values().map(Unread::damage).collect(),
        }
    }

    /// Returns why there is no record of this credential.
    pub(super) fn missing(&self, id: CredentialId) -> VaultError {
        match self.unread(id) {
            Some(unread) => VaultError::Damaged(unread.damage()),
            None => VaultError::NotFound(id),
        }
    }

    pub(super) fn unread(&self, id: CredentialId) -> Option<&Unread> {
        // The name is only made if there is something to look for.
        if self.unread.is_empty() { None } else { self.unread.get(&id.to_string()) }
    }

    fn in_order(&self) -> impl Iterator<Item = &Record<T>> {
        self.standings.order.iter().filter_map(|id| self.records.get(id))
    }
}

impl<T: Clone> PoolDocument<T> {
    pub(super) fn load(&self) -> StoredPool<T> {
        let damaged = self.unread.values().map(Unread::damage).collect();
        let records = self.in_order().cloned().collect();
        StoredPool::new(records, self.standings.clone(), self.revision, damaged)
    }

    /// Returns what has changed since a revision. `None` if it is not known, or a record that has changed can't be read.
    pub(super) fn changes(&self, since: Revision) -> Option<Changes<T>> {
        let news = self.recent.since(since, self.revision)?;
        let records = news.records.iter().map(|id| self.records.get(id).cloned());
        Some(Changes {
            credentials: records.collect::<Option<_>>()?,
            ..news.changes(&self.standings, self.revision)
        })
    }
}

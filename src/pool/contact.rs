//! When the vault was last read, and since when it can't be.

use std::sync::{MutexGuard, PoisonError};

use serde::Serialize;

use super::Pool;
use crate::clock::Timestamp;
use crate::vault::VaultError;

/// A pool's contact with its vault. What the pool knows of other processes is as old as this, but in a vault that tells of its
/// changes, which the pool asks about each half a minute besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VaultContact {
    /// When the vault was last read, or said that nothing has changed.
    pub last: Timestamp,
    /// When it was first noticed that it can't be read, if it still can't.
    pub away_since: Option<Timestamp>,
}

impl VaultContact {
    pub(super) fn at(now: Timestamp) -> Self {
        Self { last: now, away_since: None }
    }
}

impl Pool {
    /// Returns the pool's contact with its vault.
    pub fn vault_contact(&self) -> VaultContact {
        *self.contact()
    }

    /// Notes how the vault has responded to the last sync.
    pub(super) fn note_contact(&self, synced: &Result<(), VaultError>) {
        let now = self.now();
        let mut contact = self.contact();
        match synced {
            Ok(()) => *contact = VaultContact::at(now),
            Err(_) => drop(contact.away_since.get_or_insert(now)),
        }
    }

    fn contact(&self) -> MutexGuard<'_, VaultContact> {
        // Each change is one assignment.
        self.0.contact.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

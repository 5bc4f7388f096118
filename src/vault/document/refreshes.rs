//! The notes on refreshes in a document.

use serde::{Deserialize, Serialize};

use super::PoolDocument;
use crate::clock::Timestamp;
use crate::credential::{CredentialId, Generation};
use crate::vault::failed::Failed;
use crate::vault::{Begun, FailedRefresh, VaultError};

/// What is noted of the exchange of a generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Refresh {
    generation: Generation,
    /// When it began, if nothing tells how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begun_at: Option<Timestamp>,
    /// The last one that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<Failed>,
}

impl Refresh {
    /// Returns whether the exchange is that of this generation.
    pub(super) fn is_of(&self, generation: Generation) -> bool {
        self.generation == generation
    }
}

impl<T> PoolDocument<T> {
    /// Deletes the note on an exchange that is over.
    pub(super) fn end_refresh(&mut self, id: CredentialId) {
        self.refreshes.remove(&id);
        self.unknown.remove_refresh(id);
    }
}

impl<T: Clone> PoolDocument<T> {
    /// Notes that an exchange begins. Returns also whether it was noted.
    pub(super) fn begin_refresh(
        &mut self,
        id: CredentialId,
        expected: Generation,
        now: Timestamp,
    ) -> Result<(Begun<T>, bool), VaultError> {
        let mut begun = Begun::new(self.get(id)?.clone());
        if begun.record.metadata.generation != expected {
            return Ok((begun, false));
        }
        let refresh = self.refresh(id, expected);
        begun.failed = refresh.failed.as_ref().map(|failed| failed.left(now));
        if begun.failed.as_ref().is_some_and(|failed| !failed.wait.is_zero()) {
            return Ok((begun, false));
        }
        begun.unfinished = refresh.begun_at.replace(now);
        Ok((begun, true))
    }

    /// Notes that an exchange has failed, and returns whether it was noted.
    pub(super) fn refresh_failed(
        &mut self,
        id: CredentialId,
        expected: Generation,
        failed: &FailedRefresh,
        now: Timestamp,
    ) -> Result<bool, VaultError> {
        if self.get(id)?.metadata.generation != expected {
            return Ok(false);
        }
        let refresh = self.refresh(id, expected);
        refresh.begun_at = None;
        refresh.failed = Some(Failed::new(failed, now));
        Ok(true)
    }

    /// Returns what is noted of the exchange of this generation.
    fn refresh(&mut self, id: CredentialId, generation: Generation) -> &mut Refresh {
        if self.refreshes.get(&id).is_some_and(|refresh| !refresh.is_of(generation)) {
            self.end_refresh(id);
        }
        self.refreshes.entry(id).or_insert(Refresh { generation, begun_at: None, failed: None })
    }
}

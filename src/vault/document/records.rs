//! Changes of a document's credentials, their labels, their order and their standings.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::PoolDocument;
use super::unread::Unread;
use crate::clock::Timestamp;
use crate::credential::{CredentialId, Generation, Metadata, Record};
use crate::standing::Outcome;
use crate::vault::recent::Step;
use crate::vault::{BatchId, Replaced, VaultError, check_kind, check_name, check_names, free_label};

impl<T: Clone + 'static> PoolDocument<T> {
    fn get_mut(&mut self, id: CredentialId) -> Result<&mut Record<T>, VaultError> {
        // Asked twice, since an error borrows the whole document.
        if !self.records.contains_key(&id) {
            return Err(self.missing(id));
        }
        self.records.get_mut(&id).ok_or(VaultError::NotFound(id))
    }

    fn is_label_taken(&self, label: &str, except: CredentialId) -> bool {
        self.labels.get(label).is_some_and(|id| *id != except)
    }

    pub(super) fn put(&mut self, mut record: Record<T>) -> Result<Metadata, VaultError> {
        check_names(&record.metadata)?;
        check_kind(&record.metadata, &record.secret)?;
        let Metadata { id, label, .. } = &record.metadata;
        let id = *id;
        if self.records.contains_key(&id) || self.unread(id).is_some() {
            return Err(VaultError::Exists(id));
        }
        record.metadata.label = free_label(label, |label| self.is_label_taken(label, id));
        let metadata = record.metadata.clone();
        self.standings.push(id);
        self.labels.insert(metadata.label.clone(), id);
        self.records.insert(id, record);
        self.change(Step::Added(id));
        Ok(metadata)
    }

    pub(super) fn relabel(&mut self, id: CredentialId, label: Arc<str>) -> Result<Metadata, VaultError> {
        check_name("label", &label)?;
        self.get(id)?;
        if self.is_label_taken(&label, id) {
            return Err(VaultError::LabelTaken(label));
        }
        let record = self.get_mut(id)?;
        let before = std::mem::replace(&mut record.metadata.label, label);
        let metadata = record.metadata.clone();
        self.free(&before, id);
        self.labels.insert(metadata.label.clone(), id);
        self.change(Step::Record(id));
        Ok(metadata)
    }

    /// Frees the label of a credential.
    fn free(&mut self, label: &str, id: CredentialId) {
        if self.labels.get(label) == Some(&id) {
            self.labels.remove(label);
        }
    }

    pub(super) fn move_to(&mut self, id: CredentialId, place: usize) -> Result<(), VaultError> {
        self.get(id)?;
        self.standings.move_to(id, place);
        self.change(Step::Reordered);
        Ok(())
    }

    /// Removes a credential, even one that can't be read.
    pub(super) fn remove(&mut self, id: CredentialId) -> Result<(), VaultError> {
        let label = match self.records.remove(&id) {
            Some(record) => Some(record.metadata.label),
            None => match self.unread.remove(&id.to_string()) {
                Some(unread) => unread.label().cloned(),
                None => return Err(VaultError::NotFound(id)),
            },
        };
        if let Some(label) = label {
            self.free(&label, id);
        }
        self.refreshes.remove(&id);
        self.standings.remove(id);
        self.unknown.remove(id);
        self.change(Step::Removed(id));
        Ok(())
    }

    /// Stores a new secret, which ends the refresh of the old one.
    pub(super) fn replace(
        &mut self,
        id: CredentialId,
        expected: Generation,
        secret: T,
        attributes: Option<BTreeMap<String, String>>,
        now: Timestamp,
    ) -> Result<Replaced<T>, VaultError> {
        let replaced = self.reseal(id, expected, secret)?;
        let Replaced::Swapped(_) = replaced else { return Ok(replaced) };
        let metadata = &mut self.get_mut(id)?.metadata;
        if let Some(attributes) = attributes {
            metadata.attributes = attributes;
        }
        metadata.generation = expected.next();
        metadata.updated_at = now;
        self.end_refresh(id);
        self.change(Step::Record(id));
        Ok(Replaced::Swapped(expected.next()))
    }

    /// Stores a secret at the same generation, and makes no new revision.
    pub(super) fn reseal(
        &mut self,
        id: CredentialId,
        expected: Generation,
        secret: T,
    ) -> Result<Replaced<T>, VaultError> {
        let record = self.get_mut(id)?;
        check_kind(&record.metadata, &secret)?;
        if record.metadata.generation != expected {
            return Ok(Replaced::Conflict(record.clone()));
        }
        record.secret = secret;
        self.unknown.remove_secret(id);
        Ok(Replaced::Swapped(expected))
    }

    /// Merges outcomes, unless this batch, or a later one of its origin, has come already. Returns whether it has not.
    pub(super) fn record(&mut self, outcomes: &[Outcome], batch: BatchId) -> bool {
        if self.batches.contain(batch) {
            return false;
        }
        self.batches.insert(batch);
        let mut is_merged = false;
        for outcome in outcomes {
            let is_read = self.records.contains_key(&outcome.id);
            if !is_read && !self.unread(outcome.id).is_some_and(Unread::has_standing) {
                continue;
            }
            // An exchange that the vendor has refused is over.
            if let Some(refused) = outcome.change.refuses()
                && self.refreshes.get(&outcome.id).is_some_and(|refresh| refresh.is_of(refused))
            {
                self.end_refresh(outcome.id);
            }
            let touched = self.standings.merge(outcome);
            self.recent.push(self.revision, Step::Merged(touched));
            is_merged = true;
        }
        if is_merged {
            self.next_revision();
        }
        true
    }
}

//! Storing secrets that were resealed, and the end of a key change.

use super::Store;
use crate::credential::{CredentialId, Generation};
use crate::vault::disk;
use crate::vault::file::busy::Stopped;
use crate::vault::file::identity::BOUND;
use crate::vault::file::record;
use crate::vault::key::KeyId;
use crate::vault::seal::Sealed;

/// A resealed secret, at the same generation, that is about to be stored.
pub(in crate::vault::file) struct ResealedSecret {
    pub(in crate::vault::file) id: CredentialId,
    pub(in crate::vault::file) expected: Generation,
    pub(in crate::vault::file) secret: Sealed,
}

impl Store {
    /// Stores resealed secrets together, so that the disk is waited for once. Returns which were stored; secrets that were
    /// replaced meanwhile are not.
    pub(in crate::vault::file) fn reseal(
        &self,
        sealed: &[ResealedSecret],
    ) -> Result<Vec<CredentialId>, Stopped> {
        let _vault = self.lock.take()?;
        let (mut ids, mut files) = (Vec::new(), Vec::new());
        for ResealedSecret { id, expected, secret } in sealed {
            // A record that can't be read any more is reported at the next request for it.
            let Ok(mut record) = self.records.get(*id) else { continue };
            if record.metadata.generation != *expected {
                continue;
            }
            self.keys_to_seal()?.count(secret.key_id())?;
            record.secret = secret.clone();
            let path = self.records.path(*id);
            let bytes = record::bytes(&path, &record)?;
            files.push((path, bytes));
            ids.push(*id);
        }
        disk::replace_all(&files)?;
        Ok(ids)
    }

    /// Ends the key change if no record needs another key than this one. Returns how many do.
    pub(in crate::vault::file) fn forget_previous_keys(&self, key: KeyId) -> Result<usize, Stopped> {
        let _vault = self.lock.take()?;
        let (ids, strays) = self.records.ids()?;
        let mut damaged = strays;
        let others = damaged.len();
        let records = self.records.read(&ids, &mut damaged);
        let left = records.iter().filter(|record| record.secret.key_id() != key).count();
        let left = left + damaged.len() - others;
        if left == 0 {
            let versions = records.iter().map(|record| record.secret.version());
            self.keys_to_seal()?.forget_previous(key, versions.min().unwrap_or(BOUND))?;
        }
        Ok(left)
    }
}

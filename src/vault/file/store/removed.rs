//! What the logs still say about removed credentials: their lines stay until a log is rewritten.

use super::Store;
use crate::credential::CredentialId;
use crate::vault::disk;
use crate::vault::file::busy::Stopped;
use crate::vault::file::log::{self, Entry};
use crate::vault::file::name::pool_file;
use crate::vault::file::opening::POOLS;

impl Store {
    /// Rewrites each log that names one of these credentials although its record is gone. If the record could not be
    /// read, its pool does not know of the removal: nothing said which pool it was.
    pub(in crate::vault::file) fn forget_removed(&self, ids: &[CredentialId]) -> Result<(), Stopped> {
        for entry in disk::entries(&self.root().join(POOLS))? {
            let name = entry.file_name();
            let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".log")) else { continue };
            // A file that is not a log is reported when it is read.
            let Ok(Some(key)) = log::pool_of(&entry.path()) else { continue };
            if pool_file(&key) != stem {
                continue;
            }
            let _vault = self.lock.take()?;
            let files = self.pool(&key);
            let (mut pool, _held) = files.locked()?;
            let mut gone = Vec::new();
            for id in ids {
                if pool.is_member(*id) && !self.records.exists(*id)? {
                    gone.push(Entry::Removed(*id));
                }
            }
            if !gone.is_empty() {
                pool.append(gone)?;
            }
            if pool.has_removed() {
                pool.compact()?;
            }
        }
        Ok(())
    }
}

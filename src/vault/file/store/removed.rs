//! What the logs still say of credentials that are gone: their lines stay until a log is written anew.

use super::Store;
use crate::credential::CredentialId;
use crate::vault::disk;
use crate::vault::file::busy::Stopped;
use crate::vault::file::log::{self, Entry};
use crate::vault::file::name::pool_file;
use crate::vault::file::opening::POOLS;

impl Store {
    /// Writes each log anew that names one of these though its record is gone. Of a record that could not be read, nobody
    /// has told its pool: nothing said which one that was.
    pub(in crate::vault::file) fn forget_removed(&self, ids: &[CredentialId]) -> Result<(), Stopped> {
        for entry in disk::entries(&self.root().join(POOLS))? {
            let name = entry.file_name();
            let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".log")) else { continue };
            // What is no log is told of when it is read.
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

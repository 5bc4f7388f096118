//! Work with a lock that was waited for.

use std::path::Path;

use super::{Store, lock};
use crate::vault::disk::lock::Granted;

impl Store {
    /// Does work with the lock of the file at `path`, which was waited for. If the store itself does not take that lock,
    /// `work` gets it.
    pub(in crate::vault::file) fn with_granted<T>(
        &self,
        path: &Path,
        granted: Granted,
        work: impl FnOnce(Option<Granted>) -> T,
    ) -> T {
        let pool;
        let file = if path == self.lock.path() {
            &self.lock
        } else {
            pool = lock(&self.pools).values().find(|files| files.lock.path() == path).cloned();
            match &pool {
                Some(files) => &files.lock,
                None => return work(Some(granted)),
            }
        };
        let _accepted = file.accept(granted);
        work(None)
    }
}

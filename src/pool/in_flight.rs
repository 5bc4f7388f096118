//! How many requests are under way with each credential.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many requests are under way with a credential. Shared by all of its generations.
#[derive(Debug, Default)]
pub(crate) struct InFlight(AtomicU32);

/// The bit that says whether the state must be notified of each use that ends. It shares a word with the count, so
/// whoever sets it knows how many uses will see it when they end.
const WATCHED: u32 = 1 << 31;

impl InFlight {
    #[inline]
    pub(crate) fn begin(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns whether the state must be notified.
    #[inline]
    pub(crate) fn end(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) & WATCHED != 0
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Acquire) & !WATCHED
    }

    pub(crate) fn watch(&self, is_watched: bool) {
        if is_watched {
            self.0.fetch_or(WATCHED, Ordering::AcqRel);
        } else {
            self.0.fetch_and(!WATCHED, Ordering::AcqRel);
        }
    }
}

//! How many requests are under way with each credential.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many requests are under way with a credential; shared by all of its generations.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<AtomicU32>);

/// Whether the state is to be told of each use that ends. In the same word as the count: whoever sets it knows how
/// many uses will end after that, and each of those sees it.
const WATCHED: u32 = 1 << 31;

impl InFlight {
    #[inline]
    pub(crate) fn begin(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns whether the state is to be told.
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

//! The credential that a request without options takes, read without a lock while it stays the same.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::config::Config;
use super::lease::Lease;
use crate::clock::Timestamp;

/// The credential that a request without options takes, published for services to read.
#[derive(Default)]
pub(super) struct PublishedPick {
    /// Grows with each change of the pick.
    version: AtomicU64,
    /// Locked by a service only if the version is news to it.
    pick: Mutex<Pick>,
}

/// A lease, and until when a service may take it.
#[derive(Clone, Default)]
struct Pick {
    lease: Option<Lease>,
    /// When another credential may be the right one, in milliseconds since the Unix epoch; `u64::MAX` means never.
    until: u64,
}

/// A service's copy of the published pick, so that it takes the lock only after a change.
#[derive(Clone, Default)]
pub(crate) struct CachedPick {
    version: u64,
    pick: Pick,
}

impl PublishedPick {
    /// Publishes a pick. The caller holds the state's lock, so only one is published at a time.
    pub(super) fn publish(&self, lease: Option<&Lease>, until: Timestamp) {
        let until = until.as_millis();
        let mut pick = self.lock();
        let same = match (&pick.lease, lease) {
            (Some(known), Some(lease)) => known.ptr_eq(lease),
            (None, None) => true,
            _ => false,
        };
        if !same || pick.until != until {
            *pick = Pick { lease: lease.cloned(), until };
            // Before the lock is released, so that a reader sees the version of this pick.
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// Returns the published lease, while it is valid. The clock is read only if that has an end.
    #[inline]
    pub(super) fn read(&self, config: &Config, cached: &mut CachedPick) -> Option<Lease> {
        if cached.version != self.version.load(Ordering::Acquire) {
            self.update(cached);
        }
        let Pick { lease, until } = &cached.pick;
        if *until != u64::MAX && config.clock.now().as_millis() >= *until {
            return None;
        }
        lease.clone()
    }

    #[cold]
    fn update(&self, cached: &mut CachedPick) {
        let pick = self.lock();
        *cached = CachedPick { version: self.version.load(Ordering::Acquire), pick: pick.clone() };
    }

    fn lock(&self) -> MutexGuard<'_, Pick> {
        self.pick.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

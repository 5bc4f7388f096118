//! What a request without options takes, read without a lock while it stays the same.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::config::Config;
use super::lease::Lease;
use crate::clock::Timestamp;

/// What a request without options takes, published for services to read.
#[derive(Default)]
pub(super) struct PublishedPick {
    /// Grows with each change of what is published.
    version: AtomicU64,
    /// Locked by a service only if the version is news to it.
    published: Mutex<Published>,
}

/// A lease and its time are read together: after that time no service takes it.
#[derive(Clone, Default)]
struct Published {
    lease: Option<Lease>,
    /// From when on another credential may be the right one, in milliseconds since the epoch.
    until: u64,
}

/// What a service knows of a pool's head, so that it need not be read for each request.
#[derive(Clone, Default)]
pub(crate) struct CachedPick {
    version: u64,
    published: Published,
}

impl PublishedPick {
    /// The caller holds the state's lock, so that one is published at a time.
    pub(super) fn publish(&self, lease: Option<&Lease>, until: Timestamp) {
        let until = until.as_millis();
        let mut known = self.lock();
        let same = match (&known.lease, lease) {
            (Some(known), Some(lease)) => known.ptr_eq(lease),
            (None, None) => true,
            _ => false,
        };
        if !same || known.until != until {
            *known = Published { lease: lease.cloned(), until };
            // Before the lock is given up, so that whoever reads this sees its number with it.
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// The published lease, while it holds. The clock is read only if something cools down.
    #[inline]
    pub(super) fn read(&self, config: &Config, known: &mut CachedPick) -> Option<Lease> {
        if known.version != self.version.load(Ordering::Acquire) {
            self.read_anew(known);
        }
        let Published { lease, until } = &known.published;
        if *until != u64::MAX && config.clock.now().as_millis() >= *until {
            return None;
        }
        lease.clone()
    }

    #[cold]
    fn read_anew(&self, known: &mut CachedPick) {
        let published = self.lock();
        *known =
            CachedPick { version: self.version.load(Ordering::Acquire), published: published.clone() };
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

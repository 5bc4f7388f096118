//! What a request without a wish takes, read without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use super::config::Config;
use super::lease::Lease;
use crate::clock::Timestamp;

/// What a request without a wish takes, published so that it is read without a lock.
pub(super) struct Head {
    lease: ArcSwapOption<Lease>,
    /// Grows with each lease that is published.
    version: AtomicU64,
    /// From when on another credential may be the right one, in milliseconds since the epoch.
    until: AtomicU64,
}

/// What a service knows of a pool's head, so that it need not be read for each request.
#[derive(Clone, Default)]
pub(crate) struct KnownHead {
    version: u64,
    lease: Option<Lease>,
}

impl Head {
    pub(super) fn new() -> Self {
        Self { lease: ArcSwapOption::empty(), version: AtomicU64::new(0), until: AtomicU64::new(0) }
    }

    pub(super) fn publish(&self, lease: Option<&Lease>, until: Timestamp) {
        self.until.store(until.as_millis(), Ordering::Release);
        let known = self.lease.load();
        let same = match (known.as_deref(), lease) {
            (Some(known), Some(lease)) => known.ptr_eq(lease),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.lease.store(lease.cloned().map(Arc::new));
            // After the lease, so that whoever sees the number finds that lease or a later one.
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// The published lease, while it holds. The clock is read only if something cools down.
    #[inline]
    pub(super) fn read(&self, config: &Config, known: &mut KnownHead) -> Option<Lease> {
        let until = self.until.load(Ordering::Acquire);
        if until != u64::MAX && config.clock.now().as_millis() >= until {
            return None;
        }
        let version = self.version.load(Ordering::Acquire);
        if known.lease.is_none() || known.version != version {
            *known = KnownHead { version, lease: self.lease.load().as_deref().cloned() };
        }
        known.lease.clone()
    }
}

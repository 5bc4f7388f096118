//! Publishing the pool's metrics. A pool without them does nothing here.

use super::Pool;
use crate::vault::VaultError;

#[cfg(feature = "metrics")]
impl Pool {
    /// Publishes the numbers after a sync.
    pub(super) fn publish_synced(&self, result: &Result<(), VaultError>) {
        if let Some(publisher) = &self.0.publisher {
            publisher.synced(result);
            self.publish();
        }
    }

    /// Publishes the present numbers.
    pub(super) fn publish(&self) {
        use crate::metrics::Snapshot;

        let Some(publisher) = &self.0.publisher else { return };
        let (now, counters) = (self.now(), self.counters());
        let (accounts, waiting) =
            self.with_state(|state, config| (state.gauges(config, now), state.waiting()));
        publisher.publish(&Snapshot { now, counters, accounts, waiting });
    }
}

#[cfg(not(feature = "metrics"))]
impl Pool {
    #[inline]
    pub(super) fn publish_synced(&self, _: &Result<(), VaultError>) {}

    #[inline]
    pub(super) fn publish(&self) {}
}

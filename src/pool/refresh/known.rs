//! Which refresher renews a token: the pool's own, or one of its layers'.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::{KnownRefresher, Refresher, lapses_at};
use crate::credential::Metadata;
use crate::pool::{Lease, Pool};

impl Pool {
    /// Remembers the refresher of a layer of this pool. One that mints takes the place of one that does not.
    pub(crate) fn remember_refresher(&self, refresher: &Refresher) {
        let is_news = {
            let mut known = self.0.known_refresher.lock().unwrap_or_else(PoisonError::into_inner);
            let before = known.as_ref().and_then(KnownRefresher::get);
            if before.is_none_or(|before| refresher.is_minting() && !before.is_minting()) {
                *known = Some(refresher.known());
            }
            refresher.is_minting() && self.0.mints.set()
        };
        if is_news {
            // Without a refresher, the published pick would be valid for longer.
            self.with_state(|_, _| ());
        }
    }

    /// Returns whether this lease's token is known to have expired, so that it must be renewed before it is sent.
    pub(crate) fn has_expired(&self, lease: &Lease) -> bool {
        lapses_at(lease).is_some_and(|at| at <= self.now())
    }

    /// Returns the refresher for this lease's secret: the pool's own, or that of any of its layers.
    pub(crate) fn renewer(&self, lease: &Lease) -> Option<Refresher> {
        let renews = |refresher: &Refresher| refresher.renews(lease);
        self.refresher().filter(renews).or_else(|| self.layers_refresher().filter(renews))
    }

    fn layers_refresher(&self) -> Option<Refresher> {
        let known = self.0.known_refresher.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref()?.get()
    }

    /// Logs, once for a pool, that this lease's token was refused and could be renewed, but that nobody has set a refresher.
    pub(crate) fn warn_of_no_refresher(&self, lease: &Lease) {
        let is_known = self.refresher().is_some() || self.layers_refresher().is_some();
        if !lease.has_refresh_token() || is_known || self.0.lacks_refresher.swap(true, Ordering::Relaxed)
        {
            return;
        }
        let Metadata { pool, label, .. } = lease.credential();
        tracing::warn!(
            target: "tower_credentials::refresher",
            provider = pool.provider(),
            account = ?label,
            "a token was refused, and the pool has no refresher to renew it: open the pool with `Setup::pool`, or set \
             `PoolBuilder::refresher`"
        );
    }
}

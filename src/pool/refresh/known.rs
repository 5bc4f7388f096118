//! What a pool knows of the refreshers of its layers, and which tokens need one.

use std::sync::PoisonError;

use super::{KnownRefresher, Refresher, lapses_at};
use crate::pool::{Lease, Pool};

impl Pool {
    /// A layer of this pool has this refresher. Of several, one that mints is remembered rather than another.
    pub(crate) fn knows(&self, refresher: &Refresher) {
        let is_news = {
            let mut known = self.0.known_refresher.lock().unwrap_or_else(PoisonError::into_inner);
            let before = known.as_ref().and_then(KnownRefresher::get);
            if before.is_none_or(|before| refresher.is_minting() && !before.is_minting()) {
                *known = Some(refresher.known());
            }
            refresher.is_minting() && self.0.mints.set()
        };
        if is_news {
            // What is published was good for longer without one.
            self.with_state(|_, _| ());
        }
    }

    /// Whether this lease's token is known to have expired, so that it is to be renewed before it is sent.
    pub(crate) fn has_expired(&self, lease: &Lease) -> bool {
        lapses_at(lease).is_some_and(|at| at <= self.now())
    }

    /// What renews this lease's secret: the pool's own refresher, or that of one of its layers, wherever it stands.
    pub(crate) fn renewer(&self, lease: &Lease) -> Option<Refresher> {
        let known = || {
            let known = self.0.known_refresher.lock().unwrap_or_else(PoisonError::into_inner);
            known.as_ref()?.get()
        };
        let renews = |refresher: &Refresher| refresher.renews(lease);
        self.refresher().filter(renews).or_else(|| known().filter(renews))
    }
}

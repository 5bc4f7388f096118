//! Picking a credential for a request.

use super::config::WhenAllCoolingDown;
use super::state::Picked;
use super::{CachedPick, Lease, Pool, RequestOptions, SlotIndex};
use crate::clock::Timestamp;
use crate::error::Error;

/// A use of a credential. It ends on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    pool: Pool,
    lease: Lease,
    is_probe: bool,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pool.give_back(&self.lease, self.is_probe);
    }
}

impl Pool {
    /// Returns the credential for the first attempt of a request without options, if the published one is valid.
    #[inline]
    pub(crate) fn pick_published(&self, cached: &mut CachedPick) -> Option<Lease> {
        self.0.published.read(&self.0.config, cached)
    }

    /// Picks the credential for a request's first attempt.
    pub(crate) fn pick_first(
        &self,
        options: &RequestOptions,
        cached: &mut CachedPick,
        patience: Option<Timestamp>,
    ) -> Result<(Picked, Option<Permit>), Error> {
        if options.is_none()
            && let Some(lease) = self.pick_published(cached)
        {
            lease.in_flight().begin();
            return Ok(self.permit(Picked::Lease { lease, is_probe: false, expired: false }));
        }
        let now = self.now();
        let picked = self
            .with_state(|state, config| state.pick_first(self.key(), options, config, now, patience))?;
        Ok(self.permit(picked))
    }

    /// Picks another credential for the same request.
    pub(crate) fn pick_next(
        &self,
        may_take: impl Fn(SlotIndex) -> bool,
        options: &RequestOptions,
    ) -> (Picked, Option<Permit>) {
        let now = self.now();
        self.permit(self.with_state(|state, config| state.pick_next(may_take, options, config, now)))
    }

    fn permit(&self, picked: Picked) -> (Picked, Option<Permit>) {
        let permit = match &picked {
            Picked::Lease { lease, is_probe, .. } => {
                Some(Permit { pool: self.clone(), lease: lease.clone(), is_probe: *is_probe })
            }
            _ => None,
        };
        (picked, permit)
    }

    /// Ends a use of this credential. Takes a lock only if somebody may wait for that.
    #[inline]
    pub(crate) fn give_back(&self, lease: &Lease, is_probe: bool) {
        if lease.in_flight().end() || is_probe || self.0.config.max_in_flight.is_some() {
            let now = self.now();
            self.with_state(|state, config| state.release(lease.slot(), is_probe, config, now));
        }
    }

    /// Returns until when a request may wait for its first credential, if that is bounded.
    pub(crate) fn patience(&self) -> Option<Timestamp> {
        match self.0.config.when_all_cooling_down {
            WhenAllCoolingDown::WaitUpTo(bound) => Some(self.now().after(bound)),
            _ => None,
        }
    }
}

//! Picking a credential for a request.

use super::book::{Hold, Picked};
use super::config::WhenAllCoolingDown;
use super::{KnownHead, Lease, Pool, SlotIndex, Wish};
use crate::clock::Timestamp;
use crate::error::Error;

/// A use of a credential that is counted; given back on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    pool: Pool,
    hold: Hold,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = self.pool.now();
        self.pool.with_book(|book, config| book.release(self.hold, config, now));
    }
}

impl Pool {
    /// The credential for the first attempt of a request without wishes, if that is known without a lock.
    #[inline]
    pub(crate) fn pick_published(&self, known: &mut KnownHead) -> Option<Lease> {
        self.0.head.read(&self.0.config, known)
    }

    /// The credential for a request's first attempt.
    pub(crate) fn pick_first(
        &self,
        wish: &Wish,
        known: &mut KnownHead,
        patience: Option<Timestamp>,
    ) -> Result<(Picked, Option<Permit>), Error> {
        if wish.is_none()
            && let Some(lease) = self.pick_published(known)
        {
            return Ok((Picked::Lease { lease, hold: None, expired: false }, None));
        }
        let now = self.now();
        let picked =
            self.with_book(|book, config| book.pick_first(self.key(), wish, config, now, patience))?;
        Ok(self.hold(picked))
    }

    /// Another credential for the same request.
    pub(crate) fn pick_next(&self, tried: &[SlotIndex], wish: &Wish) -> (Picked, Option<Permit>) {
        let now = self.now();
        self.hold(self.with_book(|book, config| book.pick_next(tried, wish, config, now)))
    }

    fn hold(&self, picked: Picked) -> (Picked, Option<Permit>) {
        let permit = match picked {
            Picked::Lease { hold: Some(hold), .. } => Some(Permit { pool: self.clone(), hold }),
            _ => None,
        };
        (picked, permit)
    }

    /// How long a request may wait for its first credential, where that is bounded.
    pub(crate) fn patience(&self) -> Option<Timestamp> {
        match self.0.config.when_all_cooling_down {
            WhenAllCoolingDown::WaitUpTo(bound) => Some(self.now().after(bound)),
            _ => None,
        }
    }
}

//! Trying a credential again after a long cooldown: one request does, and the others wait for what comes of it. So a limit
//! that is still there refuses one request, not all that were waiting.

use std::time::Duration;

use super::{PoolState, Slot};
use crate::clock::Timestamp;
use crate::pool::pick_index::SlotIndex;
use crate::standing::Cooldown;

/// The shortest cooldown after which one request tries first.
const LONG: Duration = Duration::from_secs(60);

/// How long others wait for the request that tries. A limit is refused at once, so after this it is being served.
const PATIENCE: Duration = Duration::from_secs(10);

/// A credential's trial, from the end of its cooldown until a response shows that it is ready, or is not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    /// Until when others wait, once a request tries.
    pub(super) until: Option<Timestamp>,
}

impl Slot {
    /// Returns whether it is in a trial.
    pub(super) fn is_tried(&self, now: Timestamp) -> bool {
        self.trial.is_some_and(|trial| trial.until.is_none_or(|end| end > now))
    }

    /// Returns the cooldown of which the end is to be tried, if it has ended.
    pub(super) fn untried(&self, now: Timestamp) -> Option<&Cooldown> {
        let is_untried = |known: &&Cooldown| {
            known.until <= now && known.until.since(known.set_at) >= LONG && self.tried != known.until
        };
        self.standing.cooldown(None).filter(is_untried)
    }
}

impl PoolState {
    /// Begins a credential's trial if a long cooldown has ended.
    pub(super) fn begin_trial(&mut self, index: SlotIndex, now: Timestamp) {
        let slot = &mut self.slots[index];
        if slot.trial.is_none()
            && let Some(ended) = slot.untried(now)
        {
            slot.tried = ended.until;
            slot.trial = Some(Trial { until: None });
            slot.update_watch();
            self.trials += 1;
        }
    }

    /// Records that a request tries the credential, if that is what it is for.
    pub(super) fn take_trial(&mut self, index: SlotIndex, now: Timestamp) {
        if let Some(trial) = &mut self.slots[index].trial {
            trial.until = Some(now.after(PATIENCE));
            self.set_caps_end();
        }
    }

    /// Ends a credential's trial: it is ready, or cools down again, or the request that tries takes long.
    pub(super) fn end_trial(&mut self, index: SlotIndex) {
        let slot = &mut self.slots[index];
        if slot.trial.take().is_some() {
            slot.update_watch();
            self.trials -= 1;
            self.set_caps_end();
            // Whatever came of it, those who wait for it pick again.
            self.wake();
        }
    }
}

//! Trying a credential again after a long cooldown: one request does, and the others wait for what comes of it. So a limit
//! that is still there refuses one request, not all that were waiting.

use std::time::Duration;

use super::{PoolState, Slot};
use crate::clock::Timestamp;
use crate::pool::pick_index::SlotIndex;
use crate::standing::{Change, Cooldown};

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
        self.cooldown_for(None).map(|(known, _)| known).filter(is_untried)
    }
}

impl PoolState {
    /// Begins a credential's trial if a long cooldown has ended, and with it that of all that share the quota.
    pub(super) fn begin_trial(&mut self, index: SlotIndex, now: Timestamp) {
        if self.slots[index].trial.is_some() {
            return;
        }
        self.of_quota(index).for_each(|index| self.begin_own_trial(index, now));
    }

    /// Begins a credential's trial if a long cooldown has ended, and no other's.
    pub(super) fn begin_own_trial(&mut self, index: SlotIndex, now: Timestamp) {
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

    /// Records that a request tries the credential, if that is what it is for. It tries for all that share the quota.
    pub(super) fn take_trial(&mut self, index: SlotIndex, now: Timestamp) {
        if self.slots[index].trial.is_none() {
            return;
        }
        for index in self.of_quota(index) {
            if let Some(trial) = &mut self.slots[index].trial {
                trial.until = Some(now.after(PATIENCE));
            }
        }
        self.set_caps_end();
    }

    /// Returns whether another account of its quota serves a request while it is tried, or once it is.
    pub(super) fn is_tried_elsewhere(&self, index: SlotIndex, now: Timestamp) -> bool {
        let mut others = self.sharing(index).map(|other| &self.slots[other]);
        others.any(|other| {
            let is_in_trial = other.is_tried(now) || other.untried(now).is_some();
            is_in_trial && other.lease.in_flight().count() > 0
        })
    }

    /// Ends the trials on which a change has the word: that of the credential, and if it is about the quota, those of all
    /// that share it.
    pub(super) fn end_trials_by(&mut self, index: SlotIndex, change: &Change) {
        if !change.is_word_on_a_trial() {
            return;
        }
        let is_of_quota = match change {
            Change::CooledDown { cooldown, .. } => cooldown.reason.is_of_quota(),
            change => change.is_of_quota(),
        };
        self.end_trial(index);
        if is_of_quota {
            self.sharing(index).for_each(|other| self.end_trial(other));
        }
    }

    /// Ends the trials after cooldowns that are no more, or end at another time.
    pub(super) fn end_past_trials(&mut self) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let tried = slot.cooldown_for(None).is_some_and(|(known, _)| known.until == slot.tried);
            if slot.trial.is_some() && !tried {
                self.end_trial(index);
            }
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

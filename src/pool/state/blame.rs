//! Finding out who is to blame for a refusal that gives no reason: the credential, or the request. Only a comparison
//! tells. If another credential succeeds within the same request, the refused one cools down. If all are refused, the
//! request is to blame. If there was nothing to compare with, the credential stays a suspect: it moves behind the
//! others, so that one of the next requests compares.

use super::{Observation, PoolState, Refusal, Slot, Suspect};
use crate::clock::Timestamp;
use crate::pool::config::Config;
use crate::pool::lease::Lease;
use crate::pool::pick_index::SlotIndex;
use crate::standing::Reason;

impl PoolState {
    /// Cools a refused credential down, since another one has succeeded. The cooldown grows with each consecutive
    /// refusal, but once only for each cooldown that has ended. Returns its end, if there is a new one.
    pub(crate) fn cool_down_refused(
        &mut self,
        observation: &Observation<'_>,
        config: &Config,
    ) -> Option<Timestamp> {
        let Observation { lease, began, scope, now, .. } = *observation;
        let slot = &mut self.slots[lease.slot()];
        let is_old = began < slot.cooled_at(None).max(slot.cooled_at(scope));
        if is_old || !slot.is_of(lease) || slot.is_out_of_use() || slot.cools_for_refusal(scope, now) {
            return None;
        }
        let again = slot.refusal_cooldown(scope).is_some();
        let failures = if again { slot.standing.failures } else { 0 };
        slot.suspected = None;
        let until = config.cooldowns.default_for_refusal(now, failures);
        self.cool_down(observation, (until, None), Reason::Refused, true, config);
        Some(until)
    }

    /// Returns whether this secret was refused in this way right after its renewal.
    pub(crate) fn was_refused_fresh(&mut self, lease: &Lease, refusal: Refusal) -> bool {
        let slot = &mut self.slots[lease.slot()];
        slot.is_of(lease) && *slot.refused_fresh.by(refusal)
    }

    /// Records that this secret was refused in this way right after its renewal.
    pub(crate) fn set_refused_fresh(&mut self, lease: &Lease, refusal: Refusal) {
        let slot = &mut self.slots[lease.slot()];
        if slot.is_of(lease) {
            *slot.refused_fresh.by(refusal) = true;
            slot.update_penalty();
        }
    }

    /// Moves suspects behind the other credentials, at the end of a request that has not compared them. If there are no
    /// others, the request was to blame. Returns those that were no suspects before.
    pub(crate) fn record_suspects(
        &mut self,
        suspects: &[Suspect],
        config: &Config,
        now: Timestamp,
    ) -> Vec<Suspect> {
        let is_other = |(index, slot): (SlotIndex, &Slot)| {
            self.is_allowed(slot, config)
                && !slot.is_out_of_use()
                && suspects.iter().all(|suspect| suspect.lease.slot() != index)
        };
        if !self.slots.iter().enumerate().any(is_other) {
            return Vec::new();
        }
        let mut new = Vec::new();
        for suspect in suspects {
            let Suspect { lease, began, .. } = suspect;
            let slot = &mut self.slots[lease.slot()];
            let is_old = !slot.is_of(lease) || *began < slot.cooled_at(None);
            if is_old || slot.is_out_of_use() || slot.cools_for_refusal(None, now) {
                continue;
            }
            // The success of an attempt that began earlier does not clear it.
            if slot.suspected.replace(self.logical_clock.advance()).is_none() {
                new.push(suspect.clone());
            }
            slot.update_penalty();
            self.reindex(lease.slot(), config, now);
        }
        new
    }
}

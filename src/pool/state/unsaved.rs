//! Which outcomes are in memory but not in the vault.

use std::collections::BTreeSet;

use super::{PoolState, Slot};
use crate::clock::Timestamp;
use crate::pool::last_responses::LastResponses;
use crate::pool::pick_index::SlotIndex;
use crate::standing::{Change, Outcome};
use crate::vault::BatchId;

/// The credentials whose allowance is news to the vault.
#[derive(Debug, Default)]
pub(super) struct Allowances {
    unsaved: BTreeSet<SlotIndex>,
    saving: BTreeSet<SlotIndex>,
}

impl Allowances {
    pub(super) fn changed(&mut self, slot: SlotIndex) {
        self.unsaved.insert(slot);
    }
}

impl PoolState {
    /// Returns the batch of outcomes that is to be saved now: the one before, unless the vault has confirmed that.
    pub(in crate::pool) fn start_saving(
        &mut self,
        responses: &LastResponses,
        now: Timestamp,
    ) -> (Vec<Outcome>, BatchId) {
        if self.journal.is_unconfirmed() {
            return self.journal.start();
        }
        self.allowances.saving = std::mem::take(&mut self.allowances.unsaved);
        let slots = self.allowances.saving.iter().map(|index| &self.slots[*index]);
        let allowances = slots.filter(|slot| slot.live).map(|slot| {
            let windows = slot.standing.allowance.clone();
            Outcome { id: slot.lease.credential().id, change: Change::Allowance { windows } }
        });
        self.journal.take(unsaved_responses(&self.slots, responses, now).chain(allowances));
        self.journal.start()
    }

    /// Records that the outcomes that were being saved are in the vault.
    pub(in crate::pool) fn saved(&mut self) {
        self.allowances.saving.clear();
        let Self { journal, slots, by_id, .. } = self;
        for Outcome { id, change } in journal.arrived() {
            if let (Change::Answered(response), Some(slot)) = (change, by_id.get(&id)) {
                slots[*slot].standing.last_response = Some(response);
            }
        }
    }

    /// Returns whether a last response or an allowance is later than the vault's.
    pub(in crate::pool) fn has_unsaved_responses(
        &self,
        responses: &LastResponses,
        now: Timestamp,
    ) -> bool {
        self.journal.is_unconfirmed()
            || !self.allowances.unsaved.is_empty()
            || unsaved_responses(&self.slots, responses, now).next().is_some()
    }
}

/// Returns the last responses that are later than those that the vault is known to have.
fn unsaved_responses(
    slots: &[Slot],
    responses: &LastResponses,
    now: Timestamp,
) -> impl Iterator<Item = Outcome> {
    // A credential without a response is passed over without a look at its slot.
    (0..slots.len()).filter_map(move |index| {
        let response = responses.get(index, now).filter(|response| response.is_believable(now))?;
        let Slot { lease, standing, live, .. } = &slots[index];
        let known = standing.last_response.filter(|known| known.is_believable(now));
        let is_news = *live && known.is_none_or(|known| response > known);
        let id = lease.credential().id;
        is_news.then_some(Outcome { id, change: Change::Answered(response) })
    })
}

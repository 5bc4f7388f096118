//! The order of a pool's credentials.

use super::PoolState;
use crate::pool::pick_index::SlotIndex;
use crate::standing::Change;

impl PoolState {
    /// Returns the credentials, first to last.
    pub(crate) fn in_order(&self) -> Vec<SlotIndex> {
        let mut slots: Vec<_> = (0..self.slots.len()).filter(|slot| self.slots[*slot].live).collect();
        slots.sort_by_key(|slot| (self.slots[*slot].tier(), self.slots[*slot].place));
        slots
    }

    /// Moves a credential as the change says. Returns whether others have moved, too.
    pub(super) fn move_by(&mut self, index: SlotIndex, change: &Change) -> bool {
        match change {
            Change::CooledDown { to_back: true, .. } => self.send_to_back(index),
            Change::Reset => self.put_back(index),
            _ => {}
        }
        *change == Change::Reset
    }

    /// Moves a credential to where a person prefers it: before the first of those that the person's order has after it.
    fn put_back(&mut self, index: SlotIndex) {
        let own = self.slots[index].preferred;
        let later = self.slots.iter().filter(|slot| slot.live && slot.preferred > own);
        let Some(place) = later.map(|slot| slot.place).min() else { return self.send_to_back(index) };
        for slot in self.slots.iter_mut().filter(|slot| slot.place >= place) {
            slot.place += 1;
        }
        self.slots[index].place = place;
        self.next_place += 1;
    }

    pub(super) fn send_to_back(&mut self, slot: SlotIndex) {
        self.slots[slot].place = self.next_place;
        self.next_place += 1;
    }
}

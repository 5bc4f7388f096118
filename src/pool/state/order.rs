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

    /// Moves a credential, and those that share its quota, as the change says. Returns whether others have moved, too.
    pub(super) fn move_by(&mut self, index: SlotIndex, change: &Change) -> bool {
        match change {
            Change::CooledDown { to_back: true, .. } => {
                let mut moved: Vec<_> = match change.is_of_quota() {
                    true => self.sharing(index).collect(),
                    false => Vec::new(),
                };
                moved.sort_by_key(|slot| self.slots[*slot].place);
                moved.into_iter().chain([index]).for_each(|slot| self.send_to_back(slot));
            }
            Change::Reset => {
                let mut moved: Vec<_> = self.of_quota(index).collect();
                moved.sort_by_key(|slot| self.slots[*slot].preferred);
                moved.into_iter().for_each(|slot| self.put_back(slot));
            }
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

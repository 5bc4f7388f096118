//! When credentials must be ranked again, although nothing happens: when an allowance is reset.

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::pool::pick_index::SlotIndex;

/// The next reset of each credential's allowance, soonest first. Empty unless the policy depends on them.
#[derive(Debug, Default)]
pub(super) struct Resets {
    by_slot: Vec<Option<Timestamp>>,
    soonest: BTreeSet<(Timestamp, SlotIndex)>,
}

impl Resets {
    pub(super) fn set(&mut self, slot: SlotIndex, at: Option<Timestamp>) {
        if slot >= self.by_slot.len() {
            self.by_slot.resize(slot + 1, None);
        }
        let before = std::mem::replace(&mut self.by_slot[slot], at);
        if before != at {
            if let Some(before) = before {
                self.soonest.remove(&(before, slot));
            }
            if let Some(at) = at {
                self.soonest.insert((at, slot));
            }
        }
    }

    /// Returns the credentials whose reset is past, so that they must be ranked again.
    pub(super) fn past(&self, now: Timestamp) -> impl Iterator<Item = SlotIndex> + '_ {
        self.soonest.iter().take_while(move |(at, _)| *at <= now).map(|(_, slot)| *slot)
    }

    /// Returns whether this credential is one of them.
    pub(super) fn is_past(&self, slot: SlotIndex, now: Timestamp) -> bool {
        self.by_slot.get(slot).copied().flatten().is_some_and(|at| at <= now)
    }

    pub(super) fn soonest(&self) -> Option<Timestamp> {
        self.soonest.first().map(|(at, _)| *at)
    }
}

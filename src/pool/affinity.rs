//! Which credential each affinity key uses.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::pick_index::SlotIndex;
use super::request_options::Affinity;

/// The credentials of the keys used last. It has two halves: when the young one is full, it replaces the old one,
/// whose keys are forgotten unless they were used since. So the memory is bounded, and nothing is searched or sorted.
#[derive(Debug, Default)]
pub(crate) struct AffinityMap {
    hasher: RandomState,
    young: HashMap<u64, SlotIndex, RandomState>,
    old: HashMap<u64, SlotIndex, RandomState>,
}

/// How many keys each half holds.
const HALF: usize = 8192;

impl AffinityMap {
    /// Returns the key's credential. The 64-bit hash stands for the key: two keys with the same hash merely share an
    /// account. So it matters little that the hash, which is a fast one, can be attacked.
    pub(crate) fn get(&mut self, key: &Affinity) -> Option<SlotIndex> {
        let hash = self.hasher.hash_one(key);
        if let Some(slot) = self.young.get(&hash) {
            return Some(*slot);
        }
        let slot = self.old.remove(&hash)?;
        self.insert(hash, slot);
        Some(slot)
    }

    pub(crate) fn set(&mut self, key: &Affinity, slot: SlotIndex) {
        let hash = self.hasher.hash_one(key);
        self.insert(hash, slot);
    }

    fn insert(&mut self, hash: u64, slot: SlotIndex) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, slot);
    }
}

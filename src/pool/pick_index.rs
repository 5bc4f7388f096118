//! The index that a pick reads: which credentials are ready, best first, and which cool down, soonest
//! first. A pick and a change take time that grows with the logarithm of the pool.

use std::collections::BTreeSet;

use super::policy::Rank;
use crate::clock::Timestamp;

/// Where a credential stands in its pool's slots. Never given to another one.
pub(crate) type SlotIndex = usize;

/// What a ready credential is sorted by: its tier, whether it is a suspect, its rank, and its place in the pool's order.
pub(crate) type Key = (u8, bool, Rank, u64);

/// Where one credential is in an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// Not to be picked: gone, of the wrong kind, out of order, or at its cap.
    Out,
    /// Ready.
    Ready(Key),
    /// Cooling down until then.
    Cooling(Timestamp),
}

/// The index for requests of one scope, or for those of none.
#[derive(Debug, Default)]
pub(crate) struct PickIndex {
    at: Vec<Position>,
    ready: BTreeSet<(Key, SlotIndex)>,
    cooling: BTreeSet<(Timestamp, SlotIndex)>,
}

impl PickIndex {
    /// Puts a credential where it belongs, out of where it was.
    pub(crate) fn place(&mut self, slot: SlotIndex, at: Position) {
        if slot >= self.at.len() {
            self.at.resize(slot + 1, Position::Out);
        }
        match self.at[slot] {
            before if before == at => return,
            Position::Out => false,
            Position::Ready(key) => self.ready.remove(&(key, slot)),
            Position::Cooling(until) => self.cooling.remove(&(until, slot)),
        };
        match at {
            Position::Out => false,
            Position::Ready(key) => self.ready.insert((key, slot)),
            Position::Cooling(until) => self.cooling.insert((until, slot)),
        };
        self.at[slot] = at;
    }

    /// A credential whose cooldown has ended but which is not among the ready ones yet.
    pub(crate) fn ended(&self, now: Timestamp) -> Option<SlotIndex> {
        self.cooling.first().filter(|(until, _)| *until <= now).map(|(_, slot)| *slot)
    }

    /// The best of the ready credentials, and what it is sorted by.
    pub(crate) fn best(&self) -> Option<(Key, SlotIndex)> {
        self.ready.first().copied()
    }

    /// The ready credentials, best first.
    pub(crate) fn ready(&self) -> impl Iterator<Item = SlotIndex> + '_ {
        self.ready.iter().map(|(_, slot)| *slot)
    }

    /// Whether this credential is ready.
    pub(crate) fn is_ready(&self, slot: SlotIndex) -> bool {
        matches!(self.at.get(slot), Some(Position::Ready(_)))
    }

    /// The credentials that cool down, soonest first.
    pub(crate) fn cooling(&self) -> impl Iterator<Item = (Timestamp, SlotIndex)> + '_ {
        self.cooling.iter().copied()
    }

    /// When the first of them is ready.
    pub(crate) fn soonest(&self) -> Option<Timestamp> {
        self.cooling.first().map(|(until, _)| *until)
    }
}

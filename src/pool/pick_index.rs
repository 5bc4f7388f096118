//! The index that a pick reads: which credentials are ready, best first, and which cool down, soonest
//! first. A pick and a change take time that grows with the logarithm of the pool.

use std::collections::BTreeSet;

use super::policy::Rank;
use crate::clock::Timestamp;

/// A credential's index in its pool's slots. Never given to another credential.
pub(crate) type SlotIndex = usize;

/// The sort key of a ready credential: its tier, whether it is a suspect, its rank, and its place in the pool's order.
pub(crate) type SortKey = (u8, bool, Rank, u64);

/// A credential's position in an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// In no order: no request can take it now.
    Out(Barred),
    /// Ready.
    Ready(SortKey),
    /// Cooling down until this time.
    Cooling(Timestamp),
}

/// Why no request can take a credential now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Barred {
    /// It serves as many requests as it may. It stays so until it is indexed again, even if some of them have ended.
    AtCap,
    Paused,
    OutOfUse,
    /// The pool's mode leaves its kind out.
    LeftOut,
    /// It is in the vault no more.
    Gone,
}

/// The index for requests of one scope, or of none.
#[derive(Debug, Default)]
pub(crate) struct PickIndex {
    positions: Vec<Position>,
    ready: BTreeSet<(SortKey, SlotIndex)>,
    cooling: BTreeSet<(Timestamp, SlotIndex)>,
}

impl PickIndex {
    /// Moves a credential to this position.
    pub(crate) fn set(&mut self, slot: SlotIndex, position: Position) {
        if slot >= self.positions.len() {
            self.positions.resize(slot + 1, Position::Out(Barred::Gone));
        }
        match self.positions[slot] {
            before if before == position => return,
            Position::Out(_) => false,
            Position::Ready(key) => self.ready.remove(&(key, slot)),
            Position::Cooling(until) => self.cooling.remove(&(until, slot)),
        };
        match position {
            Position::Out(_) => false,
            Position::Ready(key) => self.ready.insert((key, slot)),
            Position::Cooling(until) => self.cooling.insert((until, slot)),
        };
        self.positions[slot] = position;
    }

    /// Returns a credential whose cooldown has ended but that is not among the ready ones yet.
    pub(crate) fn ended(&self, now: Timestamp) -> Option<SlotIndex> {
        self.cooling.first().filter(|(until, _)| *until <= now).map(|(_, slot)| *slot)
    }

    /// Returns the best of the ready credentials, and its sort key.
    pub(crate) fn best(&self) -> Option<(SortKey, SlotIndex)> {
        self.ready.first().copied()
    }

    /// Returns the ready credentials, best first.
    pub(crate) fn ready(&self) -> impl Iterator<Item = SlotIndex> + '_ {
        self.ready.iter().map(|(_, slot)| *slot)
    }

    /// Returns this credential's position.
    pub(crate) fn position(&self, slot: SlotIndex) -> Position {
        self.positions.get(slot).copied().unwrap_or(Position::Out(Barred::Gone))
    }

    /// Returns whether this credential is ready.
    pub(crate) fn is_ready(&self, slot: SlotIndex) -> bool {
        matches!(self.position(slot), Position::Ready(_))
    }

    /// Returns the credentials that cool down, soonest first.
    pub(crate) fn cooling(&self) -> impl Iterator<Item = (Timestamp, SlotIndex)> + '_ {
        self.cooling.iter().copied()
    }

    /// Returns when the first of them is ready.
    pub(crate) fn soonest(&self) -> Option<Timestamp> {
        self.cooling.first().map(|(until, _)| *until)
    }
}

//! What this process has seen of a pool's log, by which it knows a log that has another end.

use std::collections::VecDeque;

use super::entry::EntryId;
use crate::vault::BatchId;
use crate::vault::batch::MergedBatches;

/// How many entries are remembered.
const KEPT: usize = 4096;

/// The last entries that were seen, and the batches in them.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The number of the first entry that is remembered.
    first: u64,
    /// The random numbers of the entries from then on, whose numbers have no gap.
    entries: VecDeque<u64>,
    pub(super) batches: MergedBatches,
}

impl Past {
    /// Returns a past that begins with this entry.
    pub(super) fn since(id: EntryId) -> Self {
        let mut past = Self::default();
        if id != EntryId::NONE {
            past.push(id, None);
        }
        past
    }

    /// Adds the next entry, and the name of the batch that is in it.
    pub(super) fn push(&mut self, id: EntryId, batch: Option<BatchId>) {
        if self.entries.is_empty() {
            self.first = id.number;
        }
        self.entries.push_back(id.random);
        if self.entries.len() > KEPT {
            self.entries.pop_front();
            self.first += 1;
        }
        if let Some(batch) = batch {
            self.batches.insert(batch);
        }
    }

    /// Returns whether this entry was seen.
    pub(super) fn has(&self, id: EntryId) -> bool {
        let place = id.number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| self.entries.get(place)).is_some_and(|random| *random == id.random)
    }
}

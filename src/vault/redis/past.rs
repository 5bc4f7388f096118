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

    /// Returns this past of a log together with an earlier one of the same log.
    pub(super) fn after(self, mut earlier: Self) -> Self {
        self.batches.iter().for_each(|batch| earlier.batches.insert(batch));
        let next = earlier.first + earlier.entries.len() as u64;
        match next.checked_sub(self.first).and_then(|known| usize::try_from(known).ok()) {
            Some(known) if !earlier.entries.is_empty() => {
                let ids = self.entries.iter().zip(self.first..);
                for (&random, number) in ids.skip(known) {
                    earlier.push(EntryId { number, random }, None);
                }
                earlier
            }
            // There are entries between them that were not seen.
            _ => Self { batches: earlier.batches, ..self },
        }
    }

    /// Returns whether this entry was seen.
    pub(super) fn has(&self, id: EntryId) -> bool {
        let place = id.number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| self.entries.get(place)).is_some_and(|random| *random == id.random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> EntryId {
        EntryId { number, random: number * 7 }
    }

    fn past(numbers: std::ops::Range<u64>) -> Past {
        let mut past = Past::default();
        numbers.for_each(|number| past.push(id(number), None));
        past
    }

    fn known(past: &Past) -> Vec<u64> {
        (0..20).filter(|number| past.has(id(*number))).collect()
    }

    /// The public API shows a past only over an engine that has forgotten just that part.
    #[test]
    fn a_past_goes_on_after_an_earlier_one_unless_there_is_a_gap() {
        assert_eq!(known(&past(5..8).after(past(2..4))), [5, 6, 7]);
        assert_eq!(known(&past(5..8).after(past(2..5))), [2, 3, 4, 5, 6, 7]);
        assert_eq!(known(&past(5..8).after(past(2..7))), [2, 3, 4, 5, 6, 7]);
        assert_eq!(known(&past(5..8).after(past(2..10))), [2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(known(&past(5..8).after(Past::default())), [5, 6, 7]);
        assert_eq!(known(&Past::default().after(past(5..8))), [5, 6, 7]);
    }

    #[test]
    fn an_entry_of_another_log_with_the_same_number_was_not_seen() {
        let past = past(1..10);
        assert!(past.has(id(5)));
        assert!(!past.has(EntryId { number: 5, random: 0 }) && !past.has(id(10)));
    }

    #[test]
    fn only_the_last_entries_are_remembered() {
        let many = past(1..KEPT as u64 + 11);
        assert!(!many.has(id(10)) && many.has(id(11)) && many.has(id(KEPT as u64 + 10)));
    }
}

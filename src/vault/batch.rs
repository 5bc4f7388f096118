//! The names of batches of outcomes.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hex_id::hex_id;
use crate::random;

/// The name of a batch of outcomes, under which it may be sent to a vault again.
///
/// An origin, such as a pool in a process, numbers its batches upwards and sends one at a time: the next one follows when the
/// vault has confirmed the one before. So a vault only keeps the last number of each origin, and a batch with that number or
/// a lower one is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchId {
    /// Who has sent it.
    pub origin: BatchOrigin,
    /// Its number, counted from 1.
    pub number: u64,
}

impl BatchId {
    /// Returns the name of a batch that is sent once, from an origin of its own.
    ///
    /// # Panics
    /// The same as [`BatchOrigin::random`].
    pub fn unique() -> Self {
        Self { origin: BatchOrigin::random(), number: 1 }
    }
}

/// The origin of batches: 64 random bits, written as 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchOrigin([u8; 8]);

impl BatchOrigin {
    /// Creates a random origin.
    ///
    /// # Panics
    /// If the operating system cannot provide random numbers.
    pub fn random() -> Self {
        Self(random::bytes())
    }

    /// Returns the bytes of the origin.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

hex_id!(BatchOrigin, InvalidBatchOrigin, "a batch's origin", "16");

/// How many origins are remembered. Each pool of a process is one for as long as it is open.
const ORIGINS: usize = 1024;

/// The last batch of each origin. Serialized as pairs of origin and number, by the age of the batches.
#[derive(Clone, Debug, Default)]
pub(crate) struct MergedBatches {
    numbers: HashMap<BatchOrigin, u64>,
    /// The origins by the age of their last batches.
    origins: VecDeque<BatchOrigin>,
}

impl MergedBatches {
    /// Returns whether this batch was merged.
    pub(crate) fn contain(&self, batch: BatchId) -> bool {
        self.numbers.get(&batch.origin).is_some_and(|last| *last >= batch.number)
    }

    /// Returns the last batch of each origin.
    #[cfg(feature = "redis")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = BatchId> {
        self.numbers.iter().map(|(origin, number)| BatchId { origin: *origin, number: *number })
    }

    /// Remembers that this batch was merged.
    pub(crate) fn insert(&mut self, batch: BatchId) {
        let is_known = self.numbers.insert(batch.origin, batch.number).is_some();
        if is_known && let Some(at) = self.origins.iter().rposition(|origin| *origin == batch.origin) {
            self.origins.remove(at);
        }
        self.origins.push_back(batch.origin);
        if self.origins.len() > ORIGINS
            && let Some(oldest) = self.origins.pop_front()
        {
            self.numbers.remove(&oldest);
        }
    }
}

impl Serialize for MergedBatches {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.origins.iter().map(|origin| (origin, self.numbers.get(origin))))
    }
}

impl<'de> Deserialize<'de> for MergedBatches {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut batches = Self::default();
        for (origin, number) in Vec::deserialize(deserializer)? {
            batches.insert(BatchId { origin, number });
        }
        Ok(batches)
    }
}

//! Which cooldowns end at a time that an upstream has stated.

use std::collections::BTreeSet;

use crate::clock::Timestamp;

/// How many are kept. Of more, the latest are the least likely to be needed.
const LIMIT: usize = 4096;

/// Times in the future that upstreams have stated to this process.
#[derive(Default)]
pub(super) struct Stated(BTreeSet<Timestamp>);

impl Stated {
    pub(super) fn add(&mut self, until: Timestamp, now: Timestamp) {
        self.0 = self.0.split_off(&now);
        self.0.insert(until);
        if self.0.len() > LIMIT {
            self.0.pop_last();
        }
    }

    pub(super) fn contains(&self, until: Timestamp) -> bool {
        self.0.contains(&until)
    }
}

//! Which cooldowns end at a time that an upstream has stated, and which at one that was guessed.

use std::collections::BTreeSet;

use super::PoolState;
use crate::clock::Timestamp;
use crate::pool::config::Config;
use crate::standing::Cooldown;

/// How many are kept. Of more, the latest are the least likely to be asked for.
const MOST: usize = 4096;

/// Times that upstreams have stated to this process, and that have not come yet.
#[derive(Default)]
pub(super) struct Stated(BTreeSet<Timestamp>);

impl Stated {
    pub(super) fn add(&mut self, until: Timestamp, now: Timestamp) {
        self.0 = self.0.split_off(&now);
        self.0.insert(until);
        if self.0.len() > MOST {
            self.0.pop_last();
        }
    }
}

impl PoolState {
    /// Whether a cooldown that ends at this time does so by an upstream's word. What another process was told counts
    /// as a guess, unless no guess is that long.
    pub(super) fn is_stated(&self, until: Timestamp, config: &Config) -> bool {
        let is_too_long = |cooldown: &Cooldown| {
            cooldown.until == until && cooldown.until.since(cooldown.set_at) > config.cooldowns.longest()
        };
        self.stated.0.contains(&until)
            || self.slots.iter().any(|slot| slot.standing.cooldowns.iter().any(is_too_long))
    }
}

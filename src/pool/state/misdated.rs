//! Ending cooldowns that a wrong clock has set.

use super::PoolState;
use crate::clock::Timestamp;
use crate::pool::config::Config;
use crate::standing::{Change, Cooldown};

impl PoolState {
    /// Ends the cooldowns that were set in the future. The clock that set them was wrong, so nobody knows when they
    /// end. If a credential is still limited, its next response says so.
    pub(crate) fn end_misdated(&mut self, config: &Config, now: Timestamp) {
        for index in 0..self.slots.len() {
            let cooldowns = &self.slots[index].standing.cooldowns;
            let misdated = cooldowns.iter().filter(|known| known.set_at.is_misdated(now)).cloned();
            for Cooldown { set_at, scope, .. } in misdated.collect::<Vec<_>>() {
                self.change(index, Change::Misdated { set_at, scope }, config, now);
            }
        }
    }
}

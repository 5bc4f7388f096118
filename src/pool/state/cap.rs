//! How many concurrent requests a credential serves: its vendor may allow fewer than the settings, for a while.

use std::time::Duration;

use super::trial::Trial;
use super::{LoweredCap, Observation, PoolState};
use crate::clock::Timestamp;
use crate::pool::config::Config;
use crate::pool::pick_index::SlotIndex;

/// How long a credential takes no request if it was full below its cap: at first, and at most.
const FULL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

impl PoolState {
    /// Lowers a credential's cap, since the upstream has turned this attempt away for too many concurrent requests.
    /// `beside` is how many others there were when the attempt began. Returns the cap, which is how many others there
    /// are; `None` if there are none, and were none.
    pub(crate) fn lower_cap(
        &mut self,
        observation: &Observation<'_>,
        beside: u32,
        stated: Option<Timestamp>,
        config: &Config,
    ) -> Option<LoweredCap> {
        let Observation { lease, began, now, .. } = *observation;
        let index = lease.slot();
        let slot = &mut self.slots[index];
        slot.lease.in_flight().watch(true);
        // The attempt itself still counts. If no other is left, those that have ended since it began count.
        let others = match slot.lease.in_flight().count().saturating_sub(1) {
            0 => beside,
            others => others,
        };
        let until = stated.unwrap_or_else(|| config.cooldowns.default_for_concurrency(now));
        let cap = match slot.lowered_cap {
            None if others == 0 => {
                slot.update_watch();
                return None;
            }
            None => {
                let since = self.logical_clock.advance();
                LoweredCap { most: others, until, is_news: true, full_until: None, was_full: 0, since }
            }
            // It was sent within the lowered cap, and was turned away all the same.
            Some(known) if began >= known.since && others < known.most => {
                let pause = FULL.0.saturating_mul(1 << known.was_full.min(6)).min(FULL.1);
                LoweredCap {
                    until: until.max(known.until),
                    is_news: false,
                    full_until: Some(now.after(pause)),
                    was_full: known.was_full + 1,
                    ..known
                }
            }
            Some(known) => LoweredCap {
                most: others.clamp(1, known.most),
                until: until.max(known.until),
                is_news: others < known.most,
                ..known
            },
        };
        slot.lowered_cap = Some(cap);
        self.set_caps_end();
        self.reindex(index, config, now);
        Some(cap)
    }

    /// Ends trials that take long, lifts the lowered caps that have ended, and lets requests try those credentials again that took none.
    pub(super) fn end_caps(&mut self, config: &Config, now: Timestamp) {
        if self.caps_end.is_none_or(|end| end > now) {
            return;
        }
        for index in 0..self.slots.len() {
            let trial_ends = |trial: Trial| trial.until.is_some_and(|end| end <= now);
            if self.slots[index].trial.is_some_and(trial_ends) {
                self.end_trial(index);
                self.reindex(index, config, now);
            }
            let Some(cap) = &mut self.slots[index].lowered_cap else { continue };
            if cap.full_until.is_some_and(|end| end <= now) {
                cap.full_until = None;
            }
            if cap.until <= now {
                self.remove_cap(index);
            }
            self.reindex(index, config, now);
        }
        self.set_caps_end();
        self.wake();
    }

    pub(super) fn lift_cap(&mut self, index: SlotIndex) {
        if self.remove_cap(index) {
            self.set_caps_end();
        }
    }

    /// Removes a credential's lowered cap. Returns whether it had one.
    fn remove_cap(&mut self, index: SlotIndex) -> bool {
        let slot = &mut self.slots[index];
        let had_one = slot.lowered_cap.take().is_some();
        if had_one {
            slot.update_watch();
        }
        had_one
    }

    pub(super) fn set_caps_end(&mut self) {
        let caps = self.slots.iter().filter_map(|slot| slot.lowered_cap);
        let caps = caps.map(|cap| cap.full_until.map_or(cap.until, |end| end.min(cap.until)));
        let trials = self.slots.iter().filter_map(|slot| slot.trial?.until);
        self.caps_end = caps.chain(trials).min();
    }
}

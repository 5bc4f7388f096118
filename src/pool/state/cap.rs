//! How many requests a credential serves at once: what the settings allow, and for a while what its vendor does.

use std::time::Duration;

use super::{Observation, PoolState, Slot};
use crate::clock::Timestamp;
use crate::pool::config::Config;
use crate::pool::logical_time::LogicalTime;
use crate::pool::pick_index::SlotIndex;

/// What a vendor has shown that it serves at once: it has turned a request away while it had this many others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoweredCap {
    pub(crate) most: u32,
    pub(crate) until: Timestamp,
    /// Whether it is lower than before.
    pub(crate) is_news: bool,
    /// Until when it takes none at all, though it has fewer than that by what is known here: a vendor counts until
    /// the end of a response's body, which nobody sees here.
    full_until: Option<Timestamp>,
    /// How often in a row that was so.
    was_full: u32,
    /// When it was set.
    since: LogicalTime,
}

/// How long a credential is left alone that takes no request though it has fewer than its cap: at first, and at most.
const FULL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

impl Slot {
    /// Whether it serves as many requests as it may.
    pub(super) fn is_busy(&self, config: &Config) -> bool {
        let set = config.max_in_flight.map(Into::into);
        let lowered = self.lowered_cap.map(|cap| if cap.full_until.is_some() { 0 } else { cap.most });
        set.into_iter()
            .chain(lowered)
            .min()
            .is_some_and(|cap: u32| self.lease.in_flight().count() >= cap)
    }

    /// Lifts its lowered cap. Returns whether it had one.
    fn lift_cap(&mut self) -> bool {
        let had_one = self.lowered_cap.take().is_some();
        if had_one {
            self.lease.in_flight().watch(false);
        }
        had_one
    }
}

impl PoolState {
    /// The upstream has turned this attempt away since it serves too many of the credential's at once. There were this
    /// many others when the attempt began. Returns the cap, which is how many others there are; `None` if there are
    /// none, and were none that could have made it full.
    pub(crate) fn lower_cap(
        &mut self,
        observation: &Observation<'_>,
        beside: u32,
        stated: Option<Timestamp>,
        config: &Config,
    ) -> Option<LoweredCap> {
        let index = observation.lease.slot();
        let slot = &mut self.slots[index];
        slot.lease.in_flight().watch(true);
        // The attempt itself still counts. If none is left, those count that have been answered before it.
        let others = match slot.lease.in_flight().count().saturating_sub(1) {
            0 => beside,
            others => others,
        };
        let until = stated.unwrap_or_else(|| config.cooldowns.unstated(observation.now));
        let cap = match slot.lowered_cap {
            None if others == 0 => {
                slot.lease.in_flight().watch(false);
                return None;
            }
            None => {
                let since = self.logical_clock.advance();
                LoweredCap { most: others, until, is_news: true, full_until: None, was_full: 0, since }
            }
            // It was sent because of the cap, and yet there was no room.
            Some(known) if observation.began >= known.since && others < known.most => {
                let pause = FULL.0.saturating_mul(1 << known.was_full.min(6)).min(FULL.1);
                LoweredCap {
                    until: until.max(known.until),
                    is_news: false,
                    full_until: Some(observation.now.after(pause)),
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
        self.refile(index, config, observation.now);
        Some(cap)
    }

    /// Lifts the caps whose time is over, and lets requests try again at those that took none.
    pub(super) fn end_caps(&mut self, config: &Config, now: Timestamp) {
        if self.caps_end.is_none_or(|end| end > now) {
            return;
        }
        for index in 0..self.slots.len() {
            let Some(cap) = &mut self.slots[index].lowered_cap else { continue };
            if cap.full_until.is_some_and(|end| end <= now) {
                cap.full_until = None;
            }
            if cap.until <= now {
                self.slots[index].lift_cap();
            }
            self.refile(index, config, now);
        }
        self.set_caps_end();
        self.wake();
    }

    pub(super) fn lift_cap(&mut self, index: SlotIndex) {
        if self.slots[index].lift_cap() {
            self.set_caps_end();
        }
    }

    fn set_caps_end(&mut self) {
        let caps = self.slots.iter().filter_map(|slot| slot.lowered_cap);
        self.caps_end = caps.map(|cap| cap.full_until.map_or(cap.until, |end| end.min(cap.until))).min();
    }
}

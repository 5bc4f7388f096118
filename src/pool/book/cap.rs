//! How many requests a credential serves at once: what the settings allow, and for a while what its vendor does.

use super::{Book, Lesson, Slot};
use crate::clock::Timestamp;
use crate::pool::config::Config;
use crate::pool::lane::SlotIndex;

/// What a vendor has shown that it serves at once: it has turned a request away while it had this many others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoweredCap {
    pub(crate) most: u32,
    pub(crate) until: Timestamp,
    /// Whether it is lower than before.
    pub(crate) is_news: bool,
}

impl Slot {
    /// Whether it serves as many requests as it may.
    pub(super) fn is_busy(&self, config: &Config) -> bool {
        let set = config.max_in_flight.map(Into::into);
        let caps = set.into_iter().chain(self.lowered_cap.map(|cap| cap.most));
        caps.min().is_some_and(|cap: u32| self.lease.in_flight().count() >= cap)
    }
}

impl Book {
    /// The upstream has turned this attempt away since it serves too many of the credential's at once. Returns the
    /// cap, which is how many others there are; `None` if there are none.
    pub(crate) fn lower_cap(
        &mut self,
        lesson: &Lesson<'_>,
        stated: Option<Timestamp>,
        config: &Config,
    ) -> Option<LoweredCap> {
        let index = lesson.lease.slot();
        let slot = &mut self.slots[index];
        slot.lease.in_flight().watch(true);
        // The attempt itself still counts.
        let others = slot.lease.in_flight().count().saturating_sub(1);
        let most = slot.lowered_cap.map_or(others, |known| others.min(known.most));
        if most == 0 {
            slot.lease.in_flight().watch(slot.lowered_cap.is_some());
            return None;
        }
        let until = stated.unwrap_or_else(|| config.cooldowns.unstated(lesson.now));
        let until = slot.lowered_cap.map_or(until, |known| until.max(known.until));
        let is_news = slot.lowered_cap.is_none_or(|known| most < known.most);
        let cap = LoweredCap { most, until, is_news };
        slot.lowered_cap = Some(cap);
        self.set_caps_end();
        self.refile(index, config, lesson.now);
        Some(cap)
    }

    /// Lifts the caps whose time is over.
    pub(super) fn end_caps(&mut self, config: &Config, now: Timestamp) {
        if self.caps_end.is_none_or(|end| end > now) {
            return;
        }
        for index in 0..self.slots.len() {
            if self.slots[index].lowered_cap.is_some_and(|cap| cap.until <= now) {
                self.lift_cap(index);
                self.refile(index, config, now);
            }
        }
        self.wake();
    }

    pub(super) fn lift_cap(&mut self, index: SlotIndex) {
        let slot = &mut self.slots[index];
        if slot.lowered_cap.take().is_some() {
            slot.lease.in_flight().watch(false);
            self.set_caps_end();
        }
    }

    fn set_caps_end(&mut self) {
        self.caps_end = self.slots.iter().filter_map(|slot| Some(slot.lowered_cap?.until)).min();
    }
}

//! Keeping the indexes that credentials are picked from.

use super::{PoolState, Slot};
use crate::clock::Timestamp;
use crate::pool::config::Config;
use crate::pool::pick_index::{Barred, PickIndex, Position, SlotIndex, SortKey};
use crate::pool::policy::Candidate;
use crate::standing::{Cooldown, Scope};

/// What decides where a credential belongs, whatever the scope: why no request can take it, or else its place among the
/// ready ones.
pub(super) struct Ranked(Result<SortKey, Barred>);

impl Ranked {
    /// Returns where the credential belongs for requests of this scope.
    pub(super) fn position(&self, slot: &Slot, scope: Option<&Scope>, now: Timestamp) -> Position {
        match (self.0, slot.cools_until(scope)) {
            (Err(barred), _) => Position::Out(barred),
            (Ok(_), until) if until > now => Position::Cooling(until),
            (Ok(key), _) => Position::Ready(key),
        }
    }
}

impl PoolState {
    /// Moves a credential to where it now belongs in every index. If its long cooldown has ended, it is tried first.
    pub(super) fn reindex(&mut self, index: SlotIndex, config: &Config, now: Timestamp) {
        if self.slots[index].cooldowns().next().is_some() {
            self.begin_trial(index, now);
        }
        self.set_position(index, config, now);
    }

    /// Moves credentials to where they now belong. All that share a quota with one of them must be among them. So each is
    /// looked at once, and not once for each other one of its quota, which may have thousands.
    pub(super) fn reindex_each(
        &mut self,
        slots: impl Iterator<Item = SlotIndex> + Clone,
        config: &Config,
        now: Timestamp,
    ) {
        slots.clone().for_each(|slot| self.begin_own_trial(slot, now));
        slots.for_each(|slot| self.set_position(slot, config, now));
    }

    fn set_position(&mut self, index: SlotIndex, config: &Config, now: Timestamp) {
        let ranked = self.ranked(index, self.slots[index].is_tried(now), config, now);
        if config.policy.reads_allowance() {
            self.resets.set(index, self.slots[index].next_reset(now));
        }
        self.slots[index].pass = self.pass_of(index);
        let slot = &self.slots[index];
        self.index.set(index, ranked.position(slot, None, now));
        for (scope, scope_index) in &mut self.scope_indexes {
            scope_index.set(index, ranked.position(slot, Some(scope), now));
        }
    }

    /// Decides where a credential belongs now. `is_tried` says whether a single request tries it.
    pub(super) fn ranked(
        &self,
        index: SlotIndex,
        is_tried: bool,
        config: &Config,
        now: Timestamp,
    ) -> Ranked {
        let slot = &self.slots[index];
        Ranked(Err(if !slot.live {
            Barred::Gone
        } else if !self.is_wanted(slot, config) {
            Barred::LeftOut
        } else if slot.standing.paused {
            Barred::Paused
        } else if slot.is_out_of_use() {
            Barred::OutOfUse
        } else if self.is_busy(index, is_tried, config, now) {
            Barred::AtCap
        } else {
            return Ranked(Ok(self.sort_key(index, config, now)));
        }))
    }

    /// Returns whether it serves as many requests as it may, or is held back while a request tries for its whole quota.
    pub(super) fn is_busy(
        &self,
        index: SlotIndex,
        is_tried: bool,
        config: &Config,
        now: Timestamp,
    ) -> bool {
        self.slots[index].is_busy(is_tried, config, now)
            || (is_tried && self.is_tried_elsewhere(index, now))
    }

    pub(super) fn reindex_all(&mut self, config: &Config, now: Timestamp) {
        self.reindex_each(0..self.slots.len(), config, now);
    }

    /// Returns a credential's pass. One that was away does not catch up on the picks it has missed. One that has been ready
    /// all the time keeps its turn, since it is also indexed again for what happens to others of its quota.
    fn pass_of(&self, index: SlotIndex) -> u64 {
        let own = self.slots[index].pass;
        if self.index.is_ready(index) { own } else { own.max(self.pass) }
    }

    /// Returns the key that a credential would have among the ready ones.
    fn sort_key(&self, index: SlotIndex, config: &Config, now: Timestamp) -> SortKey {
        let slot = &self.slots[index];
        let candidate = Candidate {
            metadata: slot.lease.credential(),
            allowance: slot.allowance.as_ref(),
            windows: &slot.standing.allowance,
            now,
            last_used: slot.last_used,
            pass: self.pass_of(index),
        };
        (slot.tier(), slot.is_suspected(), config.policy.rank(&candidate), slot.place)
    }

    /// Gives requests of this scope an index of their own.
    pub(super) fn add_scope_index(&mut self, scope: &Scope, config: &Config, now: Timestamp) {
        if !self.scope_indexes.contains_key(scope) {
            // One in which nothing cools down any more is the same as the index for no scope. What is in no order at
            // present, such as a paused credential, still cools down.
            let Self { slots, scope_indexes, .. } = self;
            let cools = |cooldown: &Cooldown| cooldown.until > now;
            scope_indexes.retain(|scope, _| {
                slots.iter().any(|slot| slot.standing.cooldown(Some(scope)).is_some_and(cools))
            });
            self.scope_indexes.insert(scope.clone(), PickIndex::default());
            self.reindex_all(config, now);
        }
    }

    pub(super) fn index_for(&self, scope: Option<&Scope>) -> &PickIndex {
        scope.and_then(|scope| self.scope_indexes.get(scope)).unwrap_or(&self.index)
    }

    /// Moves credentials whose cooldown has ended to the ready ones, and ranks those again whose allowance was reset.
    pub(super) fn promote(&mut self, scope: Option<&Scope>, config: &Config, now: Timestamp) {
        self.end_caps(config, now);
        while let Some(slot) = self.index_for(scope).ended(now).or_else(|| self.resets.past(now).next())
        {
            self.reindex(slot, config, now);
        }
    }
}

//! Keeping the indexes that credentials are picked from.

use super::PoolState;
use crate::clock::Timestamp;
use crate::pool::config::Config;
use crate::pool::pick_index::{PickIndex, Position, SlotIndex, SortKey};
use crate::pool::policy::Candidate;
use crate::standing::Scope;

impl PoolState {
    /// Moves a credential to where it now belongs in every index.
    pub(super) fn reindex(&mut self, index: SlotIndex, config: &Config, now: Timestamp) {
        let slot = &self.slots[index];
        let is_busy = slot.is_busy(config);
        let usable = self.is_allowed(slot, config) && !slot.is_out_of_use() && !is_busy;
        // One that was away does not catch up on the picks it has missed.
        let pass = slot.pass.max(self.pass);
        self.slots[index].pass = pass;
        self.slots[index].was_busy = is_busy;
        if config.policy.reads_allowance() {
            self.resets.set(index, self.slots[index].next_reset(now));
        }
        let key = self.sort_key(index, pass, config, now);
        let slot = &self.slots[index];
        let position = |scope: Option<&Scope>| match slot.cools_until(scope) {
            _ if !usable => Position::Out,
            until if until > now => Position::Cooling(until),
            _ => Position::Ready(key),
        };
        self.index.set(index, position(None));
        for (scope, scope_index) in &mut self.scope_indexes {
            scope_index.set(index, position(Some(scope)));
        }
    }

    pub(super) fn reindex_all(&mut self, config: &Config, now: Timestamp) {
        (0..self.slots.len()).for_each(|slot| self.reindex(slot, config, now));
    }

    /// Returns the key that a credential would have among the ready ones with this pass.
    pub(super) fn sort_key(
        &self,
        index: SlotIndex,
        pass: u64,
        config: &Config,
        now: Timestamp,
    ) -> SortKey {
        let slot = &self.slots[index];
        let candidate = Candidate {
            metadata: slot.lease.credential(),
            allowance: slot.allowance.as_ref(),
            windows: &slot.standing.allowance,
            now,
            last_used: slot.last_used,
            pass,
        };
        (slot.tier(), slot.is_suspected(), config.policy.rank(&candidate), slot.place)
    }

    /// Gives requests of this scope an index of their own.
    pub(super) fn add_scope_index(&mut self, scope: &Scope, config: &Config, now: Timestamp) {
        if !self.scope_indexes.contains_key(scope) {
            // One in which nothing cools down any more is the same as the index for no scope.
            self.scope_indexes.retain(|_, index| index.cooling().any(|(until, _)| until > now));
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
            self.begin_trial(slot, now);
            self.reindex(slot, config, now);
        }
    }
}

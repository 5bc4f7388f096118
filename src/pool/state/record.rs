//! Recording what responses say.

use std::hash::BuildHasher;

use tower::util::rng::Rng;

use super::{Observation, PoolState};
use crate::clock::Timestamp;
use crate::pool::config::Config;
use crate::pool::pick_index::SlotIndex;
use crate::rate_limit::{Allowance, Window};
use crate::standing::{Change, Cooldown, Reason, StatedBy, merge_windows};

impl PoolState {
    /// Records that the account has reached a limit, until the stated time if there is one. Responses to attempts that
    /// began before the cooldown can only prolong it. Returns its end, if it has changed.
    pub(crate) fn record_limit(
        &mut self,
        observation: &Observation<'_>,
        stated: Option<(Timestamp, Option<StatedBy>)>,
        config: &Config,
    ) -> Option<Timestamp> {
        let Observation { lease, began, scope, now, .. } = *observation;
        let (stated, stated_by) = stated.map_or((None, None), |(at, by)| (Some(at), by));
        let stated = stated.map(|stated| self.spread(stated, observation, config));
        let (slot, failures) = (&self.slots[lease.slot()], self.failures(lease.slot()));
        // A probe of a credential that cools down is not a new failure either.
        let is_probe = slot.cools_until(scope) > now;
        let is_first = began >= self.cooled_at(lease.slot(), scope) && !is_probe;
        let until = match stated {
            Some(until) if is_first => until.max(config.cooldowns.minimum(now, failures)),
            Some(until) => until,
            None if is_first => {
                let random = self.random.next_f64();
                config.cooldowns.default_for_limit(now, failures, random)
            }
            None => return None,
        };
        let holds = |(known, _): (&Cooldown, _)| known.scope.as_ref() == scope && known.until >= until;
        if !is_first && self.slots[lease.slot()].cooldowns().any(holds) {
            return None;
        }
        let is_stated = stated == Some(until);
        if is_stated {
            self.stated.add(until, now);
        }
        let stated_by = stated_by.filter(|_| is_stated);
        self.cool_down(observation, (until, stated_by), Reason::Limited, is_first, config);
        Some(until)
    }

    /// Records that the account is spent until this time. Returns the end of its cooldown.
    pub(crate) fn record_spent(
        &mut self,
        observation: &Observation<'_>,
        (until, stated_by): (Timestamp, Option<StatedBy>),
        config: &Config,
    ) -> Timestamp {
        let Observation { lease, began, now, .. } = *observation;
        let is_first = began >= self.cooled_at(lease.slot(), None);
        let until = self.spread(until, observation, config);
        self.stated.add(until, now);
        self.cool_down(observation, (until, stated_by), Reason::Spent, is_first, config);
        until
    }

    /// Spreads a stated time. The same time of the same credential, or of the same quota, always comes to the same, so that
    /// a response that repeats it changes nothing.
    fn spread(&self, stated: Timestamp, observation: &Observation<'_>, config: &Config) -> Timestamp {
        let hash = match self.slots[observation.lease.slot()].quota_name() {
            Some(quota) => self.spread_hasher.hash_one((quota, stated)),
            None => self.spread_hasher.hash_one((observation.lease.credential().id, stated)),
        };
        #[expect(clippy::cast_precision_loss, reason = "any part will do")]
        let part = hash as f64 / u64::MAX as f64;
        config.cooldowns.spread_out(observation.now, stated, part)
    }

    pub(super) fn cool_down(
        &mut self,
        observation: &Observation<'_>,
        (until, stated_by): (Timestamp, Option<StatedBy>),
        reason: Reason,
        is_first: bool,
        config: &Config,
    ) {
        let Observation { lease, scope, now, .. } = *observation;
        let cooldown = Cooldown {
            until,
            set_at: now,
            reason,
            scope: scope.cloned(),
            generation: Some(lease.credential().generation),
            cause: Some(observation.cause(stated_by)),
        };
        let change = Change::CooledDown {
            cooldown,
            failure: is_first && reason != Reason::UsedUp,
            // The limit of one model does not change the account's place for the others.
            to_back: is_first && scope.is_none(),
        };
        let at = self.logical_clock.advance();
        self.slots[lease.slot()].set_cooled_at(scope, at);
        if let Some(scope) = scope {
            self.add_scope_index(scope, config, now);
        }
        self.change(lease.slot(), change, config, now);
    }

    /// Records a success. Ends the cooldowns that were set before the attempt began, and clears the failures. Returns
    /// whether that has changed something.
    pub(crate) fn record_success(&mut self, observation: &Observation<'_>, config: &Config) -> bool {
        let Observation { lease, began, scope, now, .. } = *observation;
        let slot = &mut self.slots[lease.slot()];
        let was_refused = slot.was_refused();
        if was_refused && slot.is_of(lease) && slot.suspected.is_none_or(|since| began >= since) {
            slot.clear_suspicion();
            slot.update_penalty();
            self.reindex(lease.slot(), config, now);
        }
        let slot = &self.slots[lease.slot()];
        let since = self.cooled_at(lease.slot(), None).max(self.cooled_at(lease.slot(), scope));
        let ending = slot.cooldowns().map(|(cooldown, _)| cooldown);
        let ending =
            ending.filter(|cooldown| cooldown.scope.is_none() || cooldown.scope.as_ref() == scope);
        let set_until = ending.map(|cooldown| cooldown.set_at).max();
        if began < since || (set_until.is_none() && slot.standing.failures == 0) {
            return false;
        }
        let change =
            Change::Succeeded { set_until: set_until.unwrap_or_default(), scope: scope.cloned() };
        self.change(lease.slot(), change, config, now);
        true
    }

    /// Records what the vendor has said is left.
    pub(crate) fn record_windows(
        &mut self,
        slot: SlotIndex,
        windows: &[Window],
        config: &Config,
        now: Timestamp,
    ) {
        merge_windows(&mut self.slots[slot].standing.allowance, windows);
        self.allowances.changed(slot);
        if config.policy.reads_allowance() {
            self.reindex(slot, config, now);
        }
    }

    /// Records the limit headers of a success. Returns the time until which the allowance is used up, if it is.
    pub(crate) fn record_allowance(
        &mut self,
        observation: &Observation<'_>,
        (allowance, stated_by): (Allowance, Option<StatedBy>),
        config: &Config,
    ) -> Option<Timestamp> {
        let Observation { lease, scope, now, .. } = *observation;
        let used_up = allowance.used_up_until.filter(|_| config.cooldowns.heeds_allowance());
        let slot = &mut self.slots[lease.slot()];
        if config.policy.reads_allowance() {
            slot.allowance = Some(allowance);
            self.reindex(lease.slot(), config, now);
        }
        let used_up = used_up.map(|until| self.spread(until, observation, config));
        let slot = &self.slots[lease.slot()];
        let until = used_up.filter(|until| *until > slot.cools_until(scope))?;
        let is_first = slot.cools_until(scope) <= now;
        self.stated.add(until, now);
        self.cool_down(observation, (until, stated_by), Reason::UsedUp, is_first, config);
        Some(until)
    }
}

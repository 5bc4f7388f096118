//! Taking in what attempts teach.

use tower::util::rng::Rng;

use super::PoolState;
use crate::clock::Timestamp;
use crate::pool::config::Config;
use crate::pool::lease::Lease;
use crate::pool::logical_time::LogicalTime;
use crate::rate_limit::Allowance;
use crate::standing::{Change, Cooldown, Reason, Scope};

/// What an attempt taught about its credential, and what is needed to judge it.
pub(crate) struct Observation<'a> {
    pub(crate) lease: &'a Lease,
    /// When the attempt began.
    pub(crate) began: LogicalTime,
    pub(crate) scope: Option<&'a Scope>,
    pub(crate) now: Timestamp,
}

impl PoolState {
    /// The upstream said that the account has had enough. Answers to attempts that were under way when
    /// it said so first only ever prolong the cooldown.
    pub(crate) fn limited(
        &mut self,
        observation: &Observation<'_>,
        stated: Option<Timestamp>,
        config: &Config,
    ) -> Option<Timestamp> {
        let slot = &self.slots[observation.lease.slot()];
        // A probe of one that cools down anyway is no new failure either.
        let is_probe = slot.cools_until(observation.scope) > observation.now;
        let is_first = observation.began >= slot.cooled_at(observation.scope) && !is_probe;
        let until = match stated {
            Some(until) if is_first => {
                until.max(config.cooldowns.least(observation.now, slot.standing.failures))
            }
            Some(until) => until,
            None if is_first => {
                let random = self.random.next_f64();
                config.cooldowns.guess_limited(observation.now, slot.standing.failures, random)
            }
            None => return None,
        };
        let prolongs = |known: &Cooldown| until > known.until;
        if !is_first && !slot.standing.cooldown(observation.scope).is_none_or(prolongs) {
            return None;
        }
        if stated == Some(until) {
            self.stated.add(until, observation.now);
        }
        self.cool_down(observation, until, Reason::Limited, is_first, config);
        Some(until)
    }

    /// The upstream said that the account is spent, until this time.
    pub(crate) fn spent(&mut self, observation: &Observation<'_>, until: Timestamp, config: &Config) {
        let is_first = observation.began >= self.slots[observation.lease.slot()].cooled_at(None);
        self.stated.add(until, observation.now);
        self.cool_down(observation, until, Reason::Spent, is_first, config);
    }

    pub(super) fn cool_down(
        &mut self,
        observation: &Observation<'_>,
        until: Timestamp,
        reason: Reason,
        is_first: bool,
        config: &Config,
    ) {
        let cooldown = Cooldown {
            until,
            set_at: observation.now,
            reason,
            scope: observation.scope.cloned(),
            generation: Some(observation.lease.credential().generation),
        };
        let change = Change::CooledDown {
            cooldown,
            failure: is_first && reason != Reason::UsedUp,
            // A model's limit says nothing of the account's place for the others.
            to_back: is_first && observation.scope.is_none(),
        };
        let at = self.logical_clock.advance();
        self.slots[observation.lease.slot()].set_cooled_at(observation.scope, at);
        if let Some(scope) = observation.scope {
            self.open_lane(scope, config, observation.now);
        }
        self.change(observation.lease.slot(), change, config, observation.now);
    }

    /// The upstream answered well. Ends the cooldowns that were set before the attempt began, and
    /// forgives the failures.
    pub(crate) fn succeeded(&mut self, observation: &Observation<'_>, config: &Config) -> bool {
        let slot = &mut self.slots[observation.lease.slot()];
        if slot.is_of(observation.lease) && slot.suspected.is_none_or(|since| observation.began >= since)
        {
            slot.acquit();
            slot.mark();
            self.refile(observation.lease.slot(), config, observation.now);
        }
        let slot = &self.slots[observation.lease.slot()];
        let since = slot.cooled_at(None).max(slot.cooled_at(observation.scope));
        let ends = |cooldown: &&Cooldown| {
            cooldown.scope.is_none() || cooldown.scope.as_ref() == observation.scope
        };
        let ending = slot.standing.cooldowns.iter().filter(ends);
        let set_until = ending.map(|cooldown| cooldown.set_at).max();
        if observation.began < since || (set_until.is_none() && slot.standing.failures == 0) {
            return false;
        }
        let change = Change::Succeeded {
            set_until: set_until.unwrap_or_default(),
            scope: observation.scope.cloned(),
        };
        self.change(observation.lease.slot(), change, config, observation.now);
        true
    }

    /// Takes in what the limit headers of a good answer say; the time until which the allowance is
    /// used up, if it is.
    pub(crate) fn allowance(
        &mut self,
        observation: &Observation<'_>,
        allowance: Allowance,
        config: &Config,
    ) -> Option<Timestamp> {
        let used_up = allowance.used_up_until.filter(|_| config.cooldowns.heeds_allowance());
        let slot = &mut self.slots[observation.lease.slot()];
        if config.policy.reads_allowance() {
            slot.allowance = Some(allowance);
            self.refile(observation.lease.slot(), config, observation.now);
        }
        let slot = &self.slots[observation.lease.slot()];
        let until = used_up.filter(|until| *until > slot.cools_until(observation.scope))?;
        let is_first = slot.cools_until(observation.scope) <= observation.now;
        self.stated.add(until, observation.now);
        self.cool_down(observation, until, Reason::UsedUp, is_first, config);
        Some(until)
    }
}

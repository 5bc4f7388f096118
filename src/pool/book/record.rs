//! Taking in what attempts teach.

use std::sync::atomic::Ordering;

use tower::util::rng::Rng;

use super::Book;
use crate::clock::Timestamp;
use crate::pool::config::Config;
use crate::pool::lease::Lease;
use crate::rate_limit::Allowance;
use crate::standing::{Change, Cooldown, Reason, Scope};

/// What an attempt taught about its credential, and what is needed to judge it.
pub(crate) struct Lesson<'a> {
    pub(crate) lease: &'a Lease,
    /// The tick at which the attempt began.
    pub(crate) began: u64,
    pub(crate) scope: Option<&'a Scope>,
    pub(crate) now: Timestamp,
}

impl Book {
    /// The upstream said that the account has had enough. Answers to attempts that were under way when
    /// it said so first only ever prolong the cooldown.
    pub(crate) fn limited(
        &mut self,
        lesson: &Lesson<'_>,
        stated: Option<Timestamp>,
        config: &Config,
    ) -> Option<Timestamp> {
        let slot = &self.slots[lesson.lease.slot()];
        // A probe of one that cools down anyway is no new failure either.
        let is_probe = slot.cools_until(lesson.scope) > lesson.now;
        let is_first = lesson.began >= slot.cooled_at(lesson.scope) && !is_probe;
        let until = match stated {
            Some(until) if is_first => {
                until.max(config.cooldowns.least(lesson.now, slot.standing.failures))
            }
            Some(until) => until,
            None if is_first => {
                let random = self.random.next_f64();
                config.cooldowns.guess_limited(lesson.now, slot.standing.failures, random)
            }
            None => return None,
        };
        let prolongs = |known: &Cooldown| until > known.until;
        if !is_first && !slot.standing.cooldown(lesson.scope).is_none_or(prolongs) {
            return None;
        }
        if stated == Some(until) {
            self.stated.add(until, lesson.now);
        }
        self.cool_down(lesson, until, Reason::Limited, is_first, config);
        Some(until)
    }

    /// The upstream said that the account is spent, until this time.
    pub(crate) fn spent(&mut self, lesson: &Lesson<'_>, until: Timestamp, config: &Config) {
        let is_first = lesson.began >= self.slots[lesson.lease.slot()].cooled_at(None);
        self.stated.add(until, lesson.now);
        self.cool_down(lesson, until, Reason::Spent, is_first, config);
    }

    pub(super) fn cool_down(
        &mut self,
        lesson: &Lesson<'_>,
        until: Timestamp,
        reason: Reason,
        is_first: bool,
        config: &Config,
    ) {
        let cooldown = Cooldown {
            until,
            set_at: lesson.now,
            reason,
            scope: lesson.scope.cloned(),
            generation: Some(lesson.lease.credential().generation),
        };
        let change = Change::CooledDown {
            cooldown,
            failure: is_first && reason != Reason::UsedUp,
            // A model's limit says nothing of the account's place for the others.
            to_back: is_first && lesson.scope.is_none(),
        };
        let tick = self.tick.fetch_add(1, Ordering::AcqRel) + 1;
        self.slots[lesson.lease.slot()].set_cooled_at(lesson.scope, tick);
        if let Some(scope) = lesson.scope {
            self.open_lane(scope, config, lesson.now);
        }
        self.change(lesson.lease.slot(), change, config, lesson.now);
    }

    /// The upstream answered well. Ends the cooldowns that were set before the attempt began, and
    /// forgives the failures.
    pub(crate) fn succeeded(&mut self, lesson: &Lesson<'_>, config: &Config) -> bool {
        let slot = &mut self.slots[lesson.lease.slot()];
        if slot.is_of(lesson.lease) && slot.suspected.is_none_or(|since| lesson.began >= since) {
            slot.acquit();
            slot.mark();
            self.refile(lesson.lease.slot(), config, lesson.now);
        }
        let slot = &self.slots[lesson.lease.slot()];
        let since = slot.cooled_at(None).max(slot.cooled_at(lesson.scope));
        let ends =
            |cooldown: &&Cooldown| cooldown.scope.is_none() || cooldown.scope.as_ref() == lesson.scope;
        let ending = slot.standing.cooldowns.iter().filter(ends);
        let set_until = ending.map(|cooldown| cooldown.set_at).max();
        if lesson.began < since || (set_until.is_none() && slot.standing.failures == 0) {
            return false;
        }
        let change =
            Change::Succeeded { set_until: set_until.unwrap_or_default(), scope: lesson.scope.cloned() };
        self.change(lesson.lease.slot(), change, config, lesson.now);
        true
    }

    /// Takes in what the limit headers of a good answer say; the time until which the allowance is
    /// used up, if it is.
    pub(crate) fn allowance(
        &mut self,
        lesson: &Lesson<'_>,
        allowance: Allowance,
        config: &Config,
    ) -> Option<Timestamp> {
        let used_up = allowance.used_up_until.filter(|_| config.cooldowns.heeds_allowance());
        let slot = &mut self.slots[lesson.lease.slot()];
        if config.policy.reads_allowance() {
            slot.allowance = Some(allowance);
            self.refile(lesson.lease.slot(), config, lesson.now);
        }
        let slot = &self.slots[lesson.lease.slot()];
        let until = used_up.filter(|until| *until > slot.cools_until(lesson.scope))?;
        let is_first = slot.cools_until(lesson.scope) <= lesson.now;
        self.stated.add(until, lesson.now);
        self.cool_down(lesson, until, Reason::UsedUp, is_first, config);
        Some(until)
    }
}

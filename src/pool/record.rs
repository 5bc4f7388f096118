//! Recording what responses say of the pool's credentials.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::config::Config;
use super::state::{LoweredCap, Observation, Refusal, Said, Suspect};
use super::{Lease, LogicalTime, Pool, SlotIndex};
use crate::clock::Timestamp;
use crate::credential::Generation;
use crate::events::{EventKind, Numbers};
use crate::provider::{Assessment, ResponseView};
use crate::rate_limit::{self, Allowance, LimitHeaders};
use crate::standing::{Cause, Change, Health, Reason, Scope, StatedBy};

/// What the limit headers of a response say together.
pub(crate) struct AllowanceRead {
    now: Timestamp,
    /// With the header that states until when it is used up.
    stated: Option<(Allowance, Option<StatedBy>)>,
}

impl Pool {
    /// Returns whether this status means that the account has reached a limit.
    pub(crate) fn is_limited(&self, status: StatusCode) -> bool {
        self.0.config.cooldowns.is_limited(status)
    }

    /// Whether a request for which the server is too busy goes on with another credential.
    pub(crate) fn rotates_overloads(&self) -> bool {
        self.0.config.rotates_overloads
    }

    /// Returns what a response that isn't a success says of its account.
    pub(crate) fn read(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Assessment {
        self.0.provider.read(&ResponseView::new(status, headers, self.now()).body(body))
    }

    /// Records a response that says that the account has reached a limit, and when to ask again if it states that.
    pub(crate) fn record_limit(
        &self,
        lease: &Lease,
        began: LogicalTime,
        scope: Option<&Scope>,
        Said { status, stated }: Said,
        numbers: Numbers,
    ) {
        let now = self.now();
        let observation = Observation { lease, began, numbers, scope, now, status };
        let until = self.with_state(|state, config| state.record_limit(&observation, stated, config));
        self.emit_cooled_down(&observation, until, Reason::Limited);
    }

    /// Records a response that says that the account has too many concurrent requests. Lowers its cap to the number of
    /// the other requests. If there are none, other programs use the account, and it is a limit like any other.
    /// Returns whether the cap was lowered.
    pub(crate) fn record_concurrency_limit(
        &self,
        lease: &Lease,
        (began, beside): (LogicalTime, u32),
        scope: Option<&Scope>,
        said: Said,
        numbers: Numbers,
    ) -> bool {
        let (now, status) = (self.now(), said.status);
        let observation = Observation { lease, began, numbers, scope: None, now, status };
        let until = said.stated.as_ref().map(|(until, _)| *until);
        let lowered =
            self.with_state(|state, config| state.lower_cap(&observation, beside, until, config));
        match lowered {
            None => self.record_limit(lease, began, scope, said, numbers),
            Some(LoweredCap { most, until, is_news: true, .. }) => {
                let (account, wait) = (lease.credential().into(), until.since(now));
                self.emit(numbers, EventKind::CapLowered { account, most, wait });
            }
            Some(_) => {}
        }
        lowered.is_some()
    }

    /// Records a response that says that the account's owner must act.
    pub(crate) fn record_stopped(
        &self,
        lease: &Lease,
        reason: &str,
        status: StatusCode,
        numbers: Numbers,
    ) {
        let health = |reason, generation, cause| Health::NeedsSignIn { reason, generation, cause };
        self.put_out_of_use(lease, reason, status, health, numbers);
    }

    /// Records a response that says that the key will never work again.
    pub(crate) fn record_dead(&self, lease: &Lease, reason: &str, status: StatusCode, numbers: Numbers) {
        let health = |reason, generation, cause| Health::Dead { reason, generation, cause };
        self.put_out_of_use(lease, reason, status, health, numbers);
    }

    /// Takes a credential out of use until a person acts. A response to an older secret says nothing of the current
    /// one. Of several such responses the first counts, unless a later one forbids to ask again.
    fn put_out_of_use(
        &self,
        lease: &Lease,
        reason: &str,
        status: StatusCode,
        health: impl FnOnce(String, Generation, Option<Cause>) -> Health,
        numbers: Numbers,
    ) {
        let now = self.now();
        let reason = lease.redact(reason);
        let cause = Cause { at: now, status: status.as_u16(), stated_by: None };
        let health = health(reason.clone(), lease.credential().generation, Some(cause));
        let (is_spent, is_final) =
            (matches!(health, Health::Spent { .. }), matches!(health, Health::NeedsSignIn { .. }));
        let is_news = self.with_state(|state, config| {
            let slot = &state.slots[lease.slot()];
            let is_out = match &slot.standing.health {
                Health::Good => false,
                known => !is_final || matches!(known, Health::NeedsSignIn { .. }),
            };
            let is_news = slot.is_of(lease) && !is_out;
            if is_news {
                state.change(lease.slot(), Change::Health(health), config, now);
            }
            is_news
        });
        if is_news {
            let (account, reason) = (lease.credential().into(), reason.into());
            self.emit(
                numbers,
                match is_spent {
                    true => EventKind::Spent { account, reason },
                    false => EventKind::NeedsSignIn { account, reason },
                },
            );
        }
    }

    /// Records a response that says that the account is spent, until this time or until a person acts. With a time, a
    /// response to an older secret counts, too, since the account is spent, not the secret.
    pub(crate) fn record_spent(
        &self,
        lease: &Lease,
        began: LogicalTime,
        reason: &str,
        Said { status, stated }: Said,
        numbers: Numbers,
    ) {
        let now = self.now();
        match stated {
            // A time in the past does not say when it ends.
            Some((until, _)) if until <= now => {
                self.record_limit(lease, began, None, Said { status, stated: None }, numbers);
            }
            Some(stated) => {
                let observation = Observation { lease, began, numbers, scope: None, now, status };
                let until =
                    self.with_state(|state, config| state.record_spent(&observation, stated, config));
                self.emit_cooled_down(&observation, Some(until), Reason::Spent);
            }
            None => {
                let health = |reason, generation, cause| Health::Spent { reason, generation, cause };
                self.put_out_of_use(lease, reason, status, health, numbers);
            }
        }
    }

    /// Puts a credential back to use after a successful check.
    pub(crate) fn record_recovery(&self, lease: &Lease, numbers: Numbers) {
        let now = self.now();
        let is_news = self.with_state(|state, config| {
            let slot = &state.slots[lease.slot()];
            let is_news = slot.is_of(lease) && slot.standing.health != Health::Good;
            if is_news {
                state.change(lease.slot(), Change::Health(Health::Good), config, now);
            }
            is_news
        });
        if is_news {
            self.emit(numbers, EventKind::Recovered { account: lease.credential().into() });
        }
    }

    /// Cools suspects down, since another credential has succeeded in the same request.
    pub(crate) fn cool_down_refused(&self, suspects: &[Suspect], scope: Option<&Scope>) {
        for Suspect { lease, began, numbers, refusal, status, .. } in suspects {
            let scope = scope.filter(|_| *refusal == Refusal::Forbidden);
            let (began, numbers, status, now) = (*began, *numbers, *status, self.now());
            let observation = Observation { lease, began, numbers, scope, now, status };
            let until = self.with_state(|state, config| state.cool_down_refused(&observation, config));
            self.emit_cooled_down(&observation, until, Reason::Refused);
        }
    }

    /// Records the suspects of a request that has ended without comparing them.
    pub(crate) fn record_suspects(&self, suspects: &[Suspect]) {
        let now = self.now();
        let new = self.with_state(|state, config| state.record_suspects(suspects, config, now));
        for Suspect { lease, numbers, is_pinned, .. } in new {
            let account = lease.credential().into();
            self.emit(numbers, EventKind::Suspected { account, pinned: is_pinned });
        }
    }

    /// Records a success. Takes a lock only if that changes something.
    pub(crate) fn record_success(
        &self,
        lease: &Lease,
        began: LogicalTime,
        scope: Option<&Scope>,
        (status, headers): (StatusCode, &HeaderMap),
        read: Option<AllowanceRead>,
        numbers: Numbers,
    ) {
        if lease.penalty().is_set() {
            let now = self.now();
            let observation = Observation { lease, began, numbers, scope, now, status };
            if self.with_state(|state, config| state.record_success(&observation, config)) {
                self.emit_seen(numbers, || EventKind::Recovered { account: lease.credential().into() });
            }
        }
        if !self.needs_allowance(headers) {
            return;
        }
        let AllowanceRead { now, stated } = read.unwrap_or_else(|| {
            let now = self.now();
            AllowanceRead { now, stated: LimitHeaders::read(headers, now).allowance() }
        });
        let observation = Observation { lease, began, numbers, scope, now, status };
        let Some(stated) = stated else { return };
        if self.0.config.policy.reads_allowance() || stated.0.used_up_until.is_some() {
            let until =
                self.with_state(|state, config| state.record_allowance(&observation, stated, config));
            self.emit_cooled_down(&observation, until, Reason::UsedUp);
        }
    }

    /// Returns whether a success with these headers must be recorded: it may change something, or somebody observes it.
    #[inline]
    pub(crate) fn must_record_success(&self, headers: &HeaderMap) -> bool {
        self.is_observed()
            || self.0.penalties.any()
            || self.0.config.max_in_flight.is_some()
            || self.needs_allowance(headers)
    }

    /// Records the status of an attempt's response.
    #[inline]
    pub(crate) fn record_status(&self, slot: SlotIndex, status: StatusCode) {
        self.0.last_responses.record(slot, status, || self.now());
    }

    /// Records what a response says is left of the account's limits. Most responses of a busy account are passed over
    /// here: a few each second say enough. Returns what the headers say together, if they were read and
    /// [`record_success`](Self::record_success) needs it.
    #[inline]
    pub(crate) fn record_allowance(
        &self,
        lease: &Lease,
        headers: &HeaderMap,
        numbers: Numbers,
    ) -> Option<AllowanceRead> {
        if self.0.reads_each_allowance || lease.samples().take(&self.0.sample_period) {
            self.record_windows(lease, headers, numbers)
        } else {
            None
        }
    }

    #[cold]
    fn record_windows(
        &self,
        lease: &Lease,
        headers: &HeaderMap,
        numbers: Numbers,
    ) -> Option<AllowanceRead> {
        let now = self.now();
        self.record_quota(lease, headers, now);
        let said = LimitHeaders::read(headers, now);
        let windows = said.windows();
        if !windows.is_empty() {
            self.with_state(|state, config| {
                state.record_windows(lease.slot(), &windows, config, now);
            });
            if self.is_observed() {
                let (account, windows) = (lease.credential().into(), windows.into());
                self.emit(numbers, EventKind::Allowance { account, windows });
            }
        }
        self.needs_allowance(headers).then(|| AllowanceRead { now, stated: said.allowance() })
    }

    /// Does what requests leave to the task that syncs the pool: adds the time to the last responses that have none
    /// yet, and lets each account's next responses say what is left.
    pub(super) fn catch_up(&self) {
        self.0.last_responses.date(self.now());
        self.0.sample_period.advance();
    }

    /// Returns whether what the limit headers of a success say together may change something.
    fn needs_allowance(&self, headers: &HeaderMap) -> bool {
        let Config { policy, cooldowns, .. } = &self.0.config;
        policy.reads_allowance() || (cooldowns.heeds_allowance() && rate_limit::may_be_used_up(headers))
    }

    fn emit_cooled_down(&self, observation: &Observation<'_>, until: Option<Timestamp>, reason: Reason) {
        if let Some(until) = until {
            self.emit_seen(observation.numbers, || EventKind::CooledDown {
                account: observation.lease.credential().into(),
                until,
                wait: until.since(observation.now),
                reason,
                scope: observation.scope.cloned(),
            });
        }
    }

    /// Returns how long this credential still cools down for requests of this scope.
    pub(crate) fn cooling_for(&self, lease: &Lease, scope: Option<&Scope>) -> Duration {
        let now = self.now();
        self.with_state(|state, _| state.slots[lease.slot()].cools_until(scope).since(now))
    }

    /// Returns whether a newer secret than this lease's is known.
    pub(crate) fn has_newer(&self, lease: &Lease) -> bool {
        self.with_state(|state, _| !state.slots[lease.slot()].is_of(lease))
    }

    /// Returns whether this secret was refused in this way right after its renewal: another renewal would not help.
    pub(crate) fn was_refused_fresh(&self, lease: &Lease, refusal: Refusal) -> bool {
        self.with_state(|state, _| state.was_refused_fresh(lease, refusal))
    }

    /// Records that this secret was refused in this way right after its renewal.
    pub(crate) fn set_refused_fresh(&self, lease: &Lease, refusal: Refusal) {
        self.with_state(|state, _| state.set_refused_fresh(lease, refusal));
    }
}

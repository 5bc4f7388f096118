//! What answers teach a pool of its credentials.

use std::time::Duration;

use http::HeaderMap;

use super::state::{LoweredCap, Observation, Refusal, Suspect};
use super::{Lease, LogicalTime, Pool};
use crate::clock::Timestamp;
use crate::credential::Generation;
use crate::events::Event;
use crate::provider::{Assessment, ResponseView};
use crate::rate_limit;
use crate::standing::{Change, Health, Reason, Scope};

impl Pool {
    /// Whether this status says that the account has had enough.
    pub(crate) fn is_limited(&self, status: http::StatusCode) -> bool {
        self.0.config.cooldowns.is_limited(status)
    }

    /// What an answer that isn't a success says of its account.
    pub(crate) fn read(&self, status: http::StatusCode, headers: &HeaderMap, body: &[u8]) -> Assessment {
        self.0.provider.read(&ResponseView::new(status, headers, self.now()).body(body))
    }

    /// An attempt came back with a status that says the account has had enough, and when to ask again
    /// where that was stated.
    pub(crate) fn limited(
        &self,
        lease: &Lease,
        began: LogicalTime,
        scope: Option<&Scope>,
        stated: Option<Timestamp>,
    ) {
        let now = self.now();
        let observation = Observation { lease, began, scope, now };
        let until = self.with_state(|state, config| state.limited(&observation, stated, config));
        self.emit_cooled_down(&observation, until, Reason::Limited);
    }

    /// An attempt was turned away since the account has too many requests under way. Its cap is lowered to the others,
    /// if there are any; else others take what there is, and it is a limit like any other. Returns which it is.
    pub(crate) fn crowded(
        &self,
        lease: &Lease,
        (began, beside): (LogicalTime, u32),
        scope: Option<&Scope>,
        stated: Option<Timestamp>,
    ) -> bool {
        let now = self.now();
        let observation = Observation { lease, began, scope: None, now };
        let lowered =
            self.with_state(|state, config| state.lower_cap(&observation, beside, stated, config));
        match lowered {
            None => self.limited(lease, began, scope, stated),
            Some(LoweredCap { most, until, is_news: true, .. }) => self.emit(&Event::CapLowered {
                credential: lease.credential(),
                most,
                wait: until.since(now),
            }),
            Some(_) => {}
        }
        lowered.is_some()
    }

    /// The upstream says that the account's owner has to act.
    pub(crate) fn stopped(&self, lease: &Lease, reason: &str) {
        let health = |reason, generation| Health::NeedsSignIn { reason, generation };
        self.put_out_of_use(lease, reason, health);
    }

    /// The upstream says that the key is of no use any more.
    pub(crate) fn dead(&self, lease: &Lease, reason: &str) {
        let health = |reason, generation| Health::Dead { reason, generation };
        self.put_out_of_use(lease, reason, health);
    }

    /// Takes a credential out of use until a person acts. An answer to an older secret says nothing of the present
    /// one; of several such answers the first counts, but for one that forbids to ask again.
    fn put_out_of_use(
        &self,
        lease: &Lease,
        reason: &str,
        health: impl FnOnce(String, Generation) -> Health,
    ) {
        let now = self.now();
        let reason = lease.redact(reason);
        let health = health(reason.clone(), lease.credential().generation);
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
        let credential = lease.credential();
        match is_news {
            true if is_spent => self.emit(&Event::Spent { credential, reason: &reason }),
            true => self.emit(&Event::NeedsSignIn { credential, reason: &reason }),
            false => {}
        }
    }

    /// The upstream says that the account is spent, until this time or until a person acts. An answer to an older
    /// secret counts as well where a time is named: it is the account that is spent, not the secret.
    pub(crate) fn spent(
        &self,
        lease: &Lease,
        began: LogicalTime,
        reason: &str,
        until: Option<Timestamp>,
    ) {
        let now = self.now();
        match until {
            // A time that has passed ends nothing: how long it goes on is a guess.
            Some(until) if until <= now => self.limited(lease, began, None, None),
            Some(until) => {
                let observation = Observation { lease, began, scope: None, now };
                self.with_state(|state, config| state.spent(&observation, until, config));
                self.emit_cooled_down(&observation, Some(until), Reason::Spent);
            }
            None => {
                let health = |reason, generation| Health::Spent { reason, generation };
                self.put_out_of_use(lease, reason, health);
            }
        }
    }

    /// A request that was sent to see whether this credential is well again was answered well.
    pub(crate) fn proved_well(&self, lease: &Lease) {
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
            self.emit(&Event::Recovered { credential: lease.credential() });
        }
    }

    /// These were refused where another credential was answered well.
    pub(crate) fn convict(&self, suspects: &[Suspect], scope: Option<&Scope>) {
        for Suspect { lease, began, refusal } in suspects {
            let scope = scope.filter(|_| *refusal == Refusal::Forbidden);
            let observation = Observation { lease, began: *began, scope, now: self.now() };
            let until = self.with_state(|state, config| state.convict(&observation, config));
            self.emit_cooled_down(&observation, until, Reason::Refused);
        }
    }

    /// A request has ended in which these were refused, and compared with nobody.
    pub(crate) fn suspect(&self, suspects: &[Suspect]) {
        let now = self.now();
        for lease in self.with_state(|state, config| state.suspect(suspects, config, now)) {
            self.emit(&Event::Suspected { credential: lease.credential() });
        }
    }

    /// An attempt came back well. Takes a lock only where that changes something.
    pub(crate) fn succeeded(
        &self,
        lease: &Lease,
        began: LogicalTime,
        scope: Option<&Scope>,
        headers: &HeaderMap,
    ) {
        if lease.penalty().is_set() {
            let observation = Observation { lease, began, scope, now: self.now() };
            if self.with_state(|state, config| state.succeeded(&observation, config)) {
                self.emit(&Event::Recovered { credential: lease.credential() });
            }
        }
        let reads_all = self.0.config.policy.reads_allowance();
        if !reads_all && !self.may_be_used_up(headers) {
            return;
        }
        let observation = Observation { lease, began, scope, now: self.now() };
        let Some(allowance) = rate_limit::allowance(headers, observation.now) else { return };
        if reads_all || allowance.used_up_until.is_some() {
            let until =
                self.with_state(|state, config| state.allowance(&observation, allowance, config));
            self.emit_cooled_down(&observation, until, Reason::UsedUp);
        }
    }

    /// Whether a good answer with these headers may change anything, or somebody wants to know of it.
    #[inline]
    pub(crate) fn learns_from_good(&self, headers: &HeaderMap) -> bool {
        self.is_observed()
            || self.0.penalties.any()
            || self.0.config.max_in_flight.is_some()
            || self.0.config.policy.reads_allowance()
            || self.may_be_used_up(headers)
    }

    fn may_be_used_up(&self, headers: &HeaderMap) -> bool {
        self.0.config.cooldowns.heeds_allowance() && rate_limit::may_be_used_up(headers)
    }

    fn emit_cooled_down(&self, observation: &Observation<'_>, until: Option<Timestamp>, reason: Reason) {
        if let Some(until) = until {
            self.emit(&Event::CooledDown {
                credential: observation.lease.credential(),
                until,
                wait: until.since(observation.now),
                reason,
                scope: observation.scope,
            });
        }
    }

    /// How long this credential still cools down for requests of this scope.
    pub(crate) fn cooling_for(&self, lease: &Lease, scope: Option<&Scope>) -> Duration {
        let now = self.now();
        self.with_state(|state, _| state.slots[lease.slot()].cools_until(scope).since(now))
    }

    /// Whether a newer secret than this lease's is known.
    pub(crate) fn has_newer(&self, lease: &Lease) -> bool {
        self.with_state(|state, _| !state.slots[lease.slot()].is_of(lease))
    }

    /// Whether this secret was refused in this way right after its renewal: another one would not help.
    pub(crate) fn was_refused_fresh(&self, lease: &Lease, refusal: Refusal) -> bool {
        self.with_state(|state, _| state.was_refused_fresh(lease, refusal))
    }

    /// This secret was refused in this way right after its renewal.
    pub(crate) fn set_refused_fresh(&self, lease: &Lease, refusal: Refusal) {
        self.with_state(|state, _| state.set_refused_fresh(lease, refusal));
    }
}

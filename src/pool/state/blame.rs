//! Who is to blame for a refusal that gives no reason: the credential, or the request. Only a comparison tells. If
//! another credential is answered well within the same request, the refused one is convicted and cools down. If all
//! are refused, it is the request. If there was nothing to compare with, the credential stays a suspect: it goes
//! behind the others, so that one of the next requests compares.

use http::StatusCode;

use super::{Observation, PoolState, Slot};
use crate::clock::Timestamp;
use crate::pool::config::Config;
use crate::pool::lease::Lease;
use crate::pool::logical_time::LogicalTime;
use crate::pool::pick_index::SlotIndex;
use crate::standing::{Cooldown, Reason, Scope};

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 401: the credential itself.
    Unauthorized,
    /// 403: what it may do.
    Forbidden,
}

impl Refusal {
    /// Whether another credential's answer to the same request shows that this refusal was for the credential's sake.
    pub(crate) fn is_convicted_by(self, answer: StatusCode) -> bool {
        match answer.as_u16() {
            // It was carried out, or it has met the state of what it is about (RFC 9110, section 13.2.1).
            200..=299 | 304 | 409 | 412 | 422 => true,
            // It was authenticated. Vendors also answer so to those who may not have what they ask for.
            400 | 404..=406 | 410 | 411 | 413..=417 => self == Self::Unauthorized,
            _ => false,
        }
    }
}

/// A credential whose attempt was refused, and whose answer does not say why.
#[derive(Clone)]
pub(crate) struct Suspect {
    pub(crate) lease: Lease,
    /// When the attempt began.
    pub(crate) began: LogicalTime,
    pub(crate) refusal: Refusal,
}

/// How the present secret was refused right after its renewal: another renewal helps against no such refusal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RefusedFresh {
    unauthorized: bool,
    forbidden: bool,
}

impl RefusedFresh {
    fn by(&mut self, refusal: Refusal) -> &mut bool {
        match refusal {
            Refusal::Unauthorized => &mut self.unauthorized,
            Refusal::Forbidden => &mut self.forbidden,
        }
    }

    pub(super) fn is_any(self) -> bool {
        self.unauthorized || self.forbidden
    }
}

impl Slot {
    pub(super) fn is_suspected(&self) -> bool {
        self.suspected.is_some()
    }

    /// The cooldown that it was convicted to, ended or not.
    fn conviction(&self, scope: Option<&Scope>) -> Option<&Cooldown> {
        self.standing.cooldown(scope).filter(|known| known.reason == Reason::Refused)
    }

    fn is_convicted(&self, scope: Option<&Scope>, now: Timestamp) -> bool {
        self.conviction(scope).is_some_and(|known| known.until > now)
    }

    /// It is answered well, has another secret, or a person vouches for it.
    pub(super) fn acquit(&mut self) {
        self.suspected = None;
        self.refused_fresh = RefusedFresh::default();
    }
}

impl PoolState {
    /// Another credential was answered well where this one was refused. It cools down: longer each time in a row,
    /// but once for each cooldown that was served.
    pub(crate) fn convict(
        &mut self,
        observation: &Observation<'_>,
        config: &Config,
    ) -> Option<Timestamp> {
        let index = observation.lease.slot();
        let slot = &mut self.slots[index];
        let is_old = observation.began < slot.cooled_at(None).max(slot.cooled_at(observation.scope));
        if is_old || !slot.is_of(observation.lease) || slot.is_out_of_use() {
            return None;
        }
        if slot.is_convicted(observation.scope, observation.now) {
            return None;
        }
        let again = slot.conviction(observation.scope).is_some();
        let failures = if again { slot.standing.failures } else { 0 };
        slot.suspected = None;
        let until = config.cooldowns.guess_refused(observation.now, failures);
        self.cool_down(observation, until, Reason::Refused, true, config);
        Some(until)
    }

    /// Whether this secret was refused in this way right after its renewal.
    pub(crate) fn was_refused_fresh(&mut self, lease: &Lease, refusal: Refusal) -> bool {
        let slot = &mut self.slots[lease.slot()];
        slot.is_of(lease) && *slot.refused_fresh.by(refusal)
    }

    /// This secret was refused in this way right after its renewal.
    pub(crate) fn set_refused_fresh(&mut self, lease: &Lease, refusal: Refusal) {
        let slot = &mut self.slots[lease.slot()];
        if slot.is_of(lease) {
            *slot.refused_fresh.by(refusal) = true;
            slot.mark();
        }
    }

    /// A request has ended in which these were refused and compared with nobody. If there are others, these go behind
    /// them; if there are none, the request was at fault. Returns those of which that is news.
    pub(crate) fn suspect(
        &mut self,
        suspects: &[Suspect],
        config: &Config,
        now: Timestamp,
    ) -> Vec<Lease> {
        let is_other = |(index, slot): (SlotIndex, &Slot)| {
            self.is_allowed(slot, config)
                && !slot.is_out_of_use()
                && suspects.iter().all(|suspect| suspect.lease.slot() != index)
        };
        if !self.slots.iter().enumerate().any(is_other) {
            return Vec::new();
        }
        let mut news = Vec::new();
        for Suspect { lease, began, .. } in suspects {
            let slot = &mut self.slots[lease.slot()];
            let is_old = !slot.is_of(lease) || *began < slot.cooled_at(None);
            if is_old || slot.is_out_of_use() || slot.is_convicted(None, now) {
                continue;
            }
            // A success of an attempt that began before says nothing.
            if slot.suspected.replace(self.logical_clock.advance()).is_none() {
                news.push(lease.clone());
            }
            slot.mark();
            self.refile(lease.slot(), config, now);
        }
        news
    }
}

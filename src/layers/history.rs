//! The history of one of the caller's requests.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Instant;

use super::apply::Home;
use super::jobs::RotateOptions;
use crate::credential::Generation;
use crate::events::Numbers;
use crate::pool::{Lease, LogicalTime, Permit, RequestOptions, SlotIndex, Suspect};

/// One sending of a request: with which credential, and when it began.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) lease: Lease,
    /// The number of the attempt, from 1.
    pub(super) number: u32,
    /// The number of the request, if somebody observes events.
    pub(super) request: Option<NonZeroU64>,
    /// When it began, on the pool's logical clock.
    pub(super) began: LogicalTime,
    /// How many other requests were in flight with its credential then.
    pub(super) others_in_flight: u32,
    /// When it began, if it is timed, or somebody observes events.
    pub(super) started: Option<Instant>,
    /// Whether the token has expired, and this request has not tried to renew it yet.
    pub(super) is_expired: bool,
}

impl Sent {
    /// Returns the numbers of the events that belong to this attempt.
    pub(super) fn numbers(&self) -> Numbers {
        Numbers { request: self.request, attempt: NonZeroU32::new(self.number) }
    }

    /// Whether it is the same attempt, and nothing has changed.
    pub(super) fn is_same_as(&self, other: &Sent) -> bool {
        self.number == other.number
            && self.lease.ptr_eq(&other.lease)
            && self.is_expired == other.is_expired
    }
}

/// A request's renewal of a credential's secret, whatever came of it.
pub(super) struct Renewal {
    slot: SlotIndex,
    /// The generation of that secret.
    before: Generation,
    /// Whether that secret was known to have expired.
    had_expired: bool,
}

impl Renewal {
    fn is_of(&self, lease: &Lease) -> bool {
        self.slot == lease.slot() && self.before == lease.credential().generation
    }
}

/// How often a request may be sent again with a credential that had too many requests at once.
const MAX_OVERLOADS: u32 = 3;

/// A credential that had too many requests at once.
pub(super) struct Overloaded {
    slot: SlotIndex,
    /// How often that happened to this request.
    times: u32,
    /// Whether the request may be sent with it again, and has not been since.
    may_again: bool,
}

/// The state that all attempts of a request share.
#[derive(Default)]
pub(super) struct History {
    /// What the caller asks for.
    pub(super) options: RequestOptions,
    /// The latest attempt that has begun since the history was created.
    pub(super) latest: Option<Sent>,
    pub(super) tried: Vec<SlotIndex>,
    /// Those of them that had too many requests at once.
    pub(super) overloaded: Vec<Overloaded>,
    /// Those of them that lacked a token, so that nothing was sent with them.
    pub(super) unsent: Vec<SlotIndex>,
    /// The renewals that this request has begun.
    pub(super) refreshed: Vec<Renewal>,
    /// The credentials that were refused, and that a refresh did not help.
    pub(super) failed: Vec<SlotIndex>,
    /// Those of them that may not be to blame. The response to another credential decides.
    pub(super) suspects: Vec<Suspect>,
    pub(super) permit: Option<Permit>,
    /// How many credentials the request may try, if another run's rotate layer limits that.
    pub(super) budget: Option<NonZeroU32>,
    /// The caller's own destination, if the request was sent to a credential's endpoint.
    pub(super) home: Option<Home>,
}

impl History {
    /// Records that an attempt begins. A run further in, or one with another copy of the request, may have made others since.
    pub(super) fn begin(&mut self, sent: &mut Sent) {
        if let Some(latest) = &self.latest {
            sent.number = sent.number.max(latest.number + 1);
            sent.request = latest.request.or(sent.request);
        }
        self.record_try(&sent.lease);
        self.latest = Some(sent.clone());
    }

    /// Records that a credential is tried now.
    pub(super) fn record_try(&mut self, lease: &Lease) {
        let slot = lease.slot();
        if !self.tried.contains(&slot) {
            self.tried.push(slot);
        } else if let Some(known) = self.overloaded(slot) {
            known.may_again = false;
        }
    }

    /// Records that a credential has too many requests at once. It may be tried again when it has fewer, a few times.
    pub(super) fn record_overload(&mut self, lease: &Lease) {
        let slot = lease.slot();
        match self.overloaded(slot) {
            Some(known) => {
                known.times += 1;
                known.may_again = known.times <= MAX_OVERLOADS;
            }
            None => self.overloaded.push(Overloaded { slot, times: 1, may_again: true }),
        }
    }

    fn overloaded(&mut self, slot: SlotIndex) -> Option<&mut Overloaded> {
        self.overloaded.iter_mut().find(|known| known.slot == slot)
    }

    fn may_try_again(&self, slot: SlotIndex) -> bool {
        self.overloaded.iter().any(|known| known.slot == slot && known.may_again)
    }

    /// Records that a credential is passed over, as it lacks a token and none can be had now.
    pub(super) fn record_unsent(&mut self, lease: &Lease) {
        self.record_try(lease);
        if !self.unsent.contains(&lease.slot()) {
            self.unsent.push(lease.slot());
        }
    }

    /// Records that this secret is being renewed. `has_expired` says whether it is known to have expired.
    pub(super) fn record_refresh(&mut self, lease: &Lease, has_expired: bool) {
        let before = lease.credential().generation;
        self.refreshed.push(Renewal { slot: lease.slot(), before, had_expired: has_expired });
        self.latest.iter_mut().for_each(|latest| latest.is_expired = false);
    }

    /// Whether this request has tried to renew the credential's secret.
    pub(super) fn was_refreshed(&self, slot: SlotIndex) -> bool {
        self.refreshed.iter().any(|renewal| renewal.slot == slot)
    }

    /// Whether this secret came from a renewal by this request.
    pub(super) fn was_renewed(&self, lease: &Lease) -> bool {
        let generation = lease.credential().generation;
        self.refreshed.iter().any(|renewal| renewal.slot == lease.slot() && renewal.before < generation)
    }

    /// Whether this secret was known to have expired before it was refused, and its renewal brought no other. Such a
    /// refusal was expected, and says nothing about the account.
    pub(super) fn was_known_to_have_expired(&self, lease: &Lease) -> bool {
        self.refreshed.iter().any(|renewal| renewal.had_expired && renewal.is_of(lease))
    }

    /// Returns which credentials may be tried next. `size` is the pool's.
    pub(super) fn may_take(
        &self,
        rotate: Option<&RotateOptions>,
        size: u32,
    ) -> impl Fn(SlotIndex) -> bool + use<'_> {
        let budget = rotate.map_or(self.budget, |rotate| rotate.max_attempts);
        let budget = usize::try_from(budget.map_or(size, Into::into)).unwrap_or(usize::MAX);
        let is_spent = self.tried.len() - self.unsent.len() >= budget;
        move |slot| {
            if self.tried.contains(&slot) { self.may_try_again(slot) } else { !is_spent }
        }
    }

    /// Clears it for another request, which reuses its memory.
    pub(super) fn clear(&mut self) {
        let Self {
            options,
            latest,
            tried,
            overloaded,
            unsent,
            refreshed,
            failed,
            suspects,
            permit,
            budget,
            home,
        } = self;
        options.clear();
        *latest = None;
        tried.clear();
        overloaded.clear();
        unsent.clear();
        refreshed.clear();
        failed.clear();
        suspects.clear();
        *permit = None;
        *budget = None;
        *home = None;
    }
}

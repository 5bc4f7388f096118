//! The history of one request of the caller's.

use std::num::NonZeroU32;
use std::time::Instant;

use super::apply::Home;
use super::jobs::RotateOptions;
use crate::credential::Generation;
use crate::pool::{Lease, LogicalTime, Permit, RequestOptions, SlotIndex, Suspect};

/// One sending of a request: with which credential, and when it began.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) lease: Lease,
    /// Which attempt of the request it is, from 1.
    pub(super) number: u32,
    /// When it began, on the pool's logical clock.
    pub(super) began: LogicalTime,
    /// How many other requests its credential had then.
    pub(super) beside: u32,
    /// When it began, if somebody looks at events.
    pub(super) started: Option<Instant>,
    /// Whether the token has expired, and nobody has tried to renew it yet.
    pub(super) is_expired: bool,
}

impl Sent {
    /// Whether it is this very attempt, and nothing of it has changed.
    pub(super) fn is(&self, other: &Sent) -> bool {
        self.number == other.number
            && self.lease.ptr_eq(&other.lease)
            && self.is_expired == other.is_expired
    }
}

/// That a credential's secret was to be renewed.
pub(super) struct Renewal {
    slot: SlotIndex,
    /// Which secret that was.
    before: Generation,
    /// Whether that secret was known to have expired.
    had_expired: bool,
}

impl Renewal {
    fn is_of(&self, lease: &Lease) -> bool {
        self.slot == lease.slot() && self.before == lease.credential().generation
    }
}

/// How often a request may be tried again with a credential that had too many requests at once.
const TRIES_AGAIN: u32 = 3;

/// A credential that had too many requests at once.
pub(super) struct TurnedAway {
    slot: SlotIndex,
    /// How often it was so for this request.
    times: u32,
    /// Whether the request was not sent with it since, and may be.
    may_again: bool,
}

/// What all attempts of a request have in common.
#[derive(Default)]
pub(super) struct History {
    /// What the caller asks for.
    pub(super) options: RequestOptions,
    /// The latest attempt that has begun since the history was made.
    pub(super) latest: Option<Sent>,
    pub(super) tried: Vec<SlotIndex>,
    /// Those of them that had too many requests at once.
    pub(super) turned_away: Vec<TurnedAway>,
    /// Those of them that lacked a token, so that nothing was sent with them.
    pub(super) unsent: Vec<SlotIndex>,
    /// The credentials whose secrets were to be renewed.
    pub(super) refreshed: Vec<Renewal>,
    /// The credentials that were refused, and that no refresh helped.
    pub(super) failed: Vec<SlotIndex>,
    /// Those of them that may not be to blame, until another one's answer tells.
    pub(super) suspects: Vec<Suspect>,
    pub(super) permit: Option<Permit>,
    /// How many credentials the request may be tried with, if a rotate layer elsewhere says so.
    pub(super) budget: Option<NonZeroU32>,
    /// Where the caller has sent it, if it was sent to a credential's endpoint.
    pub(super) home: Option<Home>,
}

impl History {
    /// An attempt begins. A run further in, or that of another copy of the request, may have made some since.
    pub(super) fn begin(&mut self, sent: &mut Sent) {
        if let Some(latest) = &self.latest {
            sent.number = sent.number.max(latest.number + 1);
        }
        self.tries(&sent.lease);
        self.latest = Some(sent.clone());
    }

    /// A credential is tried now.
    pub(super) fn tries(&mut self, lease: &Lease) {
        let slot = lease.slot();
        if !self.tried.contains(&slot) {
            self.tried.push(slot);
        } else if let Some(known) = self.turned_away(slot) {
            known.may_again = false;
        }
    }

    /// A credential has too many requests at once. It may be tried again when it has fewer, a few times.
    pub(super) fn turns_away(&mut self, lease: &Lease) {
        let slot = lease.slot();
        match self.turned_away(slot) {
            Some(known) => {
                known.times += 1;
                known.may_again = known.times <= TRIES_AGAIN;
            }
            None => self.turned_away.push(TurnedAway { slot, times: 1, may_again: true }),
        }
    }

    fn turned_away(&mut self, slot: SlotIndex) -> Option<&mut TurnedAway> {
        self.turned_away.iter_mut().find(|known| known.slot == slot)
    }

    fn may_try_again(&self, slot: SlotIndex) -> bool {
        self.turned_away.iter().any(|known| known.slot == slot && known.may_again)
    }

    /// A credential is passed over: it lacks a token, and none can be had now.
    pub(super) fn passes_over(&mut self, lease: &Lease) {
        self.tries(lease);
        if !self.unsent.contains(&lease.slot()) {
            self.unsent.push(lease.slot());
        }
    }

    /// This secret is being renewed. `has_expired` if that much is known of it.
    pub(super) fn refreshes(&mut self, lease: &Lease, has_expired: bool) {
        let before = lease.credential().generation;
        self.refreshed.push(Renewal { slot: lease.slot(), before, had_expired: has_expired });
        self.latest.iter_mut().for_each(|latest| latest.is_expired = false);
    }

    /// Whether this credential's secret was to be renewed.
    pub(super) fn was_refreshed(&self, slot: SlotIndex) -> bool {
        self.refreshed.iter().any(|renewal| renewal.slot == slot)
    }

    /// Whether this is the secret that its renewal has brought.
    pub(super) fn was_renewed(&self, lease: &Lease) -> bool {
        let generation = lease.credential().generation;
        self.refreshed.iter().any(|renewal| renewal.slot == lease.slot() && renewal.before < generation)
    }

    /// Whether this secret had expired before it was refused, and its renewal has brought no other: its refusal was
    /// expected, and says nothing of the account.
    pub(super) fn was_known_to_have_expired(&self, lease: &Lease) -> bool {
        self.refreshed.iter().any(|renewal| renewal.had_expired && renewal.is_of(lease))
    }

    /// Which credentials may be tried next. The pool has this many.
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

    /// Empties it for another request, which uses its memory.
    pub(super) fn clear(&mut self) {
        let Self {
            options,
            latest,
            tried,
            turned_away,
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
        turned_away.clear();
        unsent.clear();
        refreshed.clear();
        failed.clear();
        suspects.clear();
        *permit = None;
        *budget = None;
        *home = None;
    }
}

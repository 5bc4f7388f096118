//! Which credential the next request takes, and why not another, by the rules of the picks.

use super::pick::Choice;
use super::{PoolState, Slot};
use crate::clock::Timestamp;
use crate::credential::CredentialId;
use crate::pool::config::Config;
use crate::pool::pick_index::{Barred, Position, SlotIndex, SortKey};
use crate::pool::why::{Availability, Behind, Explanation, Precedence};
use crate::standing::Scope;

/// Where the credentials are once the next request has moved those for which a time has come: the end of a cooldown or of
/// a lowered cap, or the reset of an allowance.
#[derive(Default)]
struct Outlook {
    /// Best first.
    ready: Vec<(SortKey, SlotIndex)>,
    /// Soonest first.
    cooling: Vec<(Timestamp, SlotIndex)>,
    out: Vec<(Barred, SlotIndex)>,
}

impl PoolState {
    /// Returns the credential that the next request of this scope takes, if it is bound to none.
    pub(crate) fn active(
        &self,
        scope: Option<&Scope>,
        config: &Config,
        now: Timestamp,
    ) -> Option<SlotIndex> {
        self.next(&self.outlook(scope, config, now), scope, config, now)
    }

    /// Explains for each credential whether the next request of this scope takes it.
    pub(crate) fn why(
        &self,
        scope: Option<&Scope>,
        config: &Config,
        now: Timestamp,
    ) -> Vec<Explanation> {
        let outlook = self.outlook(scope, config, now);
        let next = self.next(&outlook, scope, config, now);
        let first = outlook.ready.first().copied();
        let of_ready = outlook.ready.iter().map(|(key, slot)| {
            let behind = first.filter(|(_, first)| first != slot).map(|(before, first)| Behind {
                id: self.slots[first].lease.credential().id,
                by: precedence(before, *key),
            });
            (*slot, Availability::Ready { behind })
        });
        let of_cooling = outlook.cooling.iter().filter_map(|(_, slot)| {
            let (cooldown, _) = self.slots[*slot].cooldown_for(scope)?;
            Some((*slot, Availability::CoolingDown { cooldown: cooldown.clone() }))
        });
        let of_out = outlook.out.iter().filter_map(|(barred, slot)| {
            Some((*barred, *slot, self.slots[*slot].barred_by(*barred, config, now)?))
        });
        // One that is at its cap may be free before the next cooldown ends.
        let (at_cap, out): (Vec<_>, Vec<_>) = of_out.partition(|(barred, ..)| *barred == Barred::AtCap);
        let without_barred = |(_, slot, availability)| (slot, availability);
        let mut explained: Vec<_> = of_ready
            .chain(at_cap.into_iter().map(without_barred))
            .chain(of_cooling)
            .chain(out.into_iter().map(without_barred))
            .map(|(slot, availability)| Explanation {
                credential: self.slots[slot].lease.credential().clone(),
                is_next: Some(slot) == next,
                met_by: self.met_by(slot, scope, &availability),
                availability,
            })
            .collect();
        // Of those that cool down, another one than the first if that is being tried already.
        if let Some(place) = explained.iter().position(|one| one.is_next) {
            explained[..=place].rotate_right(1);
        }
        explained
    }

    /// Returns who has met the limit for which a credential cools down, if that is another one of its quota.
    fn met_by(
        &self,
        index: SlotIndex,
        scope: Option<&Scope>,
        availability: &Availability,
    ) -> Option<CredentialId> {
        let is_cooling = matches!(availability, Availability::CoolingDown { .. });
        let (_, met_by) = self.slots[index].cooldown_for(scope).filter(|_| is_cooling)?;
        met_by.map(|other| self.slots[other].lease.credential().id)
    }

    fn next(
        &self,
        outlook: &Outlook,
        scope: Option<&Scope>,
        config: &Config,
        now: Timestamp,
    ) -> Option<SlotIndex> {
        let ready = outlook.ready.first().map(|(_, slot)| *slot);
        let at_cap = || {
            let at_cap = outlook.out.iter().filter(|(barred, _)| *barred == Barred::AtCap);
            at_cap.map(|(_, slot)| self.slots[*slot].cools_until(scope)).min()
        };
        match self.choose(ready, || outlook.cooling.iter().copied(), at_cap, config, now) {
            Choice::Ready(slot) | Choice::Probe(slot) => Some(slot),
            Choice::AtCap | Choice::Cooling(_) | Choice::None => None,
        }
    }

    fn outlook(&self, scope: Option<&Scope>, config: &Config, now: Timestamp) -> Outlook {
        let mut outlook = Outlook::default();
        for slot in 0..self.slots.len() {
            match self.next_position(slot, scope, config, now) {
                Position::Ready(key) => outlook.ready.push((key, slot)),
                Position::Cooling(until) => outlook.cooling.push((until, slot)),
                Position::Out(barred) => outlook.out.push((barred, slot)),
            }
        }
        outlook.ready.sort_unstable();
        outlook.cooling.sort_unstable();
        outlook
            .out
            .sort_by_key(|(barred, slot)| (*barred, self.slots[*slot].tier(), self.slots[*slot].place));
        outlook
    }

    /// Returns where a credential is once the next request has moved it. Changes nothing itself: a later move may rank it
    /// differently.
    pub(super) fn next_position(
        &self,
        index: SlotIndex,
        scope: Option<&Scope>,
        config: &Config,
        now: Timestamp,
    ) -> Position {
        let known = self.index_for(scope).position(index);
        let slot = &self.slots[index];
        let has_ended = matches!(known, Position::Cooling(until) if until <= now);
        let is_due = has_ended || self.resets.is_past(index, now);
        let cap_ends = self.caps_end.is_some_and(|end| end <= now) && slot.is_counted();
        if !is_due && !cap_ends {
            return known;
        }
        // After a long cooldown, the move begins a trial.
        let is_tried = slot.is_tried(now) || (is_due && slot.untried(now).is_some());
        self.ranked(index, is_tried, config, now).position(slot, scope, now)
    }
}

impl Slot {
    /// Explains why no request can take it. `None` if it is gone.
    fn barred_by(&self, barred: Barred, config: &Config, now: Timestamp) -> Option<Availability> {
        Some(match barred {
            Barred::AtCap => {
                let is_tried = self.is_tried(now) || self.untried(now).is_some();
                let lowered = self.lowered_cap.map(|cap| cap.full_until.unwrap_or(cap.until));
                let tried = self.trial.and_then(|trial| trial.until);
                Availability::AtCap {
                    in_flight: self.lease.in_flight().count(),
                    most: self.cap(is_tried, config, now).unwrap_or(u32::MAX),
                    until: lowered.into_iter().chain(tried).filter(|until| *until > now).min(),
                }
            }
            Barred::Paused => Availability::Paused,
            Barred::OutOfUse => Availability::OutOfUse { health: self.standing.health.clone() },
            Barred::LeftOut => Availability::LeftOut { mode: config.mode },
            Barred::Gone => return None,
        })
    }
}

/// Returns what decides between two ready credentials.
fn precedence(
    (tier, suspected, rank, _): SortKey,
    (later_tier, later_suspected, later_rank, _): SortKey,
) -> Precedence {
    if tier != later_tier {
        Precedence::Tier
    } else if suspected != later_suspected {
        Precedence::Suspicion
    } else if rank != later_rank {
        Precedence::Policy
    } else {
        Precedence::Order
    }
}

//! Accounts that share a quota: a limit that one of them has met holds up all, and one request tries for all whether it has
//! ended.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{PoolState, Slot};
use crate::clock::Timestamp;
use crate::credential::{CredentialId, Generation};
use crate::pool::config::Config;
use crate::pool::lease::Lease;
use crate::pool::logical_time::LogicalTime;
use crate::pool::pick_index::SlotIndex;
use crate::standing::{Change, Cooldown, QuotaName, Scope, Standing, StatedQuota};

/// The accounts that share a quota, and the limits that they have met.
#[derive(Debug)]
pub(super) struct SharedQuota {
    members: Vec<SlotIndex>,
    /// For each scope the limit that ends last, and who has met it.
    limits: Vec<(Cooldown, SlotIndex)>,
}

impl SharedQuota {
    fn of(members: Vec<SlotIndex>, slots: &[Slot]) -> Self {
        let mut limits: Vec<(Cooldown, SlotIndex)> = Vec::new();
        for &member in &members {
            for limit in slots[member].standing.limits() {
                match limits.iter_mut().find(|(known, _)| known.scope == limit.scope) {
                    Some((known, _)) if known.until >= limit.until => {}
                    Some(known) => *known = (limit.clone(), member),
                    None => limits.push((limit.clone(), member)),
                }
            }
        }
        Self { members, limits }
    }
}

/// The accounts that share a quota, or the one that shares none. It does not borrow the state.
#[derive(Clone)]
enum Members {
    One(Option<SlotIndex>),
    All { quota: Arc<SharedQuota>, next: usize },
}

impl Iterator for Members {
    type Item = SlotIndex;

    #[inline]
    fn next(&mut self) -> Option<SlotIndex> {
        match self {
            Self::One(index) => index.take(),
            Self::All { quota, next } => {
                let member = quota.members.get(*next).copied();
                *next += 1;
                member
            }
        }
    }
}

impl Slot {
    /// Returns all its cooldowns, and who has met those that are not its own.
    pub(super) fn cooldowns(&self) -> impl Iterator<Item = (&Cooldown, Option<SlotIndex>)> {
        let own = self.standing.cooldowns.iter().map(|cooldown| (cooldown, None));
        // Its own limits are among the shared ones, too. Of two that end at once, the later one here counts.
        self.shared_limits().iter().map(|(limit, of)| (limit, Some(*of))).chain(own)
    }

    /// Returns its standing with the limits that others of its quota have met.
    pub(crate) fn seen_standing(&self) -> Standing {
        let mut standing = self.standing.clone();
        self.shared_limits().iter().for_each(|(limit, _)| standing.add_limit(limit));
        standing
    }

    fn shared_limits(&self) -> &[(Cooldown, SlotIndex)] {
        self.quota.as_ref().map_or(&[], |quota| &quota.limits)
    }

    /// Returns the name by which a response that repeats a stated time is recognized, if the quota is shared.
    pub(super) fn quota_name(&self) -> Option<&QuotaName> {
        self.standing.shared_quota().filter(|_| self.quota.is_some())
    }
}

impl PoolState {
    /// Returns the accounts that share the quota of this one, with itself.
    pub(super) fn of_quota(&self, index: SlotIndex) -> impl Iterator<Item = SlotIndex> + Clone + use<> {
        match self.slots[index].quota.clone() {
            None => Members::One(Some(index)),
            Some(quota) => Members::All { quota, next: 0 },
        }
    }

    /// Returns the other accounts that share the quota of this one.
    pub(super) fn sharing(&self, index: SlotIndex) -> impl Iterator<Item = SlotIndex> + use<> {
        self.of_quota(index).filter(move |other| *other != index)
    }

    /// Returns whether an account shares the quota of the one with this id.
    pub(super) fn share_a_quota(&self, index: SlotIndex, id: CredentialId) -> bool {
        let other = self.find(id).and_then(|other| self.slots[other].quota.as_ref());
        let quotas = self.slots[index].quota.as_ref().zip(other);
        quotas.is_some_and(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// Returns one of these accounts for each quota, and each that shares none. What is done for a whole quota is then done once,
    /// however many share it.
    pub(super) fn one_of_each_quota(&self, accounts: &HashSet<SlotIndex>) -> Vec<SlotIndex> {
        let mut seen = HashSet::new();
        let is_first = |account: &SlotIndex| {
            let quota = self.slots[*account].quota.as_ref();
            quota.is_none_or(|quota| seen.insert(Arc::as_ptr(quota)))
        };
        accounts.iter().copied().filter(is_first).collect()
    }

    /// Finds out anew which accounts share a quota, and what holds them up.
    pub(super) fn group_by_quota(&mut self, now: Timestamp) {
        let mut groups: HashMap<QuotaName, Vec<SlotIndex>> = HashMap::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            slot.quota = None;
            if let Some(name) = slot.standing.shared_quota().filter(|_| slot.live) {
                groups.entry(name.clone()).or_default().push(index);
            }
        }
        for members in groups.into_values().filter(|members| members.len() > 1) {
            let quota = Arc::new(SharedQuota::of(members, &self.slots));
            quota.members.iter().for_each(|member| self.slots[*member].quota = Some(quota.clone()));
        }
        for slot in &mut self.slots {
            slot.update_penalty();
            slot.update_cooling_time(now);
        }
    }

    /// Lets the limits of an account that have changed hold up those that share its quota.
    pub(super) fn share_limits(&mut self, index: SlotIndex, now: Timestamp) {
        let Some(quota) = &self.slots[index].quota else { return };
        let quota = Arc::new(SharedQuota::of(quota.members.clone(), &self.slots));
        for &member in &quota.members {
            let slot = &mut self.slots[member];
            slot.quota = Some(quota.clone());
            slot.update_penalty();
            slot.update_cooling_time(now);
        }
    }

    /// Returns when a cooldown of exactly this scope was last set: its own, or a limit that another of its quota has met.
    pub(super) fn cooled_at(&self, index: SlotIndex, scope: Option<&Scope>) -> LogicalTime {
        let others = self.sharing(index).map(|other| &self.slots[other]);
        let limited =
            others.filter(|other| other.standing.limits().any(|limit| limit.scope.as_ref() == scope));
        let own = self.slots[index].cooled_at(scope);
        limited.map(|other| other.cooled_at(scope)).fold(own, Ord::max)
    }

    /// Returns how many times in a row its quota's limit was met, by whomever.
    pub(super) fn failures(&self, index: SlotIndex) -> u32 {
        let others = self.sharing(index).map(|other| &self.slots[other].standing);
        let limited = others.filter(|other| other.limits().next().is_some());
        let own = self.slots[index].standing.failures;
        limited.fold(own, |failures, other| failures.saturating_add(other.failures))
    }

    /// Records the quota that a response to this lease's secret has named. It is saved with the next save.
    pub(crate) fn record_quota(&mut self, lease: &Lease, name: &str, config: &Config, now: Timestamp) {
        let slot = &self.slots[lease.slot()];
        let generation: Generation = lease.credential().generation;
        let known = slot.standing.stated_quota.as_ref();
        let is_known =
            known.is_some_and(|known| known.name.as_str() == name && known.generation == generation);
        if is_known || !slot.is_of(lease) {
            return;
        }
        let Ok(name) = QuotaName::new(name) else { return };
        let stated = StatedQuota { name, said_at: now, generation };
        if stated.replaces(known) {
            self.change(lease.slot(), Change::QuotaStated(stated), config, now);
        }
    }
}

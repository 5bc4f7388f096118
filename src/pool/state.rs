//! A pool's state, under its lock: its credentials, how they stand, and the indexes they are picked from. No method
//! here waits, calls out or reads a clock.

mod apply;
mod blame;
mod cap;
mod cooling_time;
#[cfg(feature = "metrics")]
mod gauges;
mod index;
mod merge;
mod misdated;
mod observation;
mod order;
mod pick;
mod quota;
mod record;
mod resets;
mod slot;
mod stated;
mod trial;
mod unsaved;
mod why;

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tower::util::rng::{HasherRng, Rng};

use super::affinity::AffinityMap;
use super::config::Config;
use super::journal::Journal;
use super::lease::{Lease, Mints, PenaltyCount};
use super::logical_time::LogicalClock;
use super::mode::Mode;
use super::pick_index::{PickIndex, SlotIndex};
use super::refresh::{HoldOff, lapses_at};
use crate::clock::Timestamp;
use crate::credential::{CredentialId, PoolKey};
use crate::error::Error;
use crate::standing::{Change, Cooldown, Outcome, Scope};
use crate::vault::{Damage, FailedRefresh, Revision};

pub(crate) use observation::{Observation, Refusal, Said, Suspect};
pub(crate) use slot::{LoweredCap, Slot};

use stated::Stated;

/// The result of a pick.
pub(crate) enum Picked {
    /// This credential. Its use ends with [`PoolState::release`]. `is_probe` if it is tried although it cools down;
    /// `expired` if its token may have expired.
    Lease { lease: Lease, is_probe: bool, expired: bool },
    /// None yet.
    Pending(Wakeup),
    /// None.
    None,
}

/// When to ask for a credential again: at this moment, or when something changes.
pub(crate) struct Wakeup {
    pub(crate) until: Option<Timestamp>,
    pub(crate) change: oneshot::Receiver<()>,
}

pub(crate) struct PoolState {
    pub(crate) slots: Vec<Slot>,
    pub(super) by_id: HashMap<CredentialId, SlotIndex>,
    by_label: HashMap<Arc<str>, SlotIndex>,
    /// The index for requests of no scope, and of scopes that have no index of their own.
    index: PickIndex,
    scope_indexes: HashMap<Scope, PickIndex>,
    next_place: u64,
    uses: u64,
    pass: u64,
    stated: Stated,
    logical_clock: LogicalClock,
    has_oauth: bool,
    penalties: PenaltyCount,
    mints: Mints,
    affinity: AffinityMap,
    allowances: unsaved::Allowances,
    resets: resets::Resets,
    waiters: Vec<oneshot::Sender<()>>,
    /// How many credentials are being tried after a long cooldown.
    trials: usize,
    /// When the first of the lowered caps, or of the waits for a trial, ends.
    caps_end: Option<Timestamp>,
    random: HasherRng,
    /// Makes the spread of stated times differ from that of other processes.
    spread_hasher: RandomState,
    pub(crate) journal: Journal,
    pub(crate) revision: Revision,
    /// Whether a batch was sent again: the vault's standings may have had its outcomes already when they were read.
    pub(crate) is_in_doubt: bool,
    /// The records that could not be read or used when the vault was last loaded.
    damaged: Vec<Damage>,
    /// The ids of those that could be read, by label.
    unusable: HashMap<Arc<str>, CredentialId>,
}

impl PoolState {
    pub(crate) fn new(logical_clock: LogicalClock, penalties: PenaltyCount, mints: Mints) -> Self {
        Self {
            spread_hasher: RandomState::new(),
            slots: Vec::new(),
            by_id: HashMap::new(),
            by_label: HashMap::new(),
            index: PickIndex::default(),
            scope_indexes: HashMap::new(),
            next_place: 0,
            uses: 0,
            pass: 0,
            stated: Stated::default(),
            logical_clock,
            has_oauth: false,
            penalties,
            mints,
            affinity: AffinityMap::default(),
            allowances: unsaved::Allowances::default(),
            resets: resets::Resets::default(),
            waiters: Vec::new(),
            trials: 0,
            caps_end: None,
            random: HasherRng::default(),
            journal: Journal::default(),
            revision: Revision::default(),
            is_in_doubt: false,
            damaged: Vec::new(),
            unusable: HashMap::new(),
        }
    }

    /// Returns whether the vault must be loaded again even if it has not changed: a record that could not be read may
    /// be readable now, or an outcome may have been counted twice here.
    pub(crate) fn must_reload(&self) -> bool {
        self.is_in_doubt || self.damaged.iter().any(|damage| damage.may_pass)
    }

    /// Returns the error of a pool that has no credential, or none that the mode allows.
    pub(crate) fn no_credential(&self, key: &PoolKey, config: &Config) -> Error {
        let allowed = |kind| config.mode.allows(kind, self.has_oauth);
        let mut damaged = self.damaged.iter().find(|damage| damage.may_be(allowed)).cloned();
        // Its kind is unknown, and there are API keys that would be used without it.
        if let Some(damage) = &mut damaged
            && config.mode == Mode::Auto
            && damage.kind.is_none()
            && self.slots.iter().any(|slot| slot.live)
        {
            damage.reason.push_str(
                "; it may be of a sign-in, so no API key is used in its place: restore it, remove it, or set \
                 `mode = \"api\"` (Mode::Api) to use the keys",
            );
        }
        Error::NoCredential {
            pool: key.clone(),
            wanted: config.mode.wanted(),
            damaged: damaged.map(Box::new),
        }
    }

    /// Returns the credentials whose tokens must be renewed now, and how long to wait for the next.
    pub(crate) fn renewals(&self, config: &Config, now: Timestamp) -> (Vec<Lease>, Option<Duration>) {
        let waits = |slot: &&Slot| {
            self.is_allowed(slot, config) && !slot.is_out_of_use() && !slot.refresh.is_running()
        };
        let waits = self.slots.iter().filter(waits);
        let slots: Vec<_> =
            waits.filter_map(|slot| Some((slot, slot.renewal.is_due_in(now)?))).collect();
        let due = slots.iter().filter(|(_, wait)| wait.is_zero()).map(|(slot, _)| slot.lease.clone());
        let next = slots.iter().map(|(_, wait)| *wait).filter(|wait| !wait.is_zero()).min();
        (due.collect(), next)
    }

    /// Records a refresh that failed without a verdict of the vendor's. Returns what other processes must know of it.
    pub(crate) fn refresh_failed(
        &mut self,
        slot: SlotIndex,
        hold_off: HoldOff,
        reason: String,
    ) -> FailedRefresh {
        let random = self.random.next_f64();
        let (wait, in_a_row) = self.slots[slot].renewal.failed(hold_off, random);
        FailedRefresh { wait, in_a_row, reason }
    }

    pub(crate) fn find(&self, id: CredentialId) -> Option<SlotIndex> {
        self.by_id.get(&id).copied().filter(|slot| self.slots[*slot].live)
    }

    /// Returns how many credentials there are.
    pub(crate) fn size(&self) -> usize {
        self.slots.iter().filter(|slot| slot.live).count()
    }

    /// Returns the first credential that requests may take, ready or not.
    #[cfg(feature = "discovery")]
    pub(crate) fn first_allowed(&self, config: &Config) -> Option<SlotIndex> {
        self.in_order().into_iter().find(|slot| self.is_allowed(&self.slots[*slot], config))
    }

    /// Returns whether requests may take it, once it is ready.
    fn is_allowed(&self, slot: &Slot, config: &Config) -> bool {
        self.is_wanted(slot, config) && !slot.standing.paused
    }

    /// Returns whether it is live, and of a kind that the mode allows. A paused credential counts: to pause the last
    /// account must not bill an API key instead.
    fn is_wanted(&self, slot: &Slot, config: &Config) -> bool {
        slot.live && config.mode.allows(slot.lease.credential().kind, self.has_oauth)
    }

    /// Makes a change: in memory now, in the vault with the next save.
    pub(crate) fn change(&mut self, index: SlotIndex, change: Change, config: &Config, now: Timestamp) {
        if change == Change::Reset {
            self.lift_cap(index);
        }
        self.end_trials_by(index, &change);
        let is_urgent = self.is_urgent(index, &change, now);
        let slot = &mut self.slots[index];
        slot.standing.merge(&change);
        if change == Change::Reset {
            slot.clear_suspicion();
        }
        let id = slot.lease.credential().id;
        if change.is_of_quota() {
            self.sharing(index).for_each(|other| self.slots[other].standing.merge_of_quota(&change));
        }
        let regroups = matches!(change, Change::Quota { .. } | Change::QuotaStated(_));
        if regroups {
            self.group_by_quota(now);
        } else {
            self.share_limits(index, now);
        }
        self.slots[index].update_penalty();
        self.slots[index].update_cooling_time(now);
        if self.move_by(index, &change) || regroups {
            self.reindex_all(config, now);
        } else {
            self.reindex_each(self.of_quota(index), config, now);
        }
        if !matches!(change, Change::CooledDown { .. }) {
            self.wake();
        }
        self.journal.push(Outcome { id, change }, is_urgent);
    }

    /// Returns whether a change is worth a write of its own. A success that only clears failures is not, nor is what the
    /// vendor says in passing.
    fn is_urgent(&self, index: SlotIndex, change: &Change, now: Timestamp) -> bool {
        match change {
            Change::Succeeded { .. } => {
                self.slots[index].cooldowns().any(|(cooldown, _)| cooldown.until > now)
            }
            Change::QuotaStated(_) => false,
            _ => true,
        }
    }

    /// Returns the credential that every request without options takes, and until when.
    pub(crate) fn pick_to_publish(&self) -> (Option<&Lease>, Timestamp) {
        let first = self.index.ready().next().map(|slot| &self.slots[slot]);
        // If its cap is lowered, or it is being tried, it must be picked under the lock, which counts its requests.
        let lease = first.filter(|slot| !slot.is_counted()).map(|slot| &slot.lease);
        // Once it has expired, it must be renewed before it is sent.
        let expiry = lease.and_then(lapses_at);
        let changes = self.index.soonest().into_iter().chain(self.resets.soonest());
        let until = changes.chain(expiry).chain(self.caps_end).min();
        (lease, until.unwrap_or(Timestamp::from_millis(u64::MAX)))
    }

    /// Returns when the next credential is ready for requests of this scope, and whether an upstream has stated that
    /// time.
    pub(crate) fn next_ready(
        &self,
        scope: Option<&Scope>,
        config: &Config,
        now: Timestamp,
    ) -> Option<(Timestamp, bool)> {
        let index = self.index_for(scope);
        if index.ready().next().is_some() {
            return Some((now, false));
        }
        index.soonest().map(|soonest| (soonest, self.is_stated(soonest, config)))
    }

    /// Returns whether an upstream has stated this end of a cooldown, to this process or to another one.
    fn is_stated(&self, until: Timestamp, config: &Config) -> bool {
        let is_stated = |cooldown: &Cooldown| {
            // One without a cause may be of an older version, or have a time that only a closure knows.
            let is_by_response = cooldown.cause.as_ref().is_some_and(|cause| cause.stated_by.is_some());
            let length = cooldown.until.since(cooldown.set_at);
            let is_too_long = length > config.cooldowns.longest_default();
            cooldown.until == until && (is_by_response || is_too_long)
        };
        self.stated.contains(until)
            || self.slots.iter().any(|slot| slot.standing.cooldowns.iter().any(is_stated))
    }
}

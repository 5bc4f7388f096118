//! What a pool knows, under its lock: the credentials, how they stand, and the indexes they are picked
//! from. No method here waits, calls out or reads a clock.

mod blame;
mod cap;
mod merge;
mod misdated;
mod pick;
mod record;
mod stated;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tower::util::rng::{HasherRng, Rng};

use super::affinity::AffinityMap;
use super::config::{Config, Mode};
use super::journal::Journal;
use super::lease::{Lease, Mints, PenaltyCount};
use super::logical_time::{LogicalClock, LogicalTime};
use super::pick_index::{Key, PickIndex, Position, SlotIndex};
use super::policy::Candidate;
use super::refresh::{HoldOff, RefreshStage, Renewal, lapses_at};
use crate::clock::Timestamp;
use crate::credential::{CredentialId, PoolKey};
use crate::error::Error;
use crate::rate_limit::Allowance;
use crate::standing::{Change, Cooldown, Health, Outcome, Scope, Standing};
use crate::vault::{Damage, FailedRefresh, Revision};

pub(crate) use blame::{Refusal, Suspect};
pub(crate) use cap::LoweredCap;
pub(crate) use record::Observation;

use blame::RefusedFresh;
use stated::Stated;

/// One credential's place in the state. A slot is never given to another credential, so an index stays
/// right for as long as anybody holds it.
pub(crate) struct Slot {
    pub(crate) lease: Lease,
    pub(crate) standing: Standing,
    /// Whether it is still in the vault.
    pub(crate) live: bool,
    /// Its place in the order: larger means later.
    place: u64,
    /// Its place in the order that a person has given.
    preferred: usize,
    last_used: u64,
    pass: u64,
    allowance: Option<Allowance>,
    lowered_cap: Option<LoweredCap>,
    /// Whether it was at its cap when it was last filed: then it is in no index, whatever has ended since.
    was_busy: bool,
    probes: u32,
    /// When the cooldown of each scope was last set.
    cooled_at: Vec<(Option<Scope>, LogicalTime)>,
    /// When it became a suspect: it was refused, and has not been compared with another since.
    suspected: Option<LogicalTime>,
    refused_fresh: RefusedFresh,
    pub(crate) refresh: RefreshStage,
    pub(crate) renewal: Renewal,
}

impl Slot {
    fn cooled_at(&self, scope: Option<&Scope>) -> LogicalTime {
        let cooldown = self.cooled_at.iter().find(|(known, _)| known.as_ref() == scope);
        cooldown.map(|(_, at)| *at).unwrap_or_default()
    }

    fn set_cooled_at(&mut self, scope: Option<&Scope>, at: LogicalTime) {
        match self.cooled_at.iter_mut().find(|(known, _)| known.as_ref() == scope) {
            Some((_, known)) => *known = at,
            None => self.cooled_at.push((scope.cloned(), at)),
        }
    }

    /// Until when it cools down for requests of this scope.
    pub(crate) fn cools_until(&self, scope: Option<&Scope>) -> Timestamp {
        let concerns = |cooldown: &&Cooldown| {
            cooldown.scope.is_none() || (scope.is_some() && cooldown.scope.as_ref() == scope)
        };
        let cooldowns = self.standing.cooldowns.iter().filter(concerns);
        cooldowns.map(|cooldown| cooldown.until).max().unwrap_or_default()
    }

    fn tier(&self) -> u8 {
        self.standing.tier(self.lease.credential().kind)
    }

    /// Whether it is out of use until a person acts.
    pub(crate) fn is_out_of_use(&self) -> bool {
        self.standing.health != Health::Good
    }

    pub(crate) fn is_of(&self, lease: &Lease) -> bool {
        self.lease.credential().generation == lease.credential().generation
    }

    fn mark(&self) {
        let is_held_against_it = self.is_suspected() || self.refused_fresh.is_any();
        self.lease.penalty().set(is_held_against_it || self.standing.is_penalized());
    }
}

/// What a pick came to.
pub(crate) enum Picked {
    /// This one. It counts as used until [`PoolState::release`]; with `is_probe` it is tried though it cools down. Its token
    /// may have expired.
    Lease { lease: Lease, is_probe: bool, expired: bool },
    /// None yet.
    Pending(Wakeup),
    /// None.
    None,
}

/// When it is worth asking for a credential again: at this moment, or when something changes.
pub(crate) struct Wakeup {
    pub(crate) until: Option<Timestamp>,
    pub(crate) change: oneshot::Receiver<()>,
}

pub(crate) struct PoolState {
    pub(crate) slots: Vec<Slot>,
    pub(super) by_id: HashMap<CredentialId, SlotIndex>,
    by_label: HashMap<Arc<str>, SlotIndex>,
    unscoped: PickIndex,
    by_scope: HashMap<Scope, PickIndex>,
    next_place: u64,
    uses: u64,
    pass: u64,
    stated: Stated,
    logical_clock: LogicalClock,
    has_oauth: bool,
    penalties: PenaltyCount,
    mints: Mints,
    affinity: AffinityMap,
    waiters: Vec<oneshot::Sender<()>>,
    /// When the first of the lowered caps ends.
    caps_end: Option<Timestamp>,
    random: HasherRng,
    pub(crate) journal: Journal,
    pub(crate) revision: Revision,
    /// What could not be read or used when the vault was last loaded.
    damaged: Vec<Damage>,
    /// Those of them that could be read, by label.
    unusable: HashMap<Arc<str>, CredentialId>,
}

impl PoolState {
    pub(crate) fn new(logical_clock: LogicalClock, penalties: PenaltyCount, mints: Mints) -> Self {
        Self {
            slots: Vec::new(),
            by_id: HashMap::new(),
            by_label: HashMap::new(),
            unscoped: PickIndex::default(),
            by_scope: HashMap::new(),
            next_place: 0,
            uses: 0,
            pass: 0,
            stated: Stated::default(),
            logical_clock,
            has_oauth: false,
            penalties,
            mints,
            affinity: AffinityMap::default(),
            waiters: Vec::new(),
            caps_end: None,
            random: HasherRng::default(),
            journal: Journal::default(),
            revision: Revision::default(),
            damaged: Vec::new(),
            unusable: HashMap::new(),
        }
    }

    /// Whether some record could not be read which the next look may find well.
    pub(crate) fn is_to_be_read_again(&self) -> bool {
        self.damaged.iter().any(|damage| damage.may_pass)
    }

    /// There is none, or none that the mode allows.
    pub(crate) fn no_credential(&self, key: &PoolKey, config: &Config) -> Error {
        let allowed = |kind| config.mode.allows(kind, self.has_oauth);
        let mut damaged = self.damaged.iter().find(|damage| damage.may_be(allowed)).cloned();
        // Which kind it is of is not known, and keys are there that would be used but for that.
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

    /// The credentials whose tokens are to be renewed now, and in how long the next is.
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

    /// A refresh has failed by no verdict of the vendor's. What other processes are to know of that.
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

    /// How many credentials a request may be tried with.
    pub(crate) fn size(&self) -> usize {
        self.slots.iter().filter(|slot| slot.live).count()
    }

    /// The credentials, first to last.
    pub(crate) fn in_order(&self) -> Vec<SlotIndex> {
        let mut slots: Vec<_> = (0..self.slots.len()).filter(|slot| self.slots[*slot].live).collect();
        slots.sort_by_key(|slot| (self.slots[*slot].tier(), self.slots[*slot].place));
        slots
    }

    /// The first credential that requests may take at all, ready or not.
    #[cfg(feature = "discovery")]
    pub(crate) fn first_allowed(&self, config: &Config) -> Option<SlotIndex> {
        self.in_order().into_iter().find(|slot| self.is_allowed(&self.slots[*slot], config))
    }

    /// Puts a credential where a person prefers it: before the first that comes after it by that.
    fn put_back(&mut self, index: SlotIndex) {
        let own = self.slots[index].preferred;
        let later = self.slots.iter().filter(|slot| slot.live && slot.preferred > own);
        let Some(place) = later.map(|slot| slot.place).min() else { return self.send_to_back(index) };
        for slot in self.slots.iter_mut().filter(|slot| slot.place >= place) {
            slot.place += 1;
        }
        self.slots[index].place = place;
        self.next_place += 1;
    }

    fn send_to_back(&mut self, slot: SlotIndex) {
        self.slots[slot].place = self.next_place;
        self.next_place += 1;
    }

    /// Whether it is one that requests may take, once it is ready.
    fn is_allowed(&self, slot: &Slot, config: &Config) -> bool {
        self.is_wanted(slot, config) && !slot.standing.paused
    }

    /// Whether it is here, and of a kind that the mode allows. One that is paused counts for that: to pause
    /// the last account must not bill an API key instead.
    fn is_wanted(&self, slot: &Slot, config: &Config) -> bool {
        slot.live && config.mode.allows(slot.lease.credential().kind, self.has_oauth)
    }

    /// Puts a credential where it now belongs in every index.
    fn refile(&mut self, index: SlotIndex, config: &Config, now: Timestamp) {
        let slot = &self.slots[index];
        let is_busy = slot.is_busy(config);
        let usable = self.is_allowed(slot, config) && !slot.is_out_of_use() && !is_busy;
        // One that was away does not catch up on the turns it has missed.
        let pass = slot.pass.max(self.pass);
        self.slots[index].pass = pass;
        self.slots[index].was_busy = is_busy;
        let key = self.key(index, pass, config);
        let slot = &self.slots[index];
        let at = |scope: Option<&Scope>| match slot.cools_until(scope) {
            _ if !usable => Position::Out,
            until if until > now => Position::Cooling(until),
            _ => Position::Ready(key),
        };
        self.unscoped.place(index, at(None));
        for (scope, picks) in &mut self.by_scope {
            picks.place(index, at(Some(scope)));
        }
    }

    /// What a credential is sorted by among the ready ones, were this its pass.
    fn key(&self, index: SlotIndex, pass: u64, config: &Config) -> Key {
        let slot = &self.slots[index];
        let candidate = Candidate {
            metadata: slot.lease.credential(),
            allowance: slot.allowance.as_ref(),
            last_used: slot.last_used,
            pass,
        };
        (slot.tier(), slot.is_suspected(), config.policy.rank(&candidate), slot.place)
    }

    /// Makes sure that requests of this scope have an index of their own.
    fn open_lane(&mut self, scope: &Scope, config: &Config, now: Timestamp) {
        if !self.by_scope.contains_key(scope) {
            // One in which nothing cools down any more says the same as the unscoped index.
            self.by_scope.retain(|_, picks| picks.cooling().any(|(until, _)| until > now));
            self.by_scope.insert(scope.clone(), PickIndex::default());
            for slot in 0..self.slots.len() {
                self.refile(slot, config, now);
            }
        }
    }

    fn picks(&self, scope: Option<&Scope>) -> &PickIndex {
        scope.and_then(|scope| self.by_scope.get(scope)).unwrap_or(&self.unscoped)
    }

    /// Moves those whose cooldown has ended among the ready ones.
    fn promote(&mut self, scope: Option<&Scope>, config: &Config, now: Timestamp) {
        self.end_caps(config, now);
        while let Some(slot) = self.picks(scope).ended(now) {
            self.refile(slot, config, now);
        }
    }

    /// Makes a change: in memory now, in the vault when it is next saved.
    pub(crate) fn change(&mut self, index: SlotIndex, change: Change, config: &Config, now: Timestamp) {
        if change == Change::Reset {
            self.lift_cap(index);
        }
        let slot = &mut self.slots[index];
        // A success that only forgives failures is worth no write of its own.
        let cools = |cooldown: &Cooldown| cooldown.until > now;
        let is_urgent =
            !matches!(change, Change::Succeeded { .. }) || slot.standing.cooldowns.iter().any(cools);
        slot.standing.merge(&change);
        if change == Change::Reset {
            slot.acquit();
        }
        slot.mark();
        let id = slot.lease.credential().id;
        if self.move_by(index, &change) {
            (0..self.slots.len()).for_each(|slot| self.refile(slot, config, now));
        } else {
            self.refile(index, config, now);
        }
        if !matches!(change, Change::CooledDown { .. }) {
            self.wake();
        }
        self.journal.push(Outcome { id, change }, is_urgent);
    }

    /// Moves a credential as the change says. Returns whether others have moved, too.
    fn move_by(&mut self, index: SlotIndex, change: &Change) -> bool {
        match change {
            Change::CooledDown { to_back: true, .. } => self.send_to_back(index),
            Change::Reset => self.put_back(index),
            _ => {}
        }
        *change == Change::Reset
    }

    /// The credential that any request without options takes, and until when that holds.
    pub(crate) fn published(&self) -> (Option<&Lease>, Timestamp) {
        let published = self.unscoped.ready().next().map(|slot| &self.slots[slot]);
        // If its cap is lowered, it is picked under the lock, which keeps to that.
        let published = published.filter(|slot| slot.lowered_cap.is_none()).map(|slot| &slot.lease);
        // One that has expired is to be renewed before it is sent.
        let expiry = published.and_then(lapses_at);
        let changes = self.unscoped.soonest().into_iter().chain(expiry).chain(self.caps_end).min();
        (published, changes.unwrap_or(Timestamp::from_millis(u64::MAX)))
    }

    /// When the next credential is ready for requests of this scope, and whether an upstream has stated that.
    pub(crate) fn next_ready(
        &self,
        scope: Option<&Scope>,
        config: &Config,
        now: Timestamp,
    ) -> Option<(Timestamp, bool)> {
        let picks = self.picks(scope);
        if picks.ready().next().is_some() {
            return Some((now, false));
        }
        picks.soonest().map(|soonest| (soonest, self.is_stated(soonest, config)))
    }
}

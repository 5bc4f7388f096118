//! One credential's part of a pool's state.

use std::sync::Arc;

use super::cooling_time::CoolingTime;
use super::observation::Refusal;
use super::quota::SharedQuota;
use super::trial::Trial;
use crate::clock::Timestamp;
use crate::pool::config::Config;
use crate::pool::lease::Lease;
use crate::pool::logical_time::LogicalTime;
use crate::pool::pick_index::SlotIndex;
use crate::pool::refresh::{RefreshStage, Renewal};
use crate::rate_limit::Allowance;
use crate::standing::{Cooldown, Health, Reason, Scope, Standing};

/// One credential's part of a pool's state. A slot is never given to another credential, so an index stays valid for as
/// long as anybody holds it.
pub(crate) struct Slot {
    pub(crate) lease: Lease,
    pub(crate) standing: Standing,
    /// What it shares with others, if it does.
    pub(super) quota: Option<Arc<SharedQuota>>,
    /// Whether it is still in the vault.
    pub(crate) live: bool,
    /// Its place in the order: larger means later.
    pub(super) place: u64,
    /// Its place in the order that a person has set.
    pub(super) preferred: usize,
    pub(super) last_used: u64,
    pub(super) pass: u64,
    pub(super) allowance: Option<Allowance>,
    pub(super) lowered_cap: Option<LoweredCap>,
    pub(super) trial: Option<Trial>,
    /// The end of the cooldown after which it was tried last.
    pub(super) tried: Timestamp,
    pub(super) probes: u32,
    /// When the cooldown of each scope was last set.
    cooled_at: Vec<(Option<Scope>, LogicalTime)>,
    /// When it became a suspect: it was refused, and has not been compared with another since.
    pub(super) suspected: Option<LogicalTime>,
    pub(super) refused_fresh: RefusedFresh,
    pub(crate) refresh: RefreshStage,
    pub(crate) renewal: Renewal,
    pub(crate) cooling_time: CoolingTime,
}

/// A lower cap on a credential's concurrent requests, which its vendor has shown: it has turned a request away while it
/// had this many others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoweredCap {
    pub(crate) most: u32,
    pub(crate) until: Timestamp,
    /// Whether it is lower than before.
    pub(crate) is_news: bool,
    /// Until when the credential takes no request at all, though it has fewer than its cap here: a vendor counts a
    /// request until the end of its response's body, which the pool does not see.
    pub(super) full_until: Option<Timestamp>,
    /// How many times in a row that has happened.
    pub(super) was_full: u32,
    /// When it was set.
    pub(super) since: LogicalTime,
}

/// How the current secret was refused right after its renewal: another renewal does not help against such a refusal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RefusedFresh {
    unauthorized: bool,
    forbidden: bool,
}

impl RefusedFresh {
    pub(super) fn by(&mut self, refusal: Refusal) -> &mut bool {
        match refusal {
            Refusal::Unauthorized => &mut self.unauthorized,
            Refusal::Forbidden => &mut self.forbidden,
        }
    }

    fn is_any(self) -> bool {
        self.unauthorized || self.forbidden
    }
}

impl Slot {
    pub(super) fn new(lease: Lease, renewal: Renewal, pass: u64) -> Self {
        Self {
            lease,
            standing: Standing::default(),
            quota: None,
            live: true,
            place: 0,
            preferred: 0,
            last_used: 0,
            pass,
            allowance: None,
            lowered_cap: None,
            trial: None,
            tried: Timestamp::default(),
            probes: 0,
            cooled_at: Vec::new(),
            suspected: None,
            refused_fresh: RefusedFresh::default(),
            refresh: RefreshStage::Idle,
            renewal,
            cooling_time: CoolingTime::default(),
        }
    }

    /// Returns when the cooldown of exactly this scope was last set.
    pub(super) fn cooled_at(&self, scope: Option<&Scope>) -> LogicalTime {
        let cooldown = self.cooled_at.iter().find(|(known, _)| known.as_ref() == scope);
        cooldown.map(|(_, at)| *at).unwrap_or_default()
    }

    pub(super) fn set_cooled_at(&mut self, scope: Option<&Scope>, at: LogicalTime) {
        match self.cooled_at.iter_mut().find(|(known, _)| known.as_ref() == scope) {
            Some((_, known)) => *known = at,
            None => self.cooled_at.push((scope.cloned(), at)),
        }
    }

    /// Returns until when it cools down for requests of this scope.
    pub(crate) fn cools_until(&self, scope: Option<&Scope>) -> Timestamp {
        self.cooldown_for(scope).map(|(cooldown, _)| cooldown.until).unwrap_or_default()
    }

    /// Returns the cooldown that ends last of those that hold up requests of this scope, ended or not, and who has met it
    /// if it is not its own.
    pub(super) fn cooldown_for(&self, scope: Option<&Scope>) -> Option<(&Cooldown, Option<SlotIndex>)> {
        let applies = |(cooldown, _): &(&Cooldown, _)| {
            cooldown.scope.is_none() || (scope.is_some() && cooldown.scope.as_ref() == scope)
        };
        self.cooldowns().filter(applies).max_by_key(|(cooldown, _)| cooldown.until)
    }

    pub(super) fn tier(&self) -> u8 {
        self.standing.tier(self.lease.credential().kind)
    }

    /// Returns whether it is out of use until a person acts.
    pub(crate) fn is_out_of_use(&self) -> bool {
        self.standing.health != Health::Good
    }

    /// Returns whether this lease has the current secret.
    pub(crate) fn is_of(&self, lease: &Lease) -> bool {
        self.lease.credential().generation == lease.credential().generation
    }

    /// Returns how many requests it may serve at once, if that is limited. `is_tried` says whether a single request tries
    /// it.
    pub(super) fn cap(&self, is_tried: bool, config: &Config, now: Timestamp) -> Option<u32> {
        let set = config.max_in_flight.map(Into::into);
        let lowered = self.lowered_cap.filter(|cap| cap.until > now).map(|cap| match cap.full_until {
            Some(end) if end > now => 0,
            _ => cap.most,
        });
        set.into_iter().chain(lowered).chain(is_tried.then_some(1)).min()
    }

    /// Returns whether it serves as many requests as it may.
    pub(super) fn is_busy(&self, is_tried: bool, config: &Config, now: Timestamp) -> bool {
        self.cap(is_tried, config, now).is_some_and(|cap| self.lease.in_flight().count() >= cap)
    }

    /// Returns whether requests must be counted under the lock.
    pub(super) fn is_counted(&self) -> bool {
        self.lowered_cap.is_some() || self.trial.is_some()
    }

    /// Has the state notified of each use that ends, if requests may wait for that.
    pub(super) fn update_watch(&self) {
        self.lease.in_flight().watch(self.is_counted());
    }

    pub(super) fn is_suspected(&self) -> bool {
        self.suspected.is_some()
    }

    /// Returns the cooldown that a refusal has set, ended or not.
    pub(super) fn refusal_cooldown(&self, scope: Option<&Scope>) -> Option<&Cooldown> {
        self.standing.cooldown(scope).filter(|known| known.reason == Reason::Refused)
    }

    /// Returns whether it cools down for a refusal.
    pub(super) fn cools_for_refusal(&self, scope: Option<&Scope>, now: Timestamp) -> bool {
        self.refusal_cooldown(scope).is_some_and(|known| known.until > now)
    }

    /// Returns whether it was refused, and has not been forgiven.
    pub(super) fn was_refused(&self) -> bool {
        self.is_suspected() || self.refused_fresh.is_any()
    }

    /// Forgets refusals: it has succeeded, has another secret, or was reset.
    pub(super) fn clear_suspicion(&mut self) {
        self.suspected = None;
        self.refused_fresh = RefusedFresh::default();
    }

    /// Returns when the next of its allowance's windows is reset.
    pub(super) fn next_reset(&self, now: Timestamp) -> Option<Timestamp> {
        let resets = self.standing.allowance.iter().filter_map(|window| window.resets_at);
        resets.filter(|reset| *reset > now).min()
    }

    pub(super) fn update_cooling_time(&mut self, now: Timestamp) {
        self.cooling_time.update(self.cools_until(None), now);
    }

    /// Shows the lease's holders whether a success would change something.
    pub(super) fn update_penalty(&self) {
        let is_held_up = self.cooldowns().next().is_some();
        self.lease.penalty().set(self.was_refused() || is_held_up || self.standing.is_penalized());
    }
}

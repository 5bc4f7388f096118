//! Picking a credential, under the lock.

use tokio::sync::oneshot;

use super::{Picked, PoolState, Slot, Wakeup};
use crate::clock::Timestamp;
use crate::credential::PoolKey;
use crate::error::Error;
use crate::pool::config::{Config, WhenAllCoolingDown};
use crate::pool::pick_index::{Barred, Position, SlotIndex};
use crate::pool::refresh::lapses_at;
use crate::pool::request_options::{Pin, RequestOptions};
use crate::standing::{Health, Scope};
use crate::vault::VaultError;

/// Returns why a credential is out of use.
fn out_of_use(slot: &Slot, key: &PoolKey, pin: Option<String>) -> Error {
    let pool = key.clone();
    match slot.standing.health {
        Health::Spent { .. } => Error::Spent { pool, pin },
        _ => Error::NeedsSignIn { pool, pin },
    }
}

/// What a request gets that is bound to no credential.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    Ready(SlotIndex),
    /// One that cools down, since all do.
    Probe(SlotIndex),
    /// Nothing until one that is at its cap has a request less.
    AtCap,
    /// Nothing until this moment.
    Cooling(Timestamp),
    /// Nothing until a person acts.
    None,
}

impl PoolState {
    /// Picks the credential for a request's first attempt.
    pub(crate) fn pick_first(
        &mut self,
        key: &PoolKey,
        options: &RequestOptions,
        config: &Config,
        now: Timestamp,
        patience: Option<Timestamp>,
    ) -> Result<Picked, Error> {
        if let Some(pin) = &options.pin {
            let slot = self.pinned(pin);
            let slot = slot.ok_or_else(|| self.unknown_pin(pin, key))?;
            if self.slots[slot].standing.paused {
                return Err(Error::Paused { pool: key.clone(), pin: Some(pin.to_string()) });
            }
            let may_check = pin.is_check() && self.slots[slot].standing.health.may_be_checked();
            if self.slots[slot].is_out_of_use() && !may_check {
                let pin = Some(pin.to_string());
                return Err(out_of_use(&self.slots[slot], key, pin));
            }
            self.end_caps(config, now);
            self.begin_trial(slot, now);
            let is_tried = self.slots[slot].is_tried(now);
            return Ok(if self.is_busy(slot, is_tried, config, now) {
                self.pending()
            } else {
                self.take(slot, false, config, now)
            });
        }
        let scope = options.scope.as_ref();
        self.promote(scope, config, now);
        if let Some(affinity) = &options.affinity
            && let Some(slot) = self.affinity.get(affinity)
            && self.index_for(scope).is_ready(slot)
            && !self.slots[slot].is_suspected()
            && self.is_of_first_tier(slot, scope)
        {
            return Ok(self.take(slot, false, config, now));
        }
        let index = self.index_for(scope);
        let (ready, cooling) = (index.ready().next(), || index.cooling());
        let at_cap = || self.soonest_at_cap(scope, config);
        match self.choose(ready, cooling, at_cap, config, now) {
            Choice::Ready(slot) => Ok(self.take_for(slot, options, config, now)),
            Choice::Probe(slot) => Ok(self.take(slot, true, config, now)),
            Choice::AtCap => Ok(self.pending()),
            Choice::Cooling(soonest) => match config.when_all_cooling_down {
                WhenAllCoolingDown::WaitUpTo(bound)
                    if soonest <= patience.unwrap_or(now.after(bound)) =>
                {
                    Ok(Picked::Pending(Wakeup { until: Some(soonest), change: self.wait() }))
                }
                _ => {
                    let (pool, retry_after) = (key.clone(), soonest.since(now));
                    let is_stated = self.is_stated(soonest, config);
                    Err(Error::AllCoolingDown { pool, retry_after, is_stated })
                }
            },
            Choice::None => Err(self.none_in_use(key, config)),
        }
    }

    /// Decides which credential a request takes that is bound to none. `ready` is the first of the ready ones, `cooling`
    /// are those that cool down, soonest first, and `at_cap` is when the first of those at their cap would be ready
    /// without it.
    pub(super) fn choose<C: Iterator<Item = (Timestamp, SlotIndex)>>(
        &self,
        ready: Option<SlotIndex>,
        cooling: impl Fn() -> C,
        at_cap: impl FnOnce() -> Option<Timestamp>,
        config: &Config,
        now: Timestamp,
    ) -> Choice {
        if let Some(slot) = ready {
            return Choice::Ready(slot);
        }
        let (idle, at_cap) = (cooling().next().map(|(until, _)| until), at_cap());
        let tries = matches!(config.when_all_cooling_down, WhenAllCoolingDown::TrySoonest);
        if at_cap.is_some_and(|until| until <= now || (tries && idle.is_none())) {
            return Choice::AtCap;
        }
        let Some(soonest) = idle.into_iter().chain(at_cap).min() else { return Choice::None };
        match self.soonest_unprobed(cooling).filter(|_| tries) {
            Some(slot) => Choice::Probe(slot),
            None => Choice::Cooling(soonest),
        }
    }

    /// Returns the error of a pool with no credential that is in use, or will be without a person.
    fn none_in_use(&self, key: &PoolKey, config: &Config) -> Error {
        let mut allowed = self.slots.iter().filter(|slot| self.is_allowed(slot, config));
        let is_spent = |slot: &&Slot| matches!(slot.standing.health, Health::Spent { .. });
        // To be spent is the lesser trouble.
        let first = allowed.clone().find(is_spent).or_else(|| allowed.next());
        if let Some(slot) = first {
            out_of_use(slot, key, None)
        } else if self.slots.iter().any(|slot| self.is_wanted(slot, config)) {
            Error::Paused { pool: key.clone(), pin: None }
        } else {
            self.no_credential(key, config)
        }
    }

    /// Returns whether no credential of a lower tier is ready.
    fn is_of_first_tier(&self, slot: SlotIndex, scope: Option<&Scope>) -> bool {
        let best = self.index_for(scope).best();
        best.is_none_or(|((tier, ..), _)| self.slots[slot].tier() <= tier)
    }

    /// Returns when the first of the credentials at their cap would be ready without it.
    fn soonest_at_cap(&self, scope: Option<&Scope>, config: &Config) -> Option<Timestamp> {
        if !self.has_caps(config) {
            return None;
        }
        let at_cap = (0..self.slots.len()).filter(|slot| self.is_at_cap(*slot));
        at_cap.map(|slot| self.slots[slot].cools_until(scope)).min()
    }

    fn is_at_cap(&self, slot: SlotIndex) -> bool {
        self.index.position(slot) == Position::Out(Barred::AtCap)
    }

    fn pinned(&self, pin: &Pin) -> Option<SlotIndex> {
        pin.lookup(&self.by_id, &self.by_label).filter(|slot| self.slots[*slot].live)
    }

    /// Picks a credential for another attempt: one that is ready, and that the request may take.
    pub(crate) fn pick_next(
        &mut self,
        may_take: impl Fn(SlotIndex) -> bool,
        options: &RequestOptions,
        config: &Config,
        now: Timestamp,
    ) -> Picked {
        if options.pin.is_some() {
            return Picked::None;
        }
        let scope = options.scope.as_ref();
        self.promote(scope, config, now);
        let ready = self.index_for(scope).ready().find(|slot| may_take(*slot));
        if let Some(slot) = ready {
            return self.take_for(slot, options, config, now);
        }
        let at_cap = |slot: SlotIndex| {
            may_take(slot) && self.is_at_cap(slot) && self.slots[slot].cools_until(scope) <= now
        };
        if self.has_caps(config) && (0..self.slots.len()).any(at_cap) {
            return self.pending();
        }
        Picked::None
    }

    /// Returns the error of a pin to a credential that does not exist, or that can't be used.
    fn unknown_pin(&self, pin: &Pin, key: &PoolKey) -> Error {
        let id = pin.id_among(&self.unusable);
        match self.damaged.iter().find(|damage| id.is_some() && damage.id == id) {
            Some(damage) => Error::Vault(VaultError::Damaged(damage.clone())),
            None => Error::UnknownPin { pool: key.clone(), pin: pin.to_string() },
        }
    }

    fn has_caps(&self, config: &Config) -> bool {
        config.max_in_flight.is_some() || self.caps_end.is_some() || self.trials > 0
    }

    /// Waits for the end of a request, or of a lowered cap.
    fn pending(&mut self) -> Picked {
        Picked::Pending(Wakeup { until: self.caps_end, change: self.wait() })
    }

    /// Returns the credential that is ready soonest of those that cool down, preferably one that no other request is
    /// trying.
    fn soonest_unprobed<C: Iterator<Item = (Timestamp, SlotIndex)>>(
        &self,
        cooling: impl Fn() -> C,
    ) -> Option<SlotIndex> {
        // Bounded: if this many are being tried, one more request on the first makes no difference.
        const LOOK: usize = 64;
        // One that shares a quota is tried for all that do.
        let probes =
            |slot: SlotIndex| self.of_quota(slot).map(|slot| self.slots[slot].probes).sum::<u32>();
        cooling().map(|(_, slot)| slot).take(LOOK).min_by_key(|slot| probes(*slot))
    }

    fn take_for(
        &mut self,
        slot: SlotIndex,
        options: &RequestOptions,
        config: &Config,
        now: Timestamp,
    ) -> Picked {
        if let Some(affinity) = &options.affinity {
            self.affinity.set(affinity, slot);
        }
        self.take(slot, false, config, now)
    }

    fn take(&mut self, index: SlotIndex, is_probe: bool, config: &Config, now: Timestamp) -> Picked {
        let slot = &mut self.slots[index];
        let lease = slot.lease.clone();
        lease.in_flight().begin();
        if config.policy.moves_on_use() {
            self.uses += 1;
            slot.last_used = self.uses;
            self.pass = self.pass.max(slot.pass);
            slot.pass += config.policy.stride(slot.lease.credential());
        }
        slot.probes += u32::from(is_probe);
        self.take_trial(index, now);
        if self.has_caps(config) || config.policy.moves_on_use() {
            self.reindex_of_trial(index, config, now);
        }
        let expired = lapses_at(&lease).is_some_and(|at| at <= now);
        Picked::Lease { lease, is_probe, expired }
    }

    /// Ends a use of a credential, which others may wait for.
    pub(crate) fn release(&mut self, index: SlotIndex, is_probe: bool, config: &Config, now: Timestamp) {
        let slot = &mut self.slots[index];
        slot.probes = slot.probes.saturating_sub(u32::from(is_probe));
        if self.has_caps(config) {
            self.reindex_of_trial(index, config, now);
            self.wake();
        }
    }

    /// Moves a credential to where it now belongs, and with it those for which it is tried.
    fn reindex_of_trial(&mut self, index: SlotIndex, config: &Config, now: Timestamp) {
        self.reindex(index, config, now);
        if self.slots[index].trial.is_some() {
            self.sharing(index).for_each(|other| self.reindex(other, config, now));
        }
    }

    fn wait(&mut self) -> oneshot::Receiver<()> {
        self.waiters.retain(|waiter| !waiter.is_closed());
        let (sender, receiver) = oneshot::channel();
        self.waiters.push(sender);
        receiver
    }

    /// Lets all waiting requests pick again.
    pub(super) fn wake(&mut self) {
        for waiter in self.waiters.drain(..) {
            let _ = waiter.send(());
        }
    }
}

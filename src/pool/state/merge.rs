//! Taking over what the vault has.

use std::collections::{HashMap, HashSet};

use tower::util::rng::Rng;

use super::blame::RefusedFresh;
use super::{PoolState, Slot};
use crate::clock::Timestamp;
use crate::credential::{Credential, Metadata};
use crate::pool::config::{Config, Mode};
use crate::pool::lease::Lease;
use crate::pool::pick_index::SlotIndex;
use crate::pool::refresh::{RefreshStage, Renewal};
use crate::provider::{Provider, UnusableSecret};
use crate::standing::{Cooldown, Outcome, Standing};
use crate::vault::{Damage, StoredPool};

impl PoolState {
    /// Takes over what the vault has: credentials that came, went or were renewed, and how all stand.
    /// What is not saved yet is kept. Credentials that can't be used are named, if that is news. One that could not be
    /// read this time stays in use, as it is in memory.
    pub(crate) fn load(
        &mut self,
        stored: StoredPool,
        provider: &dyn Provider,
        config: &Config,
        now: Timestamp,
    ) -> Vec<Damage> {
        let mut damaged = stored.damaged;
        let mut unusable = HashMap::new();
        let mut order = Vec::new();
        let mut seen = HashSet::new();
        let mut standings = stored.standings;
        standings.complete();
        let slots = self.slots.len();
        let mut is_news = false;
        for credential in &stored.credentials {
            let Metadata { id, label, .. } = &credential.metadata;
            match self.upsert(credential, provider, false, now) {
                Ok(slot) => order.push(slot),
                Err(error) => {
                    damaged.push(
                        Damage::new(format!("credential {label:?} ({id})"), error.to_string())
                            .of(*id, Some(credential.metadata.kind)),
                    );
                    unusable.insert(label.clone(), *id);
                }
            }
        }
        for damage in &mut damaged {
            let slot = damage.id.and_then(|id| self.find(id));
            let Some(slot) = slot else { continue };
            damage.kind = damage.kind.or(Some(self.slots[slot].lease.credential().kind));
            if damage.may_pass {
                order.push(slot);
            }
        }
        if damaged.iter().any(|damage| damage.may_pass) {
            let places: HashMap<_, _> = standings.order.iter().zip(0usize..).collect();
            let place = |slot: &SlotIndex| places.get(&self.slots[*slot].lease.credential().id);
            order.sort_by_key(|slot| place(slot).copied().unwrap_or(usize::MAX));
        }
        for slot in order {
            let Metadata { id, generation, .. } = *self.slots[slot].lease.credential();
            seen.insert(id);
            let mut standing = standings.credentials.remove(&id).unwrap_or_default();
            let unsaved = self.journal.unsaved().filter(|outcome| outcome.id == id);
            unsaved.for_each(|outcome| standing.merge(&outcome.change));
            // The vault has left out its own; ours may be on a secret that others have replaced.
            standing.forget_before(generation);
            is_news |= self.take_over(slot, standing, now);
            self.send_to_back(slot);
        }
        for slot in &mut self.slots {
            let live = seen.contains(&slot.lease.credential().id);
            is_news |= std::mem::replace(&mut slot.live, live) != live;
        }
        is_news |= self.slots.len() > slots;
        let live = |slot: &&Slot| slot.live;
        self.has_oauth =
            self.slots.iter().filter(live).any(|slot| Mode::is_oauth(slot.lease.credential().kind))
                || damaged.iter().any(|damage| damage.may_be(Mode::is_oauth));
        self.by_label = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.live)
            .map(|(index, slot)| (slot.lease.credential().label.clone(), index))
            .collect();
        for (preferred, id) in standings.preferred.iter().enumerate() {
            if let Some(&slot) = self.by_id.get(id) {
                self.slots[slot].preferred = preferred;
            }
        }
        for Outcome { id, change } in self.journal.unsaved().cloned().collect::<Vec<_>>() {
            if let Some(&slot) = self.by_id.get(&id) {
                self.move_by(slot, &change);
            }
        }
        self.revision = stored.revision;
        let cooldowns = self.slots.iter().flat_map(|slot| &slot.standing.cooldowns);
        let scopes = cooldowns.filter(|known| known.until > now).filter_map(|known| known.scope.clone());
        for scope in scopes.collect::<HashSet<_>>() {
            self.by_scope.entry(scope).or_default();
        }
        for slot in 0..self.slots.len() {
            self.slots[slot].mark();
            self.refile(slot, config, now);
        }
        self.end_misdated(config, now);
        if is_news {
            self.wake();
        }
        self.unusable = unusable;
        let known = std::mem::replace(&mut self.damaged, damaged);
        self.damaged.iter().filter(|damage| !known.contains(damage)).cloned().collect()
    }

    /// Takes over how a credential stands. A cooldown that others have set is as fresh as one of ours:
    /// no success of an attempt that is under way ends it. Whether that may change which one a request takes.
    fn take_over(&mut self, index: SlotIndex, mut standing: Standing, now: Timestamp) -> bool {
        let slot = &mut self.slots[index];
        if standing.last_response.is_some_and(|answer| !answer.is_believable(now)) {
            standing.last_response = slot.standing.last_response;
        }
        let mut known = std::mem::replace(&mut slot.standing, standing);
        known.last_response = slot.standing.last_response;
        let is_news = known != slot.standing;
        let fresh = |cooldown: &&Cooldown| known.cooldown(cooldown.scope.as_ref()) != Some(*cooldown);
        let scopes: Vec<_> =
            slot.standing.cooldowns.iter().filter(fresh).map(|fresh| fresh.scope.clone()).collect();
        for scope in scopes {
            slot.set_cooled_at(scope.as_ref(), self.logical_clock.advance());
        }
        is_news
    }

    fn upsert(
        &mut self,
        credential: &Credential,
        provider: &dyn Provider,
        in_older_vault: bool,
        now: Timestamp,
    ) -> Result<SlotIndex, UnusableSecret> {
        let id = credential.metadata.id;
        if let Some(&slot) = self.by_id.get(&id) {
            let known = self.slots[slot].lease.credential();
            let newer = in_older_vault || credential.metadata.generation >= known.generation;
            if newer && *known != credential.metadata {
                let is_renewed = credential.metadata.generation != known.generation;
                let lease = self.slots[slot].lease.succeeded_by(credential, provider)?;
                if is_renewed {
                    self.slots[slot].renewal = Renewal::of(&lease, now, self.random.next_f64());
                    self.slots[slot].acquit();
                }
                self.slots[slot].lease = lease;
            }
            return Ok(slot);
        }
        let slot = self.slots.len();
        let lease = Lease::new(slot, credential, provider, self.penalties.none(), self.mints.clone())?;
        let renewal = Renewal::of(&lease, now, self.random.next_f64());
        self.slots.push(Slot {
            lease,
            standing: Standing::default(),
            live: true,
            place: 0,
            preferred: 0,
            last_used: 0,
            pass: self.pass,
            allowance: None,
            lowered_cap: None,
            was_busy: false,
            probes: 0,
            cooled_at: Vec::new(),
            suspected: None,
            refused_fresh: RefusedFresh::default(),
            refresh: RefreshStage::Idle,
            renewal,
        });
        self.by_id.insert(id, slot);
        Ok(slot)
    }

    /// Takes over a renewed secret. Without effect where a newer one is known, unless that is of a vault
    /// in whose place an older one was put: its numbers begin again.
    pub(crate) fn adopt(
        &mut self,
        credential: &Credential,
        in_older_vault: bool,
        provider: &dyn Provider,
        config: &Config,
        now: Timestamp,
    ) -> Result<Lease, UnusableSecret> {
        let slot = self.upsert(credential, provider, in_older_vault, now)?;
        let generation = self.slots[slot].lease.credential().generation;
        self.slots[slot].standing.forget_before(generation);
        self.slots[slot].mark();
        self.refile(slot, config, now);
        self.wake();
        Ok(self.slots[slot].lease.clone())
    }
}

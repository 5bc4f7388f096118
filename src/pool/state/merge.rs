//! Merging the vault's credentials and standings into the state.

use std::collections::{HashMap, HashSet};

use tower::util::rng::Rng;

use super::{PoolState, Slot};
use crate::clock::Timestamp;
use crate::credential::{Credential, Metadata};
use crate::pool::config::Config;
use crate::pool::lease::Lease;
use crate::pool::mode::Mode;
use crate::pool::pick_index::SlotIndex;
use crate::pool::refresh::Renewal;
use crate::provider::{Provider, UnusableSecret};
use crate::standing::{Cooldown, Outcome, Standing, merge_windows};
use crate::vault::{Damage, StoredPool};

impl PoolState {
    /// Merges what the vault has: credentials that were added, removed or renewed, and their standings. Unsaved
    /// outcomes are kept. A credential that could not be read this time stays in use, as it is in memory. Returns the
    /// damage that is new.
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
            // The vault has forgotten its own; an unsaved outcome may be of a secret that others have replaced.
            standing.forget_before(generation);
            is_news |= self.replace_standing(slot, standing, now);
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
            self.scope_indexes.entry(scope).or_default();
        }
        self.slots.iter().for_each(Slot::update_penalty);
        self.reindex_all(config, now);
        self.end_misdated(config, now);
        if is_news {
            self.wake();
        }
        self.unusable = unusable;
        let known = std::mem::replace(&mut self.damaged, damaged);
        self.damaged.iter().filter(|damage| !known.contains(damage)).cloned().collect()
    }

    /// Replaces a credential's standing by the vault's. A cooldown that others have set counts as set now, so that no
    /// success of an attempt that is under way ends it. Returns whether a pick may change.
    fn replace_standing(&mut self, index: SlotIndex, mut standing: Standing, now: Timestamp) -> bool {
        let slot = &mut self.slots[index];
        if standing.last_response.is_some_and(|response| !response.is_believable(now)) {
            standing.last_response = slot.standing.last_response;
        }
        standing.allowance.retain(|window| !window.said_at.is_misdated(now));
        merge_windows(&mut standing.allowance, &slot.standing.allowance);
        let mut known = std::mem::replace(&mut slot.standing, standing);
        known.last_response = slot.standing.last_response;
        known.allowance.clone_from(&slot.standing.allowance);
        let is_news = known != slot.standing;
        if is_news {
            slot.update_cooling_time(now);
            let is_over = slot.standing.cooldown(None).is_none_or(|known| known.until != slot.tried);
            if is_over {
                self.end_trial(index);
            }
        }
        let slot = &mut self.slots[index];
        let is_new = |cooldown: &&Cooldown| known.cooldown(cooldown.scope.as_ref()) != Some(*cooldown);
        let scopes: Vec<_> =
            slot.standing.cooldowns.iter().filter(is_new).map(|new| new.scope.clone()).collect();
        for scope in scopes {
            slot.set_cooled_at(scope.as_ref(), self.logical_clock.advance());
        }
        is_news
    }

    /// Adds a credential, or replaces its secret unless a newer one is known.
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
                    self.slots[slot].clear_suspicion();
                }
                self.slots[slot].lease = lease;
            }
            return Ok(slot);
        }
        let slot = self.slots.len();
        let lease =
            Lease::new(slot, credential, provider, self.penalties.new_penalty(), self.mints.clone())?;
        let renewal = Renewal::of(&lease, now, self.random.next_f64());
        self.slots.push(Slot::new(lease, renewal, self.pass));
        self.by_id.insert(id, slot);
        Ok(slot)
    }

    /// Adopts a renewed secret, unless a newer one is known. `in_older_vault` says that the vault was replaced by an
    /// older one, in which generations start again.
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
        self.slots[slot].update_penalty();
        self.reindex(slot, config, now);
        self.wake();
        Ok(self.slots[slot].lease.clone())
    }
}

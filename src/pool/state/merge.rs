//! Merging the vault's credentials and standings into the state.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tower::util::rng::Rng;

use super::{PoolState, Slot};
use crate::clock::Timestamp;
use crate::credential::{Credential, CredentialId, Metadata};
use crate::pool::config::Config;
use crate::pool::lease::Lease;
use crate::pool::mode::Mode;
use crate::pool::pick_index::SlotIndex;
use crate::pool::refresh::Renewal;
use crate::provider::{Provider, UnusableSecret};
use crate::standing::{Cooldown, Outcome, Standing, Standings, merge_windows};
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
        let StoredPool { credentials, mut standings, revision, mut damaged } = stored;
        standings.complete();
        let known = self.slots.len();
        let (mut order, unusable) = self.upsert_all(credentials, provider, &mut damaged, now);
        self.keep_unread(&mut damaged, &standings.order, &mut order);
        let mut is_news = self.slots.len() > known;
        is_news |= self.merge_standings(&order, &mut standings, now);
        is_news |= self.mark_live(&order);
        self.group_by_quota(now);
        self.end_past_trials();
        self.update_kinds_and_labels(&damaged);
        self.set_preferred(&standings.preferred);
        self.repeat_unsaved_moves();
        self.revision = revision;
        self.is_in_doubt = false;
        self.index_cooling_scopes(now);
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

    /// Adds or renews these credentials. Returns their slots in the same order, and the ids of those whose secret no
    /// request can carry, by label. Those are added to the damage, too.
    fn upsert_all(
        &mut self,
        credentials: Vec<Credential>,
        provider: &dyn Provider,
        damaged: &mut Vec<Damage>,
        now: Timestamp,
    ) -> (Vec<SlotIndex>, HashMap<Arc<str>, CredentialId>) {
        let (mut order, mut unusable) = (Vec::with_capacity(credentials.len()), HashMap::new());
        // Growing step by step takes longer than filling it, if there are thousands.
        let new = credentials.len().saturating_sub(self.slots.len());
        self.slots.reserve(new);
        self.by_id.reserve(new);
        for credential in credentials {
            let Metadata { id, kind, .. } = credential.metadata;
            let label = credential.metadata.label.clone();
            match self.upsert(credential, provider, false, now) {
                Ok(slot) => order.push(slot),
                Err(error) => {
                    let record = format!("credential {label:?} ({id})");
                    damaged.push(Damage::new(record, error.to_string()).of(id, Some(kind)));
                    unusable.insert(label, id);
                }
            }
        }
        (order, unusable)
    }

    /// Gives the damage the kinds that this pool knows, and keeps the credentials whose records may be readable later:
    /// they join the `order`, at their places in the vault's.
    fn keep_unread(
        &self,
        damaged: &mut [Damage],
        vault_order: &[CredentialId],
        order: &mut Vec<SlotIndex>,
    ) {
        for damage in &mut *damaged {
            let slot = damage.id.and_then(|id| self.find(id));
            let Some(slot) = slot else { continue };
            damage.kind = damage.kind.or(Some(self.slots[slot].lease.credential().kind));
            if damage.may_pass {
                order.push(slot);
            }
        }
        if damaged.iter().any(|damage| damage.may_pass) {
            let places: HashMap<_, _> = vault_order.iter().zip(0usize..).collect();
            let place = |slot: &SlotIndex| places.get(&self.slots[*slot].lease.credential().id);
            order.sort_by_key(|slot| place(slot).copied().unwrap_or(usize::MAX));
        }
    }

    /// Gives the credentials of this order their places, and the vault's standings with what is unsaved here. Returns
    /// whether a pick may change.
    fn merge_standings(
        &mut self,
        order: &[SlotIndex],
        standings: &mut Standings,
        now: Timestamp,
    ) -> bool {
        let mut is_news = false;
        for outcome in self.journal.unsaved() {
            standings.merge(outcome);
        }
        for &slot in order {
            let Metadata { id, generation, .. } = *self.slots[slot].lease.credential();
            let mut standing = standings.credentials.remove(&id).unwrap_or_default();
            // The vault has forgotten its own; an unsaved outcome may be of a secret that others have replaced.
            standing.forget_before(generation);
            is_news |= self.replace_standing(slot, standing, now);
            self.send_to_back(slot);
        }
        is_news
    }

    /// Marks these slots as live and all others as removed. Returns whether one has changed.
    fn mark_live(&mut self, order: &[SlotIndex]) -> bool {
        let live: HashSet<_> = order.iter().copied().collect();
        let mut is_news = false;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let live = live.contains(&index);
            is_news |= std::mem::replace(&mut slot.live, live) != live;
        }
        is_news
    }

    /// Looks whether the pool has a sign-in, and which label is whose. A record that can't be read may be a sign-in's.
    pub(super) fn update_kinds_and_labels(&mut self, damaged: &[Damage]) {
        let live = || self.slots.iter().enumerate().filter(|(_, slot)| slot.live);
        let is_oauth = |(_, slot): (_, &Slot)| Mode::is_oauth(slot.lease.credential().kind);
        let has_oauth =
            live().any(is_oauth) || damaged.iter().any(|damage| damage.may_be(Mode::is_oauth));
        let by_label =
            live().map(|(index, slot)| (slot.lease.credential().label.clone(), index)).collect();
        (self.has_oauth, self.by_label) = (has_oauth, by_label);
    }

    pub(super) fn set_preferred(&mut self, preferred: &[CredentialId]) {
        for (place, id) in preferred.iter().enumerate() {
            if let Some(&slot) = self.by_id.get(id) {
                self.slots[slot].preferred = place;
            }
        }
    }

    /// Moves credentials again as the unsaved outcomes did: the vault's order does not have these moves yet. Returns their
    /// slots, without those of the same quota.
    pub(super) fn repeat_unsaved_moves(&mut self) -> Vec<SlotIndex> {
        let mut moved = Vec::new();
        for Outcome { id, change } in self.journal.unsaved().cloned().collect::<Vec<_>>() {
            if let Some(&slot) = self.by_id.get(&id) {
                self.move_by(slot, &change);
                moved.push(slot);
            }
        }
        moved
    }

    /// Adds an index for each scope in which a credential cools down.
    fn index_cooling_scopes(&mut self, now: Timestamp) {
        let cooldowns = self.slots.iter().flat_map(|slot| &slot.standing.cooldowns);
        for cooldown in cooldowns.filter(|known| known.until > now) {
            if let Some(scope) = &cooldown.scope {
                self.scope_indexes.entry(scope.clone()).or_default();
            }
        }
    }

    /// Replaces a credential's standing by the vault's. A cooldown that others have set counts as set now, so that no
    /// success of an attempt that is under way ends it. Returns whether a pick may change.
    pub(super) fn replace_standing(
        &mut self,
        index: SlotIndex,
        mut standing: Standing,
        now: Timestamp,
    ) -> bool {
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
        }
        let is_new = |cooldown: &&Cooldown| known.cooldown(cooldown.scope.as_ref()) != Some(*cooldown);
        let scopes: Vec<_> =
            slot.standing.cooldowns.iter().filter(is_new).map(|new| new.scope.clone()).collect();
        for scope in scopes {
            slot.set_cooled_at(scope.as_ref(), self.logical_clock.advance());
        }
        is_news
    }

    /// Adds a credential, or replaces its secret unless a newer one is known.
    pub(super) fn upsert(
        &mut self,
        credential: Credential,
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
        let slot = self.upsert(credential.clone(), provider, in_older_vault, now)?;
        let generation = self.slots[slot].lease.credential().generation;
        let had_quota = self.slots[slot].standing.stated_quota.is_some();
        self.slots[slot].standing.forget_before(generation);
        self.slots[slot].update_penalty();
        if had_quota && self.slots[slot].standing.stated_quota.is_none() {
            self.group_by_quota(now);
            self.reindex_all(config, now);
        }
        self.reindex(slot, config, now);
        self.wake();
        Ok(self.slots[slot].lease.clone())
    }
}

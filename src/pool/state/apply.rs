//! Applying what has changed in the vault, without a look at the accounts that have not.

use std::collections::HashSet;

use super::PoolState;
use crate::clock::Timestamp;
use crate::credential::{Credential, CredentialId};
use crate::pool::config::Config;
use crate::pool::pick_index::SlotIndex;
use crate::provider::Provider;
use crate::standing::{Change, Standing};
use crate::vault::{Changes, OrderChange};

impl PoolState {
    /// Whether changes may be applied as they are. If not, the vault must be loaded: a record that can't be read or used
    /// has its place in the order, and an unsaved reset or quota takes its effect from all accounts.
    pub(crate) fn can_apply(&self, changes: &Changes) -> bool {
        let is_of_all = |change: &Change| {
            matches!(change, Change::Reset | Change::Quota { .. } | Change::QuotaStated(_))
        };
        let regroups = |(id, standing): &(CredentialId, Standing)| {
            self.find(*id)
                .is_some_and(|slot| self.slots[slot].standing.shared_quota() != standing.shared_quota())
        };
        self.damaged.is_empty()
            && !self.journal.unsaved().any(|outcome| is_of_all(&outcome.change))
            && !changes.standings.iter().any(regroups)
    }

    /// Applies changes, which [can be](Self::can_apply). Unsaved outcomes are kept. Returns whether all credentials can be
    /// used; if not, the vault must be loaded.
    pub(crate) fn apply(
        &mut self,
        changes: Changes,
        provider: &dyn Provider,
        config: &Config,
        now: Timestamp,
    ) -> bool {
        let Changes { revision, credentials, removed, standings, order, .. } = changes;
        let members_change = !credentials.is_empty() || !removed.is_empty();
        let Some(mut touched) = self.apply_credentials(credentials, provider, now) else {
            return false;
        };
        for id in removed {
            let Some(slot) = self.find(id) else { continue };
            self.slots[slot].live = false;
            touched.insert(slot);
        }
        let mut is_news = members_change;
        for (id, standing) in standings {
            let Some(slot) = self.find(id) else { continue };
            is_news |= self.apply_standing(slot, standing, now);
            touched.insert(slot);
        }
        touched.extend(self.apply_order(order));
        self.end_past_trials();
        let had_oauth = self.has_oauth;
        if members_change {
            self.group_by_quota(now);
            self.update_kinds_and_labels(&[]);
        }
        let quotas = self.one_of_each_quota(&touched);
        if !members_change {
            quotas.iter().for_each(|slot| self.share_limits(*slot, now));
        }
        self.revision = revision;
        for &slot in &touched {
            self.slots[slot].update_penalty();
            self.index_cooling_scopes_of(slot, config, now);
        }
        if had_oauth == self.has_oauth {
            let of_quotas: Vec<_> = quotas.into_iter().flat_map(|slot| self.of_quota(slot)).collect();
            self.reindex_each(of_quotas.into_iter(), config, now);
        } else {
            self.reindex_all(config, now);
        }
        if is_news {
            self.wake();
        }
        true
    }

    /// Adds or renews these credentials. Returns their slots; `None` if one has a secret that no request can carry.
    fn apply_credentials(
        &mut self,
        credentials: Vec<Credential>,
        provider: &dyn Provider,
        now: Timestamp,
    ) -> Option<HashSet<SlotIndex>> {
        let mut touched = HashSet::new();
        for credential in credentials {
            let known = self.slots.len();
            let slot = self.upsert(credential, provider, false, now).ok()?;
            if slot == known || !self.slots[slot].live {
                self.slots[slot].live = true;
                self.send_to_back(slot);
            }
            let generation = self.slots[slot].lease.credential().generation;
            self.slots[slot].standing.forget_before(generation);
            touched.insert(slot);
        }
        Some(touched)
    }

    /// Replaces a standing by the vault's with what is unsaved here. Returns whether a pick may change.
    fn apply_standing(&mut self, slot: SlotIndex, mut standing: Standing, now: Timestamp) -> bool {
        let (id, generation) = {
            let credential = self.slots[slot].lease.credential();
            (credential.id, credential.generation)
        };
        for outcome in self.journal.unsaved() {
            if outcome.id == id {
                standing.merge(&outcome.change);
            } else if outcome.change.is_of_quota() && self.share_a_quota(slot, outcome.id) {
                standing.merge_of_quota(&outcome.change);
            }
        }
        standing.forget_before(generation);
        self.replace_standing(slot, standing, now)
    }

    /// Applies the changes of the order. Returns the slots that may have moved.
    fn apply_order(&mut self, order: OrderChange) -> HashSet<SlotIndex> {
        let (order, preferred) = match order {
            OrderChange::ToBack(moved) if moved.is_empty() => return HashSet::new(),
            OrderChange::ToBack(moved) => (moved, Vec::new()),
            OrderChange::Whole { order, preferred } => (order, preferred),
        };
        let slots: Vec<_> = order.iter().filter_map(|id| self.find(*id)).collect();
        slots.iter().for_each(|slot| self.send_to_back(*slot));
        self.set_preferred(&preferred);
        let mut moved: HashSet<_> = slots.into_iter().collect();
        moved.extend(self.repeat_unsaved_moves());
        moved
    }

    /// Adds an index for each scope in which a credential cools down.
    fn index_cooling_scopes_of(&mut self, slot: SlotIndex, config: &Config, now: Timestamp) {
        let cooldowns = self.slots[slot].standing.cooldowns.iter().filter(|known| known.until > now);
        let scopes: Vec<_> = cooldowns.filter_map(|known| known.scope.clone()).collect();
        scopes.iter().for_each(|scope| self.add_scope_index(scope, config, now));
    }
}

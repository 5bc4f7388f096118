//! A pool that knows a vault by its changes alone.

use std::collections::HashMap;

use super::fixtures::pool;
use crate::vault::{Changes, OrderChange, Revision, StoredPool, Vault, VaultExt};
use crate::{Credential, CredentialId};

/// A pool that only reads changes.
pub(super) struct Reader {
    revision: Revision,
    pub(super) credentials: HashMap<CredentialId, Credential>,
    stored: StoredPool,
}

impl Reader {
    pub(super) async fn new(vault: &impl Vault) -> Self {
        let stored = vault.load_pool(pool()).await.unwrap();
        let by_id = |credential: &Credential| (credential.metadata.id, credential.clone());
        let credentials = stored.credentials.iter().map(by_id).collect();
        Self { revision: stored.revision, credentials, stored }
    }

    /// Reads the changes, and checks that the pool is then what a load shows. Returns what was read: no changes, if the vault
    /// has the pool loaded.
    pub(super) async fn catch_up(&mut self, vault: &impl Vault) -> Changes {
        let Some(changes) = vault.changes(pool(), self.revision).await.unwrap() else {
            *self = Self::new(vault).await;
            return Changes::none(self.revision);
        };
        let again = vault.changes(pool(), self.revision).await.unwrap().unwrap();
        let (read, expected) = (changes.clone(), vault.load_pool(pool()).await.unwrap());
        self.apply(changes);
        self.is_like(&expected);
        self.apply(again);
        self.is_like(&expected);
        read
    }

    fn apply(&mut self, changes: Changes) {
        let standings = &mut self.stored.standings;
        for credential in changes.credentials {
            self.credentials.insert(credential.metadata.id, credential);
        }
        for id in changes.removed {
            self.credentials.remove(&id);
            standings.remove(id);
        }
        for (id, mut standing) in changes.standings {
            standing.forget_before(self.credentials[&id].metadata.generation);
            standings.credentials.insert(id, standing);
        }
        match changes.order {
            OrderChange::ToBack(moved) => {
                for id in moved {
                    standings.order.retain(|other| *other != id);
                    standings.order.push(id);
                }
            }
            OrderChange::Whole { order, preferred } => {
                (standings.order, standings.preferred) = (order, preferred);
            }
        }
        self.revision = changes.revision;
    }

    fn is_like(&self, expected: &StoredPool) {
        assert_eq!(self.revision, expected.revision);
        assert_eq!(self.stored.standings.order, expected.standings.order);
        assert_eq!(self.stored.standings.preferred, expected.standings.preferred);
        assert_eq!(self.credentials.len(), expected.credentials.len());
        for credential in &expected.credentials {
            let id = credential.metadata.id;
            let known = &self.credentials[&id];
            assert_eq!(known.metadata, credential.metadata);
            assert_eq!(known.secret.token().expose(), credential.secret.token().expose());
            let standing =
                |pool: &StoredPool| pool.standings.credentials.get(&id).cloned().unwrap_or_default();
            assert_eq!(standing(&self.stored), standing(expected));
        }
    }
}

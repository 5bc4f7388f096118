//! What has changed since a revision, and batches that are sent again.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::timeout;
use tower::ServiceExt;
use tower_credentials::standing::{Change, Outcome};
use tower_credentials::vault::{BatchId, BatchOrigin, Changes, OrderChange, Revision, StoredPool};
use tower_credentials::vault::{Vault, VaultError, VaultExt, VaultRequest, VaultResponse};
use tower_credentials::{Credential, CredentialId, PoolKey, Secret};

use super::{account, cooled, pool, put_all};

/// How long a notice may take.
const SOON: Duration = Duration::from_secs(10);

pub(crate) async fn a_batch_that_is_sent_again_counts_once(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    let origin = BatchOrigin::random();
    let failed = |until| vec![cooled(id, until, 1, false)];
    let record = async |number, until| {
        let batch = BatchId { origin, number };
        let request = VaultRequest::Record { pool: pool(), outcomes: failed(until), batch };
        match vault.clone().oneshot(request).await.map_err(Into::into).unwrap() {
            VaultResponse::Revision(revision) => revision,
            other => panic!("{other:?}"),
        }
    };
    let failures = async || {
        let stored = vault.load_pool(pool()).await.unwrap();
        stored.standings.credentials[&id].failures
    };
    let first = record(1, 10).await;
    assert_eq!(record(1, 10).await, first, "nothing has changed");
    assert_eq!(failures().await, 1);
    record(2, 20).await;
    record(1, 10).await;
    record(2, 20).await;
    assert_eq!(failures().await, 2);
    vault.record(pool(), failed(30)).await.unwrap();
    assert_eq!(failures().await, 3, "another origin counts for itself");
}

/// A pool that only reads changes.
struct Reader {
    revision: Revision,
    credentials: HashMap<CredentialId, Credential>,
    stored: StoredPool,
}

impl Reader {
    async fn new(vault: &impl Vault) -> Self {
        let stored = vault.load_pool(pool()).await.unwrap();
        let by_id = |credential: &Credential| (credential.metadata.id, credential.clone());
        let credentials = stored.credentials.iter().map(by_id).collect();
        Self { revision: stored.revision, credentials, stored }
    }

    /// Reads the changes, and checks that the pool is then what a load shows. Returns what was read.
    async fn catch_up(&mut self, vault: &impl Vault) -> Changes {
        let changes = vault.changes(pool(), self.revision).await.unwrap().unwrap();
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

pub(crate) async fn changes_lead_to_what_a_load_shows(vault: impl Vault) {
    let [a, b, c] = put_all(&vault, ["a", "b", "c"]).await;
    let mut reader = Reader::new(&vault).await;
    let none = reader.catch_up(&vault).await;
    assert!(none.standings.is_empty() && none.credentials.is_empty());

    vault.record(pool(), vec![cooled(a, 10, 1, true)]).await.unwrap();
    let cooled_down = reader.catch_up(&vault).await;
    assert_eq!(cooled_down.standings.len(), 1, "no other account is read");
    assert!(cooled_down.credentials.is_empty());
    assert_eq!(cooled_down.order, OrderChange::ToBack(vec![a]));

    vault.record(pool(), vec![cooled(b, 10, 1, true), cooled(a, 20, 2, true)]).await.unwrap();
    vault.record(pool(), vec![cooled(c, 10, 1, true)]).await.unwrap();
    assert_eq!(reader.catch_up(&vault).await.order, OrderChange::ToBack(vec![b, a, c]));

    let generation = reader.credentials[&b].metadata.generation;
    vault.replace_secret(&pool(), b, generation, Secret::api_key("PLANTED-new")).await.unwrap();
    let renewed = reader.catch_up(&vault).await;
    let [one] = &renewed.credentials[..] else { panic!("{renewed:?}") };
    assert_eq!(one.metadata.id, b);

    vault.move_to(&pool(), c, 0).await.unwrap();
    reader.catch_up(&vault).await;
    vault.relabel(&pool(), c, "third").await.unwrap();
    reader.catch_up(&vault).await;
    let d = vault.put(account("d")).await.unwrap().id;
    vault.record(pool(), vec![Outcome { id: d, change: Change::Paused }]).await.unwrap();
    reader.catch_up(&vault).await;
    vault.record(pool(), vec![Outcome { id: a, change: Change::Reset }]).await.unwrap();
    vault.remove(&pool(), b).await.unwrap();
    let removed = reader.catch_up(&vault).await;
    assert_eq!(removed.removed, [b]);
    let gone = vault.put(account("e")).await.unwrap().id;
    vault.remove(&pool(), gone).await.unwrap();
    reader.catch_up(&vault).await;
}

pub(crate) async fn changes_of_another_pool_are_none(vault: impl Vault) {
    let [a] = put_all(&vault, ["a"]).await;
    let mut reader = Reader::new(&vault).await;
    let other = Credential::new(PoolKey::new("other"), "x", Secret::api_key("PLANTED-x"));
    vault.put(other).await.unwrap();
    let changes = reader.catch_up(&vault).await;
    assert!(changes.credentials.is_empty() && changes.standings.is_empty());
    vault.record(pool(), vec![cooled(a, 10, 1, false)]).await.unwrap();
    assert_eq!(reader.catch_up(&vault).await.standings.len(), 1);
}

pub(crate) async fn changes_since_an_unknown_revision_are_not_known(vault: impl Vault) {
    put_all(&vault, ["a"]).await;
    let unknown = Revision::from_bytes([0xab; 16]);
    assert!(vault.changes(pool(), unknown).await.unwrap().is_none());
}

pub(crate) async fn a_watch_tells_of_each_change_if_there_is_one(vault: impl Vault) {
    let [a, _] = put_all(&vault, ["a", "b"]).await;
    let mut watch = match vault.watch(pool()).await {
        Ok(Some(watch)) => watch,
        Ok(None) | Err(VaultError::Unsupported { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    for until in 1..4 {
        vault.record(pool(), vec![cooled(a, until, until, true)]).await.unwrap();
        assert!(timeout(SOON, watch.changed()).await.unwrap());
    }
    vault.remove(&pool(), a).await.unwrap();
    assert!(timeout(SOON, watch.changed()).await.unwrap());
}

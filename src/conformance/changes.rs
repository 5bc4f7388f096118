//! What has changed since a revision, and batches that are sent again.

use std::time::Duration;

use crate::standing::{Change, Outcome, Quota, QuotaName};
use crate::vault::call;
use crate::vault::{BatchId, BatchOrigin, OrderChange, Revision};
use crate::vault::{Vault, VaultError, VaultExt, VaultRequest, VaultResponse};
use crate::{Credential, PoolKey, Secret, Timestamp};
use tokio::time::timeout;

use super::fixtures::{account, cooled, pool, put_all};
use super::reader::Reader;

/// How long a notice may take.
const SOON: Duration = Duration::from_secs(10);

/// A batch of an origin counts once, however often it is sent, and also if a later one has been sent in between.
pub async fn a_batch_that_is_sent_again_counts_once(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    let origin = BatchOrigin::random();
    let failed = |until| vec![cooled(id, until, 1, false)];
    let record = async |number, until| {
        let batch = BatchId { origin, number };
        let request = VaultRequest::Record { pool: pool(), outcomes: failed(until), batch };
        match call(vault.clone(), request).await.unwrap() {
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

/// Changes, read once or twice, lead from the revision that they are asked for to what a load shows. They hold no account
/// that has not changed.
pub async fn changes_lead_to_what_a_load_shows(vault: impl Vault) {
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

/// Changes of accounts that share a quota lead to what a load shows, from whichever revision they are asked for.
pub async fn changes_of_a_shared_quota_lead_to_what_a_load_shows(vault: impl Vault) {
    let ids = put_all(&vault, ["a", "b", "c", "d", "e"]).await;
    let quota = |id| {
        let quota = Some(Quota::Shared(QuotaName::new("acme").unwrap()));
        Outcome { id, change: Change::Quota { quota } }
    };
    // The last one has a quota of its own.
    vault.record(pool(), ids[..4].iter().copied().map(quota).collect()).await.unwrap();
    let succeeded = |id| {
        let set_until = Timestamp::from_millis(10);
        Outcome { id, change: Change::Succeeded { set_until, scope: None } }
    };
    let mut readers = Vec::new();
    for (number, id) in ids.iter().copied().cycle().step_by(3).take(20).enumerate() {
        readers.push(Reader::new(&vault).await);
        let outcomes = match number % 4 {
            0 => vec![cooled(id, 10, 1, true)],
            1 => vec![succeeded(id), cooled(ids[0], 20, 2, true)],
            2 => vec![cooled(id, 30, 11, true), cooled(ids[4], 10, 1, true), succeeded(ids[1])],
            _ => vec![Outcome { id, change: Change::Reset }, cooled(ids[2], 10, 1, true)],
        };
        vault.record(pool(), outcomes).await.unwrap();
        readers[number / 2].catch_up(&vault).await;
    }
    for mut reader in readers {
        reader.catch_up(&vault).await;
    }
}

/// What changes in one pool is no change of another.
pub async fn changes_of_another_pool_are_none(vault: impl Vault) {
    let [a] = put_all(&vault, ["a"]).await;
    let mut reader = Reader::new(&vault).await;
    let other = Credential::new(PoolKey::new("other"), "x", Secret::api_key("PLANTED-x"));
    vault.put(other).await.unwrap();
    let changes = reader.catch_up(&vault).await;
    assert!(changes.credentials.is_empty() && changes.standings.is_empty());
    vault.record(pool(), vec![cooled(a, 10, 1, false)]).await.unwrap();
    assert_eq!(reader.catch_up(&vault).await.standings.len(), 1);
}

/// Changes since a revision that never was are not known.
pub async fn changes_since_an_unknown_revision_are_not_known(vault: impl Vault) {
    put_all(&vault, ["a"]).await;
    let unknown = Revision::from_bytes([0xab; 16]);
    assert!(vault.changes(pool(), unknown).await.unwrap().is_none());
}

/// A watch tells of outcomes and of a removal. A vault may have no watch.
pub async fn a_watch_tells_of_each_change_if_there_is_one(vault: impl Vault) {
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

//! Leases, which one holder has at a time.

use std::pin::pin;

use crate::vault::{Vault, VaultExt};

use super::fixtures::{cooled, poll_once, pool, put_all};

/// One holds the lease of a credential at a time, and a lease holds up no other request.
pub async fn a_lease_waits_until_the_other_is_dropped(vault: impl Vault) {
    let (key, [id]) = (pool(), put_all(&vault, ["a"]).await);
    let lease = vault.lease_refresh(&key, id).await.unwrap();
    let mut second = pin!(vault.lease_refresh(&key, id));
    for _ in 0..50 {
        assert!(poll_once(second.as_mut()).is_pending(), "two hold the lease");
        tokio::task::yield_now().await;
    }
    let record = vault.record(pool(), vec![cooled(id, 1, 1, false)]);
    record.await.expect("a lease holds up nothing else");
    assert!(poll_once(second.as_mut()).is_pending(), "two hold the lease");
    drop(lease);
    let second = second.await.unwrap();
    drop(second);
    vault.lease_refresh(&pool(), id).await.unwrap();
}

/// Leases of two credentials are held at the same time.
pub async fn a_lease_of_another_credential_does_not_wait(vault: impl Vault) {
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    let _one = vault.lease_refresh(&pool(), a).await.unwrap();
    let _other = vault.lease_refresh(&pool(), b).await.unwrap();
}

/// Whoever stops waiting for a lease, before or after its turn comes, keeps nobody from it. The futures are polled once
/// and then left for a while, as a caller may do.
pub async fn a_dropped_wait_for_a_lease_does_not_keep_it_from_others(vault: impl Vault) {
    let (key, [id]) = (pool(), put_all(&vault, ["a"]).await);
    let lease = vault.lease_refresh(&key, id).await.unwrap();
    let mut second = Box::pin(vault.lease_refresh(&key, id));
    assert!(poll_once(second.as_mut()).is_pending());
    let mut third = Box::pin(vault.lease_refresh(&key, id));
    assert!(poll_once(third.as_mut()).is_pending());
    let mut fourth = Box::pin(vault.lease_refresh(&key, id));
    assert!(poll_once(fourth.as_mut()).is_pending());
    // The second leaves before its turn comes, the third once it has come.
    drop(second);
    drop(lease);
    drop(third);
    drop(fourth.await.unwrap());
    vault.lease_refresh(&pool(), id).await.unwrap();
}

/// The lease of a client has a name of any characters and any length, which is compared byte by byte. It is not the lease of
/// a credential.
pub async fn a_clients_lease_is_held_by_one_and_is_not_anothers(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    let long = "c".repeat(1000);
    for client in ["app", "App", "../app", "a/b", long.as_str(), &id.to_string()] {
        let lease = vault.lease_client(client.into()).await.unwrap();
        let mut second = pin!(vault.lease_client(client.into()));
        for _ in 0..20 {
            assert!(poll_once(second.as_mut()).is_pending(), "two hold the lease of {client}");
            tokio::task::yield_now().await;
        }
        // Neither a credential's, nor that of another client.
        vault.lease_refresh(&pool(), id).await.unwrap();
        vault.lease_client(format!("{client}x").into()).await.unwrap();
        drop(lease);
        second.await.unwrap();
    }
}

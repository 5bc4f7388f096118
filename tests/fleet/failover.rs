//! Engines of several nodes: Sentinels and clusters say which one to ask, also after one has died.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{Credential, Generation, PoolKey, Secret};

use crate::children::eventually;
use crate::hosts::{notices_until, once_it_is_back};
use crate::nodes::{Sentinel, cluster_of_two, is_up_to_date, primary_and_replica, says};
use crate::server::{Server, sealed};
use crate::vault_contract::{account, cooled, order, pool, put_all, token};

const SOON: Duration = Duration::from_secs(60);
/// A busy machine takes its time.
const COMMAND: Duration = Duration::from_secs(10);

#[tokio::test]
async fn sentinels_name_the_primary_and_after_its_death_the_next_one() {
    let Some([primary, replica]) = primary_and_replica().await else { return };
    let sentinel = Sentinel::of(&primary);
    let open = async |service: &str| {
        RedisBackend::builder(sentinel.url(service)).command_timeout(COMMAND).open().await
    };
    // Until the Sentinel listens, it is away.
    let backend = once_it_is_back(async || open("main").await).await.unwrap();
    let vault = sealed(backend, &VaultKey::generate());
    let [a] = put_all(&vault, ["a"]).await;
    vault.replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    let error = open("other").await.unwrap_err().to_string();
    assert!(error.contains("no service \"other\""), "{error}");

    sentinel.knows_a_replica().await;
    let mut watch = vault.watch(pool()).await.unwrap().unwrap();
    let known = vault.load_pool(pool()).await.unwrap().revision;
    primary.kill();
    let record = async || vault.record(pool(), vec![cooled(a, 5_000, 1, false)]).await;
    timeout(SOON, once_it_is_back(record)).await.expect("no other primary").unwrap();
    assert!(replica.tell::<String>(&["INFO", "replication"]).contains("role:master"));
    assert_eq!(token(&vault, a).await, "new");
    notices_until(&mut watch, async || vault.revision(pool()).await.unwrap() != known).await;
}

#[tokio::test]
async fn a_replica_takes_no_change_and_a_primary_waits_for_it_but_not_forever() {
    let Some([primary, replica]) = primary_and_replica().await else { return };
    let open =
        async |server: &Server| sealed(server.builder().open().await.unwrap(), &VaultKey::generate());
    let vault = open(&primary).await;
    put_all(&vault, ["a"]).await;
    let name = "tower-credentials:{example/default}:records";
    assert_eq!(replica.tell::<u64>(&["HLEN", name]), 1, "it is there when the response is");

    let refused = open(&replica).await.put(account("b")).await.unwrap_err();
    assert!(matches!(refused, VaultError::Unreachable(_)), "{refused:?}");
    assert!(refused.to_string().contains("primary"), "{refused}");

    replica.signal("-STOP");
    let put = timeout(SOON, vault.put(account("c"))).await;
    replica.signal("-CONT");
    put.expect("it waits forever").expect("the change is made");
    assert_eq!(order(&vault).await, ["a", "c"]);
}

#[tokio::test]
async fn a_cluster_sends_each_pool_to_the_node_that_has_it() {
    let Some([one, other]) = cluster_of_two().await else { return };
    let backend = one.builder().cluster(true).open().await.unwrap();
    let vault = sealed(backend, &VaultKey::generate());
    for number in 0..16 {
        let pool = PoolKey::new(format!("example-{number}"));
        let id = vault.put(Credential::new(pool.clone(), "a", Secret::api_key("k"))).await.unwrap().id;
        let lease = vault.lease_refresh(&pool, id).await.unwrap();
        let begun = vault.begin_refresh(&pool, id, Generation::FIRST).await.unwrap();
        assert!(begun.present_within.is_some());
        vault.replace_secret(&pool, id, Generation::FIRST, Secret::api_key("new")).await.unwrap();
        drop(lease);
        let mut watch = vault.watch(pool.clone()).await.unwrap().unwrap();
        let known = vault.load_pool(pool.clone()).await.unwrap().revision;
        vault.record(pool.clone(), vec![cooled(id, 5_000, 1, false)]).await.unwrap();
        notices_until(&mut watch, async || {
            vault.changes(pool.clone(), known).await.unwrap().is_some_and(|new| new.revision != known)
        })
        .await;
    }
    assert_eq!(vault.list().await.unwrap().credentials.len(), 16);
    for node in [&one, &other] {
        assert!(node.tell::<u64>(&["DBSIZE"]) > 0, "a node has nothing");
    }
}

/// A primary that has all slots of a cluster, and its replica.
async fn cluster_with_a_replica() -> Option<[Server; 2]> {
    let options = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"];
    let primary = Server::start(&options)?;
    let replica = Server::start(&options)?;
    primary.tell::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    primary.tell::<()>(&["CLUSTER", "MEET", "127.0.0.1", &replica.port().to_string()]);
    let name = primary.tell::<String>(&["CLUSTER", "MYID"]);
    says("the nodes have met", &replica, &["CLUSTER", "NODES"], &name).await;
    replica.tell::<()>(&["CLUSTER", "REPLICATE", &name]);
    is_up_to_date(&replica).await;
    let names_it = async || {
        let slots = primary.tell::<Vec<Vec<redis::Value>>>(&["CLUSTER", "SLOTS"]);
        (slots[0].len() >= 4).then_some(())
    };
    eventually("the primary names its replica", names_it).await;
    Some([primary, replica])
}

#[tokio::test]
async fn a_node_that_takes_over_in_a_cluster_is_found_although_the_url_names_only_the_dead_one() {
    let Some([primary, replica]) = cluster_with_a_replica().await else { return };
    let vault = sealed(primary.builder().cluster(true).open().await.unwrap(), &VaultKey::generate());
    let [a] = put_all(&vault, ["a"]).await;
    primary.kill();
    replica.tell::<()>(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
    let load = async || vault.load_pool(pool()).await;
    timeout(SOON, once_it_is_back(load)).await.expect("no other node").unwrap();
    vault.replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    assert_eq!(token(&vault, a).await, "new");
}

#[tokio::test]
async fn a_dead_node_of_a_cluster_is_not_asked_again_for_what_another_has_taken_over() {
    let Some([primary, replica]) = cluster_with_a_replica().await else { return };
    let vault = sealed(primary.builder().cluster(true).open().await.unwrap(), &VaultKey::generate());
    let [a] = put_all(&vault, ["a"]).await;
    vault.load_pool(pool()).await.unwrap();
    primary.kill();
    // Each failure makes the pause longer after which the dead node may be asked again. The list has another slot than the
    // pool, so where the pool was is still known afterwards.
    for _ in 0..5 {
        vault.list().await.unwrap_err();
        sleep(Duration::from_millis(100)).await;
    }
    replica.tell::<()>(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
    let load = async || vault.load_pool(pool()).await;
    timeout(SOON, once_it_is_back(load)).await.expect("no other node").unwrap();
    // For longer than the pause, since an answer before its end would show nothing.
    for number in 1..30 {
        vault.revision(pool()).await.unwrap();
        vault.list().await.unwrap();
        vault.record(pool(), vec![cooled(a, 5_000, number, false)]).await.unwrap();
        put_all(&vault, [format!("b{number}").as_str()]).await;
        sleep(Duration::from_millis(100)).await;
    }
}

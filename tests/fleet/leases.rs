//! Leases over a network: their holders may die or be cut off.

use std::pin::pin;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::timeout;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::seal::Seal;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{CredentialId, Generation, Secret};

use crate::children::eventually;
use crate::hosts::once_it_is_back;
use crate::server::{Server, sealed};
use crate::vault_contract::{poll_once, pool, put_all};

const SOON: Duration = Duration::from_secs(20);

/// Hosts whose leases end soon, if nobody renews them.
async fn hosts<const N: usize>(server: &Server) -> [Seal<RedisBackend>; N] {
    let key = VaultKey::generate();
    let short = Duration::from_millis(300);
    let mut hosts = Vec::new();
    for _ in 0..N {
        let builder = server.builder().lease_lifetime(short).present_within(short).grace(short);
        hosts.push(sealed(builder.open().await.unwrap(), &key));
    }
    hosts.try_into().unwrap()
}

fn lease_key(id: CredentialId) -> String {
    format!("tower-credentials:{{example/default}}:lease:{id}")
}

/// Takes the lease in a process that then dies: nothing is renewed or released.
fn die_with_the_lease(url: String, key: &VaultKey, id: CredentialId, begins: bool) {
    let key = key.clone();
    let dying = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let lease = runtime.block_on(async {
            let short = Duration::from_millis(300);
            let builder = RedisBackend::builder(url).lease_lifetime(short).present_within(short);
            let vault = sealed(builder.build().unwrap(), &key);
            let lease = vault.lease_refresh(&pool(), id).await.unwrap();
            if begins {
                vault.begin_refresh(&pool(), id, Generation::FIRST).await.unwrap();
            }
            lease
        });
        drop(runtime);
        std::mem::forget(lease);
    });
    dying.join().unwrap();
}

#[tokio::test]
async fn a_lease_is_held_by_one_host_and_renewed_for_as_long_as_it_is_held() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    let [id] = put_all(&one, ["a"]).await;
    let lease = one.lease_refresh(&pool(), id).await.unwrap();
    // Several lifetimes.
    let pool = pool();
    let mut second = pin!(other.lease_refresh(&pool, id));
    assert!(timeout(Duration::from_secs(1), second.as_mut()).await.is_err(), "two hold the lease");
    drop(lease);
    timeout(SOON, second).await.expect("it is free").unwrap();
}

#[tokio::test]
async fn a_renewal_of_a_lease_that_fails_is_tried_again_long_before_the_lease_lapses() {
    let Some(server) = Server::start(&[]) else { return };
    let lifetime = Duration::from_secs(9);
    let builder = server.builder().lease_lifetime(lifetime);
    let vault = sealed(builder.open().await.unwrap(), &VaultKey::generate());
    let [id] = put_all(&vault, ["a"]).await;
    let _lease = vault.lease_refresh(&pool(), id).await.unwrap();
    server.tell::<()>(&["CONFIG", "RESETSTAT"]);
    server.tell::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let has_failed_often = async || {
        let said = server.tell::<String>(&["INFO", "commandstats"]);
        let of_scripts = said.lines().find(|line| line.starts_with("cmdstat_evalsha:"))?;
        let failed = of_scripts.rsplit_once("failed_calls=")?.1;
        (failed.parse::<u32>().ok()? >= 3).then_some(())
    };
    eventually("three renewals fail", has_failed_often).await;
    let left = server.tell::<i64>(&["PTTL", &lease_key(id)]);
    assert!(left > 0, "the lease has lapsed");
    server.tell::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    let is_renewed = async || (server.tell::<i64>(&["PTTL", &lease_key(id)]) > left).then_some(());
    eventually("the lease is renewed", is_renewed).await;
}

#[tokio::test]
async fn the_lease_of_a_holder_that_died_lapses() {
    let Some(server) = Server::start(&[]) else { return };
    let key = VaultKey::generate();
    let vault = sealed(server.builder().open().await.unwrap(), &key);
    let [id] = put_all(&vault, ["a"]).await;
    die_with_the_lease(server.url(), &key, id, false);
    assert_eq!(server.tell::<u8>(&["EXISTS", &lease_key(id)]), 1, "it holds it still");
    timeout(SOON, vault.lease_refresh(&pool(), id)).await.expect("it lapses").unwrap();
}

#[tokio::test]
async fn a_refresh_whose_holder_died_is_waited_out_and_then_known_to_be_unfinished() {
    let Some(server) = Server::start(&[]) else { return };
    let key = VaultKey::generate();
    let (within, grace) = (Duration::from_millis(300), Duration::from_secs(2));
    let builder = server.builder().present_within(within).grace(grace);
    let vault = sealed(builder.open().await.unwrap(), &key);
    let [id] = put_all(&vault, ["a"]).await;
    die_with_the_lease(server.url(), &key, id, true);
    // As if the engine had lost the lease.
    server.tell::<u8>(&["DEL", &lease_key(id)]);
    let lease = timeout(SOON * 3, vault.lease_refresh(&pool(), id)).await.expect("once").unwrap();
    let note: String =
        server.tell(&["HGET", "tower-credentials:{example/default}:notes", &id.to_string()]);
    let found: u64 = note.rsplit_once(':').unwrap().1.parse().expect("it was found");
    let (seconds, _): (u64, u64) = server.tell(&["TIME"]);
    assert!(seconds * 1000 + 1000 >= found + 2000, "the grace is over");
    let begun = vault.begin_refresh(&pool(), id, Generation::FIRST).await.unwrap();
    assert!(begun.unfinished.is_some());
    drop(lease);
}

#[tokio::test]
async fn a_late_new_secret_ends_the_wait_for_its_holder() {
    let Some(server) = Server::start(&[]) else { return };
    let key = VaultKey::generate();
    let grace = Duration::from_secs(3600);
    let vault = sealed(server.builder().grace(grace).open().await.unwrap(), &key);
    let [id] = put_all(&vault, ["a"]).await;
    die_with_the_lease(server.url(), &key, id, true);
    server.tell::<u8>(&["DEL", &lease_key(id)]);
    let of = pool();
    let mut waiting = pin!(vault.lease_refresh(&of, id));
    assert!(poll_once(waiting.as_mut()).is_pending());
    let late = sealed(server.builder().open().await.unwrap(), &key);
    late.replace_secret(&pool(), id, Generation::FIRST, Secret::api_key("late")).await.unwrap();
    let _lease = timeout(SOON, waiting).await.expect("nothing is left to wait for").unwrap();
    let begun = vault.begin_refresh(&pool(), id, Generation::FIRST).await.unwrap();
    assert_eq!(begun.record.secret.token().expose(), "late");
}

#[tokio::test]
async fn a_refresh_begins_only_if_the_lease_is_still_held_and_prolongs_it() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    let [id] = put_all(&one, ["a"]).await;
    let lease = one.lease_refresh(&pool(), id).await.unwrap();
    let refused = other.begin_refresh(&pool(), id, Generation::FIRST).await;
    assert!(matches!(refused, Err(VaultError::LeaseLost(of)) if of == id), "{refused:?}");
    let begun = one.begin_refresh(&pool(), id, Generation::FIRST).await.unwrap();
    let within = begun.present_within.unwrap().as_millis() as i64;
    assert!(server.tell::<i64>(&["PTTL", &lease_key(id)]) > within, "others get it later");
    server.tell::<u8>(&["DEL", &lease_key(id)]);
    let lost = one.begin_refresh(&pool(), id, Generation::FIRST).await;
    assert!(matches!(lost, Err(VaultError::LeaseLost(of)) if of == id), "{lost:?}");
    drop(lease);
}

#[tokio::test]
async fn the_lease_of_a_host_that_could_not_renew_it_is_lost() {
    let Some(server) = Server::start(&[]) else { return };
    let [vault] = hosts(&server).await;
    let [id] = put_all(&vault, ["a"]).await;
    let _lease = vault.lease_refresh(&pool(), id).await.unwrap();
    server.tell::<()>(&["CLIENT", "PAUSE", "1500"]);
    let begin = async || vault.begin_refresh(&pool(), id, Generation::FIRST).await;
    let lost = once_it_is_back(begin).await;
    assert!(matches!(lost, Err(VaultError::LeaseLost(of)) if of == id), "{lost:?}");
}

#[tokio::test]
async fn a_holder_that_gives_the_lease_back_keeps_nobody_waiting() {
    let Some(server) = Server::start(&[]) else { return };
    let key = VaultKey::generate();
    let grace = Duration::from_secs(3600);
    let open = async || sealed(server.builder().grace(grace).open().await.unwrap(), &key);
    let (one, other) = (open().await, open().await);
    let [id] = put_all(&one, ["a"]).await;
    let lease = one.lease_refresh(&pool(), id).await.unwrap();
    one.begin_refresh(&pool(), id, Generation::FIRST).await.unwrap();
    drop(lease);
    let _lease = timeout(SOON, other.lease_refresh(&pool(), id)).await.expect("at once").unwrap();
    let begun = other.begin_refresh(&pool(), id, Generation::FIRST).await.unwrap();
    assert!(begun.unfinished.is_some(), "nothing tells how it ended");
}

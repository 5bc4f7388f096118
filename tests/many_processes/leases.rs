//! Leases that processes take over from each other, and pools that follow each other.

use std::pin::pin;
use std::time::{Duration, Instant};

use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::VaultExt;
use tower_credentials::{Generation, Pool, Secret, Timestamp};

use super::id;
use crate::children::{eventually, hear_while_working, say};
use crate::shared::{self, Opened, Shared};
use crate::vault_contract::{account, cooled, pool, token};

pub(super) async fn holder() {
    let vault = shared::opened().await;
    let _lease = vault.lease_refresh(&pool(), id()).await.unwrap();
    say("held");
    hear_while_working().await;
    panic!("it was to be killed");
}

pub(super) async fn waiter() {
    let (vault, key, id) = (shared::opened().await, pool(), id());
    let mut lease = pin!(vault.lease_refresh(&key, id));
    let work = async {
        // A process that waits for a lease can do everything else, even with the same credential.
        let other = vault.put(account("other")).await.unwrap().id;
        vault.record(pool(), vec![cooled(id, 5_000, 1, false)]).await.unwrap();
        vault
            .replace_secret(&pool(), id, Generation::FIRST, Secret::api_key("meanwhile"))
            .await
            .unwrap();
        assert_eq!(token(&vault, id).await, "meanwhile");
        vault.move_to(&pool(), other, 0).await.unwrap();
        vault.relabel(&pool(), other, "another").await.unwrap();
        assert_eq!(vault.load_pool(pool()).await.unwrap().credentials.len(), 2);
        drop(vault.lease_refresh(&pool(), other).await.unwrap());
        vault.remove(&pool(), other).await.unwrap();
    };
    tokio::select! {
        biased;
        lease = &mut lease => panic!("another process holds it, and this one got {lease:?}"),
        () = work => say("worked"),
    }
    let lease = lease.await.unwrap();
    say("leased");
    hear_while_working().await;
    drop(lease);
}

#[tokio::test]
async fn a_lease_of_a_killed_process_passes_to_the_next_which_worked_meanwhile() {
    let Some(shared) = Shared::new() else { return };
    let vault = shared.open().await;
    let id = vault.put(account("a")).await.unwrap().id;
    let mut holder = shared.job("holder").set("ID", id.to_string()).start();
    holder.wait_for("held");
    let mut waiter = shared.job("waiter").set("ID", id.to_string()).start();
    waiter.wait_for("worked");

    shared.is_leased_by(&pool(), id, &holder).await;
    holder.kill();
    waiter.wait_for("leased");
    shared.is_leased_by(&pool(), id, &waiter).await;
    waiter.tell("let go");
    waiter.succeed();
    shared.open_impatiently().await.lease_refresh(&pool(), id).await.unwrap();
    assert_eq!(token(&vault, id).await, "meanwhile");
}

/// A pool that picks up what other processes save.
async fn following(vault: Opened) -> Pool {
    let provider = GenericProvider::bearer("example").origin("https://api.example.com").unwrap();
    Pool::builder(provider, vault).open().await.unwrap()
}

pub(super) async fn follower() {
    let pool = following(shared::opened().await).await;
    assert_eq!(pool.status()[0].standing.failures, 0);
    say("open");
    let cooled = eventually("the cooldown is known here", async || {
        let status = pool.status().remove(0);
        (status.standing.failures > 0).then_some(status)
    });
    let until = cooled.await.standing.cooldown(None).unwrap().until.as_millis();
    say(format_args!("cooled until {until}"));
    let renewed = eventually("the new secret is known here", async || {
        let credential = pool.status().remove(0).credential;
        (credential.generation > Generation::FIRST).then_some(credential)
    });
    say(format_args!("renewed {}", renewed.await.generation));
}

#[tokio::test]
async fn what_one_process_saves_is_soon_in_the_pool_of_another() {
    let Some(shared) = Shared::new() else { return };
    let vault = shared.open().await;
    let id = vault.put(account("a")).await.unwrap().id;
    let mut followers: Vec<_> = (0..2).map(|_| shared.job("follower").start()).collect();
    followers.iter_mut().for_each(|follower| follower.wait_for("open"));
    let until = Timestamp::from_millis(4_000_000_000_000).as_millis();
    let saved = Instant::now();
    vault.record(pool(), vec![cooled(id, until, 1, false)]).await.unwrap();
    for follower in &mut followers {
        assert_eq!(follower.wait_for_one_of("cooled until"), until.to_string());
    }
    println!("a cooldown was known after {:?}", saved.elapsed());
    // It looks every 50 ms; the rest is for a busy machine.
    assert!(saved.elapsed() < Duration::from_secs(5), "{:?}", saved.elapsed());
    vault.replace_secret(&pool(), id, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    for mut follower in followers {
        assert_eq!(follower.wait_for_one_of("renewed"), "2");
        follower.succeed();
    }
}

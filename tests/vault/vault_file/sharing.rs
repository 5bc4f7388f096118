//! Several openings of one directory, and their locks and leases.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, SystemTime};

use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{Generation, Secret};

use crate::place::Place;
use crate::vault_contract::{self, PLANTED, account, cooled, order, pool, put_all, token, until};

#[tokio::test]
async fn another_opening_of_the_directory_sees_a_cooldown_by_its_revision() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    let [id] = put_all(&one, ["a"]).await;
    let seen = other.load_pool(pool()).await.unwrap().revision;
    one.record(pool(), vec![cooled(id, 5_000, 1, false)]).await.unwrap();
    assert_ne!(other.revision(pool()).await.unwrap(), seen);
    assert_eq!(until(&other, id).await, Some(5_000));
}

#[tokio::test]
async fn a_revision_is_new_even_if_the_clock_stands_still_or_goes_back() {
    let place = Place::new();
    let vault = place.open().await;
    let [id] = put_all(&vault, ["a"]).await;
    // A time that the clock will not reach during the test.
    let ahead = SystemTime::now() + Duration::from_secs(3600);
    let file = fs::File::options().write(true).open(place.pool()).unwrap();
    file.set_modified(ahead).unwrap();
    let mut seen = vec![vault.revision(pool()).await.unwrap()];
    for generation in 1..10 {
        seen.push(vault.record(pool(), vec![cooled(id, 5, 1, false)]).await.unwrap());
        let expected = Generation::new(generation);
        vault.replace_secret(&pool(), id, expected, Secret::api_key("n")).await.unwrap();
        seen.push(vault.revision(pool()).await.unwrap());
    }
    let different: HashSet<_> = seen.iter().collect();
    assert_eq!(different.len(), seen.len(), "{seen:?}");
}

#[test]
fn however_many_wait_for_the_lock_one_thread_waits_with_them() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(2).build().unwrap();
    runtime.block_on(async {
        let place = Place::new();
        let vault = place.open().await;
        put_all(&vault, ["a"]).await;
        let held = fs::File::options().write(true).open(place.root().join("lock")).unwrap();
        held.lock().unwrap();
        let mut waiting: Vec<_> = (0..10).map(|_| Box::pin(vault.load_pool(pool()))).collect();
        for load in &mut waiting {
            assert!(vault_contract::poll_once(load.as_mut()).is_pending());
        }
        let other = tokio::task::spawn_blocking(|| "done");
        let other = tokio::time::timeout(Duration::from_secs(10), other).await;
        drop(held);
        assert_eq!(other.expect("a thread is free for others").unwrap(), "done");
        for load in waiting {
            assert_eq!(load.await.unwrap().credentials.len(), 1);
        }
    });
}

#[tokio::test]
async fn two_openings_that_change_at_once_lose_nothing() {
    let place = Place::new();
    let vaults = [place.open().await, place.open().await];
    let [id] = put_all(&vaults[0], ["a"]).await;
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let vault = vaults[number % 2].clone();
            tokio::spawn(async move {
                vault.record(pool(), vec![cooled(id, 5, 1, false)]).await.unwrap();
                vault.put(account("more")).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let loaded = vaults[0].load_pool(pool()).await.unwrap();
    assert_eq!(loaded.standings.credentials[&id].failures, 40);
    assert_eq!(loaded.credentials.len(), 41);
    assert_eq!(loaded.standings.order.len(), 41);
    let labels: std::collections::HashSet<_> =
        loaded.credentials.iter().map(|credential| &credential.metadata.label).collect();
    assert_eq!(labels.len(), 41);
}

#[tokio::test]
async fn a_lease_is_held_against_another_opening_of_the_directory() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    let (key, [id]) = (pool(), put_all(&one, ["a"]).await);
    let lease = one.lease_refresh(&key, id).await.unwrap();
    let lock = fs::File::options().write(true).open(place.root().join(format!("leases/{id}.lock")));
    let lock = lock.unwrap();
    assert!(matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)), "it is an OS lock");
    let mut waiting = Box::pin(other.lease_refresh(&key, id));
    assert!(vault_contract::poll_once(waiting.as_mut()).is_pending());
    // A request that waits for a lease holds up nothing else.
    assert_eq!(order(&other).await, ["a"]);
    drop(lease);
    let lease = waiting.await.unwrap();
    assert!(matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)));
    drop(lease);
    lock.lock().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn waiting_for_another_processs_lock_does_not_block_the_runtime() {
    let place = Place::new();
    let vault = place.open().await;
    put_all(&vault, ["a"]).await;
    let held = fs::File::options().write(true).open(place.root().join("lock")).unwrap();
    held.lock().unwrap();
    let mut waiting = Box::pin(vault.load_pool(pool()));
    for _ in 0..100 {
        assert!(vault_contract::poll_once(waiting.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    vault.revision(pool()).await.expect("a revision needs no lock");
    drop(held);
    assert_eq!(waiting.await.unwrap().credentials.len(), 1);
}

#[tokio::test]
async fn a_change_that_has_begun_is_finished_though_its_caller_went_away() {
    let place = Place::new();
    let vault = place.open().await;
    let [id] = put_all(&vault, ["a"]).await;
    let mut abandoned = Box::pin(vault.record(pool(), vec![cooled(id, 5_000, 1, false)]));
    // Nobody holds a lock, so this starts it.
    let _ = vault_contract::poll_once(abandoned.as_mut());
    drop(abandoned);
    // The next outcome queues behind it.
    vault.record(pool(), vec![cooled(id, 4_000, 1, false)]).await.unwrap();
    assert_eq!(until(&vault, id).await, Some(5_000));
}

#[tokio::test]
async fn a_lock_that_is_held_too_long_is_an_error_that_names_file_and_holder() {
    let place = Place::new();
    let builder = FileVault::builder(place.root()).lock_timeout(Duration::from_millis(20));
    let vault = builder.lease_timeout(Duration::from_millis(20)).open(&place.key).await.unwrap();
    let [id] = put_all(&vault, ["a"]).await;
    drop(vault.lease_refresh(&pool(), id).await.unwrap());
    let names = ["lock", "pools/example+default.lock", &format!("leases/{id}.lock")].map(str::to_owned);
    for name in names {
        let path = place.root().join(&name);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.lock().unwrap();
        let error = match &*name {
            "lock" => vault.load_pool(pool()).await.map(drop).unwrap_err(),
            name if name.starts_with("pools") => {
                vault.record(pool(), vec![cooled(id, 5_000, 1, false)]).await.map(drop).unwrap_err()
            }
            _ => vault.lease_refresh(&pool(), id).await.map(drop).unwrap_err(),
        };
        let VaultError::Locked { path: named, holder, .. } = &error else { panic!("{error:?}") };
        assert_eq!(named, &path);
        assert!(error.to_string().contains(&name), "{error}");
        if cfg!(target_os = "linux") {
            assert_eq!(*holder, Some(std::process::id()), "{error}");
        }
        // Requests that do not need the lock go on.
        assert_eq!(token(&vault, id).await, format!("{PLANTED}-a"));
        file.unlock().unwrap();
    }
    assert_eq!(until(&vault, id).await, None, "what could not be recorded has changed nothing");
    vault.record(pool(), vec![cooled(id, 5_000, 1, false)]).await.unwrap();
    assert_eq!(until(&vault, id).await, Some(5_000));
}

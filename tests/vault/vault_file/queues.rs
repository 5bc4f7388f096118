//! Requests that wait for a lock for long: a thread waits for them.

use std::fs::{File, TryLockError};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::{VaultError, VaultExt};

use crate::place::Place;
use crate::vault_contract::{account, cooled, pool, put_all, until};

/// How long a test waits for an event.
const DEADLINE: Duration = Duration::from_secs(60);

impl Place {
    /// Whether one thread of this process waits for the lock.
    fn one_waits(&self, lock: &str) -> bool {
        self.waiting_threads(std::process::id(), lock) == 1
    }
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn requests_of_every_kind_get_a_lock_that_a_thread_has_waited_for() {
    let place = Place::new();
    let vault = place.open().await;
    let [id] = put_all(&vault, ["a"]).await;
    drop(vault.lease_refresh(&pool(), id).await.unwrap());

    let held = place.hold("lock");
    let stored = tokio::spawn({
        let vault = vault.clone();
        async move { vault.put(account("b")).await }
    });
    eventually("a thread waits", || place.one_waits("lock")).await;
    drop(held);
    stored.await.unwrap().unwrap();

    // It takes the vault's lock before the pool's.
    let lock = "pools/example+default.lock";
    let held = place.hold(lock);
    let loaded = tokio::spawn({
        let vault = vault.clone();
        async move { vault.load_pool(pool()).await }
    });
    let recorded = tokio::spawn({
        let vault = vault.clone();
        async move { vault.record(pool(), vec![cooled(id, 5_000, 1, false)]).await }
    });
    eventually("one thread waits for both", || place.one_waits(lock)).await;
    drop(held);
    assert_eq!(loaded.await.unwrap().unwrap().credentials.len(), 2);
    recorded.await.unwrap().unwrap();
    assert_eq!(until(&vault, id).await, Some(5_000));

    let lock = format!("leases/{id}.lock");
    let held = place.hold(&lock);
    let leased = tokio::spawn({
        let vault = vault.clone();
        async move { vault.lease_refresh(&pool(), id).await }
    });
    eventually("a thread waits", || place.one_waits(&lock)).await;
    drop(held);
    let leased = leased.await.unwrap().unwrap();
    let another = File::open(place.root().join(&lock)).unwrap();
    assert!(matches!(another.try_lock(), Err(TryLockError::WouldBlock)), "it is leased");
    drop(leased);
    another.try_lock().unwrap();
}

#[tokio::test]
async fn requests_that_gave_up_leave_one_thread_which_leaves_no_lock() {
    let place = Place::new();
    let builder = FileVault::builder(place.root()).lock_timeout(Duration::from_millis(150));
    let vault = builder.open(&place.key).await.unwrap();
    put_all(&vault, ["a"]).await;
    let lock = place.root().join("lock");
    let held = place.hold("lock");
    for _ in 0..4 {
        let error = vault.load_pool(pool()).await.unwrap_err();
        let VaultError::Locked { path, holder, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*path, lock);
        assert_eq!(*holder, Some(std::process::id()));
        assert!(place.one_waits("lock"));
    }
    drop(held);
    let another = File::open(&lock).unwrap();
    eventually("the thread is gone", || !place.one_waits("lock") && another.try_lock().is_ok()).await;
    another.unlock().unwrap();
    assert_eq!(vault.load_pool(pool()).await.unwrap().credentials.len(), 1);
}

#[test]
fn a_runtime_is_shut_down_though_a_lock_is_waited_for() {
    let place = Place::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let vault = runtime.block_on(async {
        let vault = place.open().await;
        put_all(&vault, ["a"]).await;
        vault
    });
    let held = place.hold("lock");
    let waits = vault.clone();
    runtime.spawn(async move { waits.put(account("b")).await });
    runtime.block_on(eventually("a thread waits", || place.one_waits("lock")));
    let (ended, has_ended) = mpsc::channel();
    std::thread::spawn(move || {
        drop(runtime);
        ended.send(()).unwrap();
    });
    has_ended.recv_timeout(DEADLINE).expect("the runtime waits for no lock");
    drop(held);
    // The vault is as it was, and its lock is free.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let loaded = runtime.block_on(async { place.open().await.load_pool(pool()).await });
    assert_eq!(loaded.unwrap().credentials.len(), 1);
}

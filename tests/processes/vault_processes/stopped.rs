//! A process that is stopped while it waits for a lock.

use std::fs;

use tower_credentials::vault::VaultExt;

use crate::children::eventually;
use crate::place::Place;
use crate::vault_contract::{account, pool};

/// Whether every thread of a process is stopped.
fn is_stopped(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // proc_pid_stat(5): the state comes after the name, which is in parentheses.
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    })
}

#[tokio::test]
async fn a_process_that_is_stopped_while_it_waits_for_a_lock_keeps_nobody_out() {
    let place = Place::new();
    let mut child = place.job("keeper").start();
    child.wait_for_one_of("open ");
    let vault = place.open().await;
    let held = place.hold("lock");
    child.tell("load");
    let is_queued = async || (place.waiting_threads(child.id(), "lock") == 1).then_some(());
    eventually("a thread waits", is_queued).await;
    child.signal("STOP");
    eventually("it is stopped", async || is_stopped(child.id()).then_some(())).await;
    drop(held);
    for _ in 0..3 {
        vault.put(account("more")).await.unwrap();
    }
    child.signal("CONT");
    child.wait_for("ok 4");
    assert_eq!(vault.load_pool(pool()).await.unwrap().credentials.len(), 4);
}

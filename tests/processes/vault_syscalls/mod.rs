//! A process that is killed at any system call leaves a vault that is as before its change, or as after it.
//!
//! strace kills the child when it enters the system call, so everything before that call is done, and nothing of the
//! call itself. First the child runs to the end, which shows the calls that it makes; then it runs once for each of
//! them.
//!
//! If strace is missing, nothing is tested, and a message says so; if the tests are to be thorough, it is an error.
//! Otherwise the tests try one in four of the calls of each kind.

#![cfg(target_os = "linux")]

mod before;
mod deed;
mod strace;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::task::spawn_blocking;
use tower_credentials::standing::Outcome;
use tower_credentials::{Credential, CredentialId, Secret};

use crate::children::{self, Job, say};
use crate::thorough::is_thorough;
use crate::vault_contract::{cooled, pool};

use before::Before;
use deed::{DEEDS, Deed, do_it, get_ahead};
use strace::has_strace;

/// A path that only the child looks at, when its change begins.
const MARKER: &str = "/tower-credentials-begin";

/// The number of calls from which on only some of those that only look are tried: each is like the one before.
const MANY: usize = 100;

const LOOKS: [&str; 10] = [
    "read",
    "statx",
    "newfstatat",
    "stat",
    "lstat",
    "fstat",
    "lseek",
    "close",
    "getdents",
    "getdents64",
];

fn account(label: &str, secret: &str) -> Credential {
    Credential::new(pool(), label, Secret::api_key(secret))
}

fn failed(id: CredentialId) -> Outcome {
    cooled(id, 5_000, 1, false)
}

/// A child of this module.
fn job(name: &str) -> Job {
    Job::new(module_path!(), name)
}

#[test]
fn a_child_does_its_job() {
    let Some(job) = children::job() else { return };
    let deed = DEEDS.into_iter().find(|deed| format!("{deed:?}") == job).expect("a deed");
    // One thread does all file work, so its calls come in one order.
    children::on_two_threads(async {
        spawn_blocking(get_ahead).await.unwrap();
        do_it(deed).await;
        say("acknowledged");
        // Work that was left for later was queued before this.
        spawn_blocking(|| ()).await.unwrap();
    });
}

fn survives_a_kill_at_any_call(deeds: &[Deed]) {
    if !has_strace() {
        return;
    }
    for deed in deeds {
        let begin = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let before = runtime.block_on(Before::prepare(*deed));
        let mut calls = before.calls();
        if calls.len() > MANY {
            let mut looks = 0..;
            calls.retain(|(call, _)| !LOOKS.contains(&&**call) || looks.next().unwrap() % 3 == 0);
        }
        if !is_thorough() {
            let mut of_each = HashMap::<_, usize>::new();
            calls.retain(|(call, _)| {
                let number = of_each.entry(call.clone()).or_default();
                *number += 1;
                *number % 4 == 1
            });
        }
        let (next, kills) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let wrong = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Some((call, number)) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let (is_killed, checked) = before.kill_at(call, *number);
                        kills.fetch_add(usize::from(is_killed), Ordering::Relaxed);
                        if let Err(reason) = checked {
                            let at = calls.iter().position(|known| known == &(call.clone(), *number));
                            let at = at.unwrap_or_default();
                            wrong.lock().unwrap().push(format!("call {at}, {call} {number}: {reason}"));
                        }
                    }
                });
            }
        });
        let kills = kills.into_inner();
        println!("{deed:?}: {kills} kills at {} calls, in {:?}", calls.len(), begin.elapsed());
        let wrong = wrong.into_inner().unwrap();
        assert!(wrong.is_empty(), "{deed:?}: {}", wrong.join("\n"));
        assert!(kills > 5 && kills * 10 >= calls.len() * 9, "{kills} kills at {} calls", calls.len());
    }
}

#[test]
fn a_put_that_is_killed_at_any_call_is_done_or_not() {
    survives_a_kill_at_any_call(&[Deed::Put]);
}

#[test]
fn a_swap_that_is_killed_at_any_call_is_done_or_not() {
    survives_a_kill_at_any_call(&[Deed::Swap]);
}

#[test]
fn an_outcome_that_is_killed_at_any_call_is_counted_or_not() {
    survives_a_kill_at_any_call(&[Deed::Outcome]);
}

#[test]
fn a_log_whose_compaction_is_killed_at_any_call_is_whole() {
    survives_a_kill_at_any_call(&[Deed::Compaction]);
}

#[test]
fn a_new_label_whose_storing_is_killed_at_any_call_is_nobody_elses() {
    survives_a_kill_at_any_call(&[Deed::Relabel]);
}

#[test]
fn a_move_or_a_removal_that_is_killed_at_any_call_is_done_or_not() {
    survives_a_kill_at_any_call(&[Deed::Move, Deed::Remove]);
}

#[test]
fn a_resealing_that_is_killed_at_any_call_is_resumed() {
    survives_a_kill_at_any_call(&[Deed::Reseal]);
}

#[test]
fn a_first_run_that_is_killed_at_any_call_can_be_repeated() {
    survives_a_kill_at_any_call(&[Deed::FirstRun]);
}

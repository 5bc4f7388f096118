//! One history, many processes: no line is torn, each is there once, and nothing grows without bound.

#![cfg(unix)]

use std::collections::HashMap;
use std::fs;

use tower_credentials::events::{Account, Event, EventKind};
use tower_credentials::history::History;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;
use tower_credentials::{Clock, Credential, PoolKey, Secret};

use crate::children::{self, Job, hear, say, setting};
use crate::place::Place;

/// How many bytes are kept, so that files begin and end all the time.
const MOST: u64 = 256 << 10;

/// How many entries a process writes.
const ENTRIES: u64 = 1_500;

const PROCESSES: usize = 8;

async fn history(vault: &FileVault) -> (History, Account) {
    let account = (&vault.list().await.unwrap().credentials[0]).into();
    (vault.history().max_bytes(MOST), account)
}

/// What the children of the other tests are.
#[test]
fn a_child_does_its_job() {
    let Some(job) = children::job() else { return };
    assert_eq!(job, "writer");
    children::on_two_threads(writer());
}

/// Writes entries with growing numbers, a few at a time.
async fn writer() {
    let (history, account) = history(&children::vault().await).await;
    let entries = setting("ENTRIES").unwrap().parse().unwrap();
    say("ready");
    hear();
    let mut number = 0;
    while number < entries {
        let some = (number..entries).take(1 + number as usize % 5).map(|number| {
            let kind = EventKind::Answered {
                account: account.clone(),
                status: http::StatusCode::OK,
                requests: number,
            };
            Event::new(Clock::system().now(), kind)
        });
        let some: Vec<_> = some.collect();
        number += some.len() as u64;
        history.append(some).await.unwrap();
    }
    say("done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_eight_processes_at_once_some_of_which_are_killed_no_line_is_torn_or_told_twice() {
    let place = Place::new();
    let vault = place.open().await;
    vault.put(Credential::new(PoolKey::new("example"), "a", Secret::api_key("k"))).await.unwrap();
    let (history, _) = history(&vault).await;
    let is_killed = |child: usize| child.is_multiple_of(3);
    let mut writers: Vec<_> = (0..PROCESSES)
        .map(|child| {
            // Those that are killed would never end by themselves.
            let entries = if is_killed(child) { u64::MAX } else { ENTRIES };
            let job = Job::new(module_path!(), "writer").vault(&place.root(), &place.key);
            job.set("ENTRIES", entries.to_string()).start()
        })
        .collect();
    writers.iter_mut().for_each(|writer| writer.wait_for("ready"));
    let mut follower = history.follow();
    let following = tokio::spawn(async move {
        let mut last = HashMap::<u32, u64>::new();
        loop {
            let entry = follower.next().await.unwrap();
            let (process, event) = (entry.process, entry.event);
            let EventKind::Answered { requests, .. } = event.kind else {
                return (last, process);
            };
            let before = last.insert(process, requests);
            assert!(
                before.is_none_or(|before| before < requests),
                "{process}: {before:?} and {requests}"
            );
        }
    });
    writers.iter_mut().for_each(|writer| writer.tell("go"));
    let mut ended = Vec::new();
    for (child, mut writer) in writers.into_iter().enumerate() {
        if is_killed(child) {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            writer.kill();
        } else {
            ended.push(writer.id());
            tokio::task::spawn_blocking(move || drop(writer.succeed())).await.unwrap();
        }
        assert!(size(&place) <= MOST, "{} bytes", size(&place));
    }
    let end = EventKind::Lost { events: 0 };
    history.append([Event::new(Clock::system().now(), end)]).await.unwrap();
    let (last, process) = following.await.unwrap();
    assert_eq!(process, std::process::id(), "the end comes last");
    for process in ended {
        assert!(last.contains_key(&process), "nothing of {process}");
    }
    // What is kept is whole: but for what a killed process has begun, each line can be read.
    let entries = history.read().await.unwrap();
    assert_eq!(entries.last().unwrap().process, std::process::id());
    let lines: usize = text(&place).lines().count();
    assert!(!entries.is_empty() && lines - entries.len() <= PROCESSES, "{} of {lines}", entries.len());
}

fn files(place: &Place) -> impl Iterator<Item = std::path::PathBuf> {
    let entries = fs::read_dir(place.root().join("history")).unwrap();
    entries.map(|entry| entry.unwrap().path())
}

fn size(place: &Place) -> u64 {
    // One may be removed meanwhile.
    files(place).filter_map(|path| Some(path.metadata().ok()?.len())).sum()
}

fn text(place: &Place) -> String {
    files(place).map(|path| fs::read_to_string(path).unwrap()).collect()
}

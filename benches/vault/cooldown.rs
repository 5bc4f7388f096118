//! A cooldown recorded in a vault, beside files written by hand.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tower_credentials::vault::VaultExt;

use crate::by_hand::replace;
use crate::place::{Place, cooled};
use crate::support::key;
use crate::table::Table;
use crate::timing::{Runtimes, blocking, task, timed};

pub(crate) const RECORDED: &str = "recorded, many threads";

/// Replaces the pool's file.
fn rename_by_hand(path: &Path, bytes: &[u8]) {
    replace(path, bytes, false, false);
}

/// Appends a line to an open log, under a lock.
fn append_by_hand(mut log: &File, line: &[u8]) {
    log.lock().expect("a lock");
    log.write_all(line).expect("a file that can be written");
    log.unlock().expect("a lock");
}

pub(crate) fn table(runtimes: &Runtimes) -> Table {
    let mut table = Table::new("cooldown of one of four accounts", 301, 20);
    let place = Rc::new(Place::new(&runtimes.many));
    let pool = place.root().join("pools/example+default.log");
    let ids = place.fill(&runtimes.many, 4);
    let snapshot = Rc::new(fs::read(&pool).expect("a log"));
    let line = serde_json::to_vec(&cooled(ids[0])).expect("an outcome in JSON");
    let bare = place.directory.path().join("bare");
    let log = || OpenOptions::new().append(true).create(true).open(bare.with_extension("log"));
    let log = Arc::new(log().expect("a log"));

    table.beside("temporary file and rename, in place", {
        let (snapshot, bare) = (snapshot.clone(), bare.clone());
        move |times| timed(|| (0..times).for_each(|_| rename_by_hand(&bare, &snapshot)))
    });
    table.case("flock and append, in place", {
        let (log, line) = (log.clone(), line.clone());
        move |times| timed(|| (0..times).for_each(|_| append_by_hand(&log, &line)))
    });
    for (runtime, names) in [
        (
            &runtimes.one,
            [
                "temporary file and rename, spawn_blocking, one thread",
                "flock and append, spawn_blocking, one thread",
                "recorded, one thread",
            ],
        ),
        (
            &runtimes.many,
            [
                "temporary file and rename, spawn_blocking, many",
                "flock and append, spawn_blocking, many",
                RECORDED,
            ],
        ),
    ] {
        table.beside(names[0], {
            let (runtime, snapshot, bare) = (runtime.clone(), snapshot.to_vec(), bare.clone());
            move |times| {
                let (snapshot, bare) = (snapshot.clone(), bare.clone());
                blocking(&runtime, times, move || rename_by_hand(&bare, &snapshot))
            }
        });
        table.case(names[1], {
            let (runtime, log, line) = (runtime.clone(), log.clone(), line.clone());
            move |times| {
                let (log, line) = (log.clone(), line.clone());
                blocking(&runtime, times, move || append_by_hand(&log, &line))
            }
        });
        table.case(names[2], {
            let (runtime, place, ids) = (runtime.clone(), place.clone(), ids.clone());
            move |times| {
                let vault = place.vault.clone();
                let outcomes = (0..times as usize).map(|turn| vec![cooled(ids[turn % 4])]);
                let outcomes: Vec<_> = outcomes.collect();
                task(&runtime, async move {
                    let start = Instant::now();
                    for outcomes in outcomes {
                        vault.record(key(), outcomes).await.expect("a vault that records");
                    }
                    start.elapsed()
                })
            }
        });
    }
    table
}

//! What the program records in the vault's history. A signal drops a command in the middle, so the command can't hold it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tower_credentials::Pool;
use tower_credentials::events::{Event, EventKind};
use tower_credentials::history::{History, Recording};

use crate::time::now;

/// How long the end of the program waits for the disk.
const PATIENCE: Duration = Duration::from_secs(2);

struct Recorder {
    /// The history of the vault that is open, if it is recorded.
    history: Option<History>,
    pools: Vec<Recording>,
    /// What a person has done.
    done: Vec<Event>,
}

fn recorder() -> MutexGuard<'static, Recorder> {
    static RECORDER: Mutex<Recorder> =
        Mutex::new(Recorder { history: None, pools: Vec::new(), done: Vec::new() });
    RECORDER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records from now on, if it is recorded at all.
pub(crate) fn begin(history: Option<History>) {
    recorder().history = history;
}

/// Records what a pool does.
pub(crate) fn follow(pool: &Pool) {
    let mut recorder = recorder();
    let recording = recorder.history.as_ref().map(|history| history.record(pool));
    recorder.pools.extend(recording);
}

/// Records what a person has done to an account. It is written at the end, or by [`write()`].
pub(crate) fn done(kind: EventKind) {
    recorder().done.push(Event::new(now(), kind));
}

/// Writes what a person has done so far, for a program that goes on.
#[cfg(feature = "tui")]
pub(crate) async fn write() {
    let (history, done) = {
        let mut recorder = recorder();
        (recorder.history.clone(), std::mem::take(&mut recorder.done))
    };
    if let Some(history) = history {
        append(&history, done).await;
    }
}

async fn append(history: &History, done: Vec<Event>) {
    if let Err(error) = history.append(done).await {
        tracing::info!(%error, "the history could not be written");
    }
}

/// Writes everything. The history is not worth a failure: the command has done what was asked for.
pub(crate) async fn close() {
    let (history, pools, done) = {
        let mut recorder = recorder();
        (
            recorder.history.take(),
            std::mem::take(&mut recorder.pools),
            std::mem::take(&mut recorder.done),
        )
    };
    let Some(history) = history else { return };
    let writing = async {
        for recording in pools {
            recording.close().await;
        }
        append(&history, done).await;
    };
    let _ = tokio::time::timeout(PATIENCE, writing).await;
}

//! What has happened to a vault's accounts: lines of JSON in the vault's directory, which all processes share.
//!
//! ```text
//! history/000012-1795905224.jsonl   a part of it: its number, and when it was begun, in seconds since the Unix epoch
//! history/write.lock                locked while a part is written to, begun or removed
//! ```
//!
//! Each line is an [`Entry`]: an [`Event`], and the process that has written it. No line contains a
//! secret. Of events that happen with each request few are kept: an [attempt](EventKind::Attempt) becomes an
//! [answer](EventKind::Answered), at most one each minute for each account and status, which says how many there were.
//! [What is left](EventKind::Allowance) and that something was [saved](EventKind::Saved) are not kept at all.
//!
//! The history is bounded: 4 MiB and 30 days, if nothing else is [set](History::max_bytes). The oldest part is removed
//! when a new one is begun.
//!
//! It is written by a task of its own, which no request waits for. If the disk is too slow, or full, events are lost, and
//! a line says [how many](EventKind::Lost). It is not synced: it outlives a killed process, but not always a power cut. A
//! line that was cut off is passed over by readers.
//!
//! ```no_run
//! use tower_credentials::provider::GenericProvider;
//! use tower_credentials::vault::file::FileVault;
//! use tower_credentials::vault::key::FileKey;
//! use tower_credentials::{BoxError, Pool};
//!
//! # async fn run() -> Result<(), BoxError> {
//! let vault = FileVault::open_from("/home/me/vault", FileKey::new("/home/me/vault.key")).await?;
//! let history = vault.history();
//! let provider = GenericProvider::bearer("example").origin("https://api.example.com")?;
//! let pool = Pool::builder(provider, vault).open().await?;
//! let recording = history.record(&pool);
//! // … requests …
//! recording.close().await;
//! for entry in history.read().await? {
//!     println!("{}: {:?}", entry.event.at, entry.event.kind);
//! }
//! # Ok(())
//! # }
//! ```

mod digest;
mod files;
mod line;
mod reader;
mod recording;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::events::{Event, EventKind};
use crate::pool::Pool;
use crate::vault::VaultError;

use files::{Files, Limits};
use reader::Cursor;

pub(crate) use files::{DIRECTORY, forget, is_file};
pub use reader::Follower;
pub use recording::Recording;

/// A vault's history: see [the module](self). Cheap to clone. From
/// [`FileVault::history`](crate::vault::file::FileVault::history).
#[derive(Clone, Debug)]
pub struct History {
    files: Arc<Files>,
}

/// A line of a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// What has happened. Requests are numbered by each pool of each process anew.
    #[serde(flatten)]
    pub event: Event,
    /// The id of the process that has written it.
    pub process: u32,
}

impl History {
    /// Returns the history in this vault's directory. Makes nothing, and needs no key.
    pub fn of(vault: impl AsRef<Path>) -> Self {
        Self { files: Arc::new(Files::of(vault.as_ref(), Limits::default())) }
    }

    /// Sets how many bytes are kept at most. Defaults to 4 MiB, and is at least 64 KiB. A write by a process with another
    /// limit may keep more or less.
    #[must_use]
    pub fn max_bytes(self, bytes: u64) -> Self {
        let limits = Limits { bytes, ..self.files.limits };
        Self { files: Arc::new(self.files.with(limits)) }
    }

    /// Sets how long entries are kept at most. Defaults to 30 days. They are removed when something is written.
    #[must_use]
    pub fn max_age(self, age: Duration) -> Self {
        let limits = Limits { age, ..self.files.limits };
        Self { files: Arc::new(self.files.with(limits)) }
    }

    /// Records a pool's events from now on, until the [`Recording`] is closed, or the pool and its clones are dropped. Must
    /// be called within a tokio runtime with time enabled.
    pub fn record(&self, pool: &Pool) -> Recording {
        Recording::begin(self.files.clone(), pool)
    }

    /// Appends events that are no pool's, such as what a person has done to accounts. Waits for other writers, up to a
    /// second.
    ///
    /// # Errors
    /// If they can't be written. Some of them may have been.
    pub async fn append(&self, events: impl IntoIterator<Item = Event>) -> Result<(), VaultError> {
        let lines: Vec<_> = events.into_iter().filter_map(line::of).collect();
        files::append(&self.files, lines.concat()).await
    }

    /// Reads all entries, the oldest first. Lines that can't be read are passed over.
    ///
    /// # Errors
    /// If a file can't be read.
    pub async fn read(&self) -> Result<Vec<Entry>, VaultError> {
        Ok(Cursor::default().advance(&self.files).await?.1)
    }

    /// Reads all entries, the oldest first, and then waits for more.
    pub fn follow(&self) -> Follower {
        Follower::new(self.files.clone())
    }
}

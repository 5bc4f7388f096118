//! Reading the lines in their order, across the files.

use std::collections::VecDeque;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::files::{self, Files};
use super::{Entry, line};
use crate::vault::VaultError;
use crate::vault::disk;

/// How often a reader that waits looks for new lines. A look reads the names of a few files.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How far the files were read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    /// The file's number; those before it were read.
    number: u64,
    /// The end of the last whole line that was read.
    offset: u64,
}

impl Cursor {
    /// Returns the lines from here on, and where they end.
    pub(super) async fn advance(self, files: &Arc<Files>) -> Result<(Self, Vec<Entry>), VaultError> {
        let work = {
            let files = files.clone();
            spawn_blocking(move || self.read(&files))
        };
        files::finished(files, work.await)?
    }

    fn read(mut self, files: &Files) -> Result<(Self, Vec<Entry>), VaultError> {
        let mut entries = Vec::new();
        // Listed before they are read: nothing is appended to a file any more once there is a later one.
        for file in files.list()? {
            if file.number < self.number {
                continue;
            }
            if file.number > self.number {
                self = Self { number: file.number, offset: 0 };
            }
            let path = files.path(&file);
            // It may have been removed meanwhile.
            let Some((mut opened, metadata)) = disk::open_plain(&path)? else { continue };
            if metadata.len() <= self.offset {
                continue;
            }
            let mut bytes = Vec::new();
            let read = opened.seek(SeekFrom::Start(self.offset));
            read.and_then(|_| opened.take(metadata.len() - self.offset).read_to_end(&mut bytes))
                .map_err(disk::failed("read", &path))?;
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                // Somebody is writing the rest, or was killed: then the next writer ends it.
                let Some(whole) = line.strip_suffix(b"\n") else { break };
                self.offset += line.len() as u64;
                entries.extend(line::read(whole));
            }
        }
        Ok((self, entries))
    }
}

/// The entries of a history, from the oldest one on, as they come: see [`History::follow`](super::History::follow).
#[derive(Debug)]
pub struct Follower {
    files: Arc<Files>,
    cursor: Cursor,
    read: VecDeque<Entry>,
}

impl Follower {
    pub(super) fn new(files: Arc<Files>) -> Self {
        Self { files, cursor: Cursor::default(), read: VecDeque::new() }
    }

    /// Returns the entries that were written since the last one that was returned, the oldest first. Does not wait for any.
    /// Cancel safe, as [`next`](Self::next) is.
    ///
    /// # Errors
    /// If a file can't be read. Another call tries again.
    pub async fn read(&mut self) -> Result<Vec<Entry>, VaultError> {
        self.advance().await?;
        Ok(self.read.drain(..).collect())
    }

    /// Returns the next entry, and waits for it. An entry that was written appears within a quarter of a second, unless
    /// writers are so fast that its file is removed before. Cancel safe: no entry is lost if this is dropped.
    ///
    /// # Errors
    /// If a file can't be read. Another call tries again.
    pub async fn next(&mut self) -> Result<Entry, VaultError> {
        loop {
            if let Some(entry) = self.read.pop_front() {
                return Ok(entry);
            }
            self.advance().await?;
            if self.read.is_empty() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    async fn advance(&mut self) -> Result<(), VaultError> {
        let (cursor, entries) = self.cursor.advance(&self.files).await?;
        self.cursor = cursor;
        self.read.extend(entries);
        Ok(())
    }
}

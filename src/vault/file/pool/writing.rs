//! Appending to a pool's log, and compacting it.

use std::io;

use super::{Log, Pool, Trouble};
use crate::vault::VaultError;
use crate::vault::disk::{self, FileId, ops};
use crate::vault::file::log::{Entry, Line};

/// The minimum length of a log that is compacted, in bytes, and how many times longer than its snapshot it must be.
const COMPACT: (u64, u64) = (64 * 1024, 8);

impl Pool {
    /// Appends the entries to the log: all of them, or none if that fails. They outlive a killed process, and also a
    /// power cut once the system has written them back. The caller must hold the lock and have read the latest state.
    pub(in crate::vault::file) fn append(
        &mut self,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<(), VaultError> {
        let mut lines = Vec::new();
        let mut bytes = Vec::new();
        self.make_ready(&mut bytes)?;
        let mut sequence = self.state.sequence;
        for entry in entries {
            // A number only has to differ from the one before, so a file with the highest number stops nothing.
            sequence = sequence.wrapping_add(1);
            let line = Line { sequence, entry };
            line.write_to(&mut bytes)
                .map_err(|error| disk::failed("write", &self.path)(error.into()))?;
            lines.push(line);
        }
        let Some(log) = &mut self.log else { return Ok(()) };
        if let Err(error) = ops::write(&log.file, &self.path, &bytes) {
            // If this fails, too, the next process that appends cuts it off.
            let _ = ops::truncate(&log.file, &self.path, log.length);
            return Err(disk::failed("write", &self.path)(error));
        }
        if log.length == 0 {
            log.snapshot = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0) as u64;
        }
        log.length += bytes.len() as u64;
        for line in lines {
            self.apply(line);
        }
        Ok(())
    }

    /// Makes sure that there is a log to append to, and that it ends with a good line. A new log's first line goes into
    /// `bytes`.
    fn make_ready(&mut self, bytes: &mut Vec<u8>) -> Result<(), VaultError> {
        match &self.trouble {
            Some(Trouble::Newer) => {
                return Err(self.damage().map_or(VaultError::UnexpectedResponse, VaultError::Damaged));
            }
            Some(Trouble::Foreign | Trouble::OtherPool(_)) => {
                disk::set_aside(&self.path)?;
                self.log = None;
                self.trouble = None;
            }
            Some(Trouble::Lines(_) | Trouble::Old(_)) | None => {}
        }
        let failed = |action| disk::failed(action, &self.path);
        match &mut self.log {
            Some(log) => {
                if !log.can_append {
                    log.file = ops::open_append(&self.path).map_err(failed("write"))?;
                    log.can_append = true;
                }
                let metadata = ops::file_metadata(&log.file, &self.path).map_err(failed("read"))?;
                if metadata.len() > log.length {
                    ops::truncate(&log.file, &self.path, log.length)
                        .map_err(failed("cut the torn end off"))?;
                }
            }
            None => {
                let file = ops::create_new(&self.path).map_err(failed("create"))?;
                disk::pass_on(&file, &self.path);
                ops::set_mode(&self.path, 0o600).map_err(failed("set the mode of"))?;
                let metadata = ops::file_metadata(&file, &self.path).map_err(failed("read"))?;
                let id = FileId::of(&metadata);
                let begins_at = Some(self.revision());
                self.log = Some(Log { file, id, length: 0, snapshot: 0, begins_at, can_append: true });
            }
        }
        if self.log.as_ref().is_some_and(|log| log.length == 0) {
            self.write_snapshot(bytes)?;
        }
        Ok(())
    }

    fn write_snapshot(&self, bytes: &mut Vec<u8>) -> Result<(), VaultError> {
        let line = self.state.snapshot(&self.key);
        line.write_to(bytes).map_err(|error| disk::failed("write", &self.path)(error.into()))
    }

    /// Whether the log is long enough to be worth rewriting.
    pub(in crate::vault::file) fn is_long(&self) -> bool {
        let is_long = |log: &Log| log.length > COMPACT.0.max(log.snapshot * COMPACT.1);
        self.log.as_ref().is_some_and(is_long)
    }

    /// Rewrites the log as one snapshot, durably. A damaged log is kept under another name. The caller must hold the
    /// lock and have read the latest state, and must also hold the vault's lock, since this makes a temporary file.
    pub(in crate::vault::file) fn compact(&mut self) -> Result<(), VaultError> {
        match &self.trouble {
            Some(Trouble::Lines(_)) => disk::keep_copy(&self.path)?,
            Some(_) => return Ok(()),
            None => {}
        }
        let mut bytes = Vec::new();
        self.write_snapshot(&mut bytes)?;
        disk::Temporary::write(&self.path, &bytes)?.replace(&self.path)?;
        // What version 1 has left no longer matters.
        match ops::remove(&self.old_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(disk::failed("remove", &self.old_path())(error));
            }
            _ => {}
        }
        self.read_anew()
    }
}

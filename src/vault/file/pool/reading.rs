//! Reading a pool's log, from its beginning or on.

use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::state::{Member, State};
use super::{Log, Pool, STANDINGS, Trouble};
use crate::credential::PoolKey;
use crate::standing::Standings;
use crate::vault::disk::{self, FileId, ops};
use crate::vault::file::log::{self, Entry, FORMAT, Line, Lines, Snapshot};
use crate::vault::file::record::{Versioned, WayOut, read_json};
use crate::vault::recent::RecentChanges;
use crate::vault::{Damage, Revision, VaultError};

/// The maximum number of bytes that are read at once. A log is compacted long before.
const MAX_LEN: u64 = 1 << 28;

impl Pool {
    /// Reads what was written since the last time; if nothing was, this only looks at the file. Needs no lock: a line
    /// that is being written is left for the next time.
    pub(in crate::vault::file) fn refresh(&mut self) -> Result<(), VaultError> {
        let metadata = match ops::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.log.is_some() || self.state.sequence == 0 {
                    self.begin_without_log()?;
                }
                return Ok(());
            }
            Err(error) => return Err(disk::failed("read", &self.path)(error)),
        };
        match &mut self.log {
            Some(log) if log.id == FileId::of(&metadata) && metadata.len() >= log.length => {
                if metadata.len() > log.length {
                    self.read_on()?;
                }
                Ok(())
            }
            _ => self.read_anew(),
        }
    }

    /// Starts with what version 1 has left, if anything.
    fn begin_without_log(&mut self) -> Result<(), VaultError> {
        // It may be readable the next time; nothing starts until then.
        let (state, trouble) = self.begun()?;
        self.reset();
        (self.state, self.trouble) = (state, trouble);
        Ok(())
    }

    /// Returns the pool's state if there is no line of a log, and what of it cannot be read.
    fn begun(&self) -> Result<(State, Option<Trouble>), VaultError> {
        #[derive(Deserialize)]
        struct Old {
            version: u32,
            pool: PoolKey,
            standings: Standings,
        }
        impl Versioned for Old {
            fn version(&self) -> u32 {
                self.version
            }
        }
        let mut state = State { sequence: first_sequence(), ..State::default() };
        let path = self.old_path();
        let way_out = format!("remove it: {STANDINGS} then begin again");
        let trouble = match read_json::<Old>(&path, WayOut::Of(&way_out)) {
            Ok(Some(old)) if old.pool == self.key => {
                state.members = old.standings.order.iter().map(|id| (*id, Member::default())).collect();
                state.standings = old.standings;
                None
            }
            Ok(Some(old)) => {
                let reason = format!("it is the file of the pool {}; {way_out}", old.pool);
                Some(Trouble::Old(Damage::new(path.display().to_string(), reason)))
            }
            Ok(None) => None,
            Err(VaultError::Damaged(damage)) => Some(Trouble::Old(damage)),
            Err(error) => return Err(error),
        };
        Ok((state, trouble))
    }

    pub(super) fn old_path(&self) -> PathBuf {
        self.path.with_extension("json")
    }

    fn reset(&mut self) {
        self.state = State::default();
        self.log = None;
        self.trouble = None;
        self.recent = RecentChanges::default();
        self.is_reconciled = false;
    }

    /// Reads the log from its beginning: it is another file. A compacted log goes on from the state before.
    pub(super) fn read_anew(&mut self) -> Result<(), VaultError> {
        let (revision, mut recent) = (self.revision(), std::mem::take(&mut self.recent));
        self.read_file()?;
        let goes_on = self.log.as_ref().is_some_and(|log| log.begins_at == Some(revision));
        // If more has changed since then than is kept, the changes before are of no use.
        if goes_on && self.recent.oldest().map_or(self.revision() == revision, |first| first == revision)
        {
            recent.append(std::mem::take(&mut self.recent));
            self.recent = recent;
        }
        Ok(())
    }

    fn read_file(&mut self) -> Result<(), VaultError> {
        let (file, can_append) = match ops::open_append(&self.path) {
            Ok(file) => (file, true),
            // It may still be readable; a process that wants to change it is told why it cannot.
            Err(_) => match disk::open_plain(&self.path)? {
                Some((file, _)) => (file, false),
                None => return self.begin_without_log(),
            },
        };
        let metadata =
            ops::file_metadata(&file, &self.path).map_err(disk::failed("read", &self.path))?;
        disk::check_plain(&self.path, &metadata)?;
        self.reset();
        let id = FileId::of(&metadata);
        self.log = Some(Log { file, id, length: 0, snapshot: 0, begins_at: None, can_append });
        let read = self.read_first();
        if read.is_err() {
            // Next time it is read from its beginning, even if it is empty.
            self.log = None;
        }
        read
    }

    /// Reads a log of which nothing was read yet.
    fn read_first(&mut self) -> Result<(), VaultError> {
        self.read_on()?;
        if self.trouble.is_some() {
            if self.state.sequence == 0 {
                // Nothing of it can be read, which is a change, too.
                self.state.sequence = first_sequence();
            }
        } else if self.log.as_ref().is_some_and(|log| log.length == 0) {
            // Its maker did not finish the first line.
            (self.state, self.trouble) = self.begun()?;
        }
        Ok(())
    }

    /// Reads on from where the last read ended.
    fn read_on(&mut self) -> Result<(), VaultError> {
        use io::Seek;
        let Some(log) = &mut self.log else { return Ok(()) };
        let failed = || disk::failed("read", &self.path);
        let is_first = log.length == 0;
        log.file.seek(io::SeekFrom::Start(log.length)).map_err(failed())?;
        let mut bytes = Vec::new();
        ops::read(&log.file, &self.path, MAX_LEN, &mut bytes).map_err(failed())?;
        if bytes.len() as u64 == MAX_LEN {
            return Err(disk::damaged(&self.path, "it is too long to be a log; move it away"));
        }
        let read = Lines::read(&bytes);
        if is_first && read.is_newer || matches!(self.trouble, Some(Trouble::Newer)) {
            // It has changed, whatever its lines say, including those that could be read here.
            self.trouble = Some(Trouble::Newer);
            log.length += bytes.len() as u64;
            self.state.sequence = first_sequence().max(self.state.sequence.wrapping_add(1));
            return Ok(());
        }
        log.length += read.length as u64;
        if is_first && !matches!(read.lines.first(), Some(Line { entry: Entry::Snapshot(_), .. })) {
            self.trouble = match read.lines.is_empty() {
                // Its writer has died meanwhile.
                true if log::is_begun(&bytes) => None,
                true => Some(Trouble::Foreign),
                // The snapshot is damaged.
                false => None,
            };
        }
        if read.damaged > 0 {
            let before = if let Some(Trouble::Lines(before)) = self.trouble { before } else { 0 };
            self.trouble = Some(Trouble::Lines(before + read.damaged));
        }
        for line in read.lines {
            if let Entry::Snapshot(Snapshot { pool, format, .. }) = &line.entry {
                if *pool != self.key {
                    self.trouble = Some(Trouble::OtherPool(pool.clone()));
                    return Ok(());
                }
                if *format > FORMAT {
                    self.trouble = Some(Trouble::Newer);
                    return Ok(());
                }
                if is_first && let Some(log) = &mut self.log {
                    log.snapshot = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0) as u64;
                    log.begins_at = Some(Revision::new(line.sequence));
                }
            }
            if let Entry::Member { id, label, .. } = &line.entry
                && self.label(*id).is_some_and(|known| known != label)
            {
                // Its writer may have died before the record had this label.
                self.is_reconciled = false;
            }
            self.apply(line);
        }
        Ok(())
    }

    pub(super) fn apply(&mut self, line: Line) {
        let before = self.revision();
        match self.state.apply(line) {
            Some(steps) => steps.into_iter().for_each(|step| self.recent.push(before, step)),
            None => self.recent = RecentChanges::default(),
        }
    }
}

/// Returns the number with which a new log starts: higher than that of any log that was removed.
fn first_sequence() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX / 2)
}

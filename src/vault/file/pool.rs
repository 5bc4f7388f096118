//! A pool's log: reading it, appending to it and compacting it.

pub(super) mod state;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use self::state::{Member, State};
use super::log::{self, Entry, FORMAT, Line, Lines, Snapshot};
use super::record::{Versioned, read_json};
use crate::credential::{CredentialId, Kind, Metadata, PoolKey};
use crate::standing::Standings;
use crate::vault::disk::{self, FileId, ops};
use crate::vault::recent::{News, RecentChanges};
use crate::vault::{Damage, Revision, VaultError};

/// The maximum number of bytes that are read at once. A log is compacted long before.
const MAX_LEN: u64 = 1 << 28;

/// The minimum length of a log that is compacted, in bytes, and how many times longer than its snapshot it must be.
const COMPACT: (u64, u64) = (64 * 1024, 8);

/// What this process knows of a pool's files. The methods block, and the caller must hold the mutex around it; for
/// methods that change something also the pool's lock.
pub(super) struct Pool {
    key: PoolKey,
    path: PathBuf,
    state: State,
    log: Option<Log>,
    /// What cannot be read, and must not be changed by this process.
    trouble: Option<Trouble>,
    recent: RecentChanges,
    /// Whether every record of this pool was read for its label, and only this process has changed one since.
    pub(super) is_reconciled: bool,
}

/// The log as it was last read.
struct Log {
    file: File,
    id: FileId,
    /// How much of it was read, in bytes.
    length: u64,
    /// How much of that is the snapshot, in bytes.
    snapshot: u64,
    /// The revision of the snapshot.
    begins_at: Option<Revision>,
    can_append: bool,
}

#[derive(Debug)]
enum Trouble {
    /// Some lines cannot be read; the others count.
    Lines(usize),
    /// Nothing can be read.
    Foreign,
    /// The log of another pool.
    OtherPool(PoolKey),
    /// A newer version wrote it.
    Newer,
    /// The file of version 1 cannot be read.
    Old(Damage),
}

/// What a log says of the accounts of its pool.
const STANDINGS: &str = "the order, tiers, pauses and cooldowns of its accounts";

impl Pool {
    pub(super) fn new(key: PoolKey, path: PathBuf) -> Self {
        Self {
            key,
            path,
            state: State::default(),
            log: None,
            trouble: None,
            recent: RecentChanges::default(),
            is_reconciled: false,
        }
    }

    pub(super) fn standings(&self) -> &Standings {
        &self.state.standings
    }

    pub(super) fn revision(&self) -> Revision {
        Revision::new(self.state.sequence)
    }

    /// Returns what has changed since a revision; `None` if that is not known, or a part of the log can't be read. A new
    /// account is rare: for it the pool is loaded, so that damage to other records is found of which the log does not know.
    pub(super) fn news(&self, since: Revision) -> Option<News> {
        let news = || self.recent.since(since, self.revision());
        self.trouble.is_none().then(news).flatten().filter(|news| !news.has_added)
    }

    pub(super) fn is_member(&self, id: CredentialId) -> bool {
        self.state.members.contains_key(&id)
    }

    pub(super) fn label(&self, id: CredentialId) -> Option<&Arc<str>> {
        self.state.members.get(&id)?.label.as_ref()
    }

    pub(super) fn kind(&self, id: CredentialId) -> Option<Kind> {
        self.state.members.get(&id)?.kind
    }

    /// Whether the log says of this credential what its record says.
    pub(super) fn names(&self, metadata: &Metadata) -> bool {
        let Metadata { id, label, kind, .. } = metadata;
        self.label(*id) == Some(label) && self.kind(*id) == Some(*kind)
    }

    /// Returns the other members with this label. There may be several, some of them gone or never stored.
    pub(super) fn with_label(
        &self,
        label: &str,
        but: CredentialId,
    ) -> impl Iterator<Item = CredentialId> {
        let has = move |known: &Member| known.label.as_deref() == Some(label);
        let members = self.state.members.iter();
        members.filter(move |(id, known)| **id != but && has(known)).map(|(id, _)| *id)
    }

    /// Returns what cannot be read of its files.
    pub(super) fn damage(&self) -> Option<Damage> {
        let reason = match self.trouble.as_ref()? {
            Trouble::Old(damage) => return Some(damage.clone()),
            Trouble::Lines(count) => format!(
                "{} left out, the others count; remove the file to begin again with {STANDINGS}",
                if *count == 1 {
                    "1 damaged line is".to_owned()
                } else {
                    format!("{count} damaged lines are")
                }
            ),
            Trouble::Foreign => format!(
                "it is no log of a pool, so {STANDINGS} begin again; pause again what must not be used (the file is kept \
                 under another name at the next change)"
            ),
            Trouble::OtherPool(pool) => format!(
                "it is the log of the pool {pool}, so {STANDINGS} begin again; pause again what must not be used (the \
                 file is kept under another name at the next change)"
            ),
            Trouble::Newer => "a newer version of this program wrote it; use that one".to_owned(),
        };
        Some(Damage::new(self.path.display().to_string(), reason))
    }

    /// Whether the log still has lines about a member that is gone.
    pub(super) fn has_removed(&self) -> bool {
        self.state.has_removed
    }

    /// Whether some lines cannot be read and the others count.
    pub(super) fn has_bad_lines(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Lines(_)))
    }

    /// Whether it is not a log of this pool, so that the next change sets it aside.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Foreign | Trouble::OtherPool(_)))
    }

    /// Whether a newer version wrote it. This version must not change it.
    pub(super) fn is_newer(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Newer))
    }

    /// Reads what was written since the last time; if nothing was, this only looks at the file. Needs no lock: a line
    /// that is being written is left for the next time.
    pub(super) fn refresh(&mut self) -> Result<(), VaultError> {
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
        let way_out =
            "remove it: the order, tiers, pauses and cooldowns of its accounts then begin again";
        let trouble = match read_json::<Old>(&path, way_out) {
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

    fn old_path(&self) -> PathBuf {
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
    fn read_anew(&mut self) -> Result<(), VaultError> {
        let (revision, mut recent) = (self.revision(), std::mem::take(&mut self.recent));
        self.read_file()?;
        if self.log.as_ref().is_some_and(|log| log.begins_at == Some(revision)) {
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

    fn apply(&mut self, line: Line) {
        let before = self.revision();
        match self.state.apply(line) {
            Some(steps) => steps.into_iter().for_each(|step| self.recent.push(before, step)),
            None => self.recent = RecentChanges::default(),
        }
    }

    /// Appends the entries to the log: all of them, or none if that fails. They outlive a killed process, and also a
    /// power cut once the system has written them back. The caller must hold the lock and have read the latest state.
    pub(super) fn append(&mut self, entries: impl IntoIterator<Item = Entry>) -> Result<(), VaultError> {
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
    pub(super) fn is_long(&self) -> bool {
        let is_long = |log: &Log| log.length > COMPACT.0.max(log.snapshot * COMPACT.1);
        self.log.as_ref().is_some_and(is_long)
    }

    /// Rewrites the log as one snapshot, durably. A damaged log is kept under another name. The caller must hold the
    /// lock and have read the latest state, and must also hold the vault's lock, since this makes a temporary file.
    pub(super) fn compact(&mut self) -> Result<(), VaultError> {
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

/// Returns the number with which a new log starts: higher than that of any log that was removed.
fn first_sequence() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX / 2)
}

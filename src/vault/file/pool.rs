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
use crate::vault::{Damage, Revision, VaultError};

/// The most that is read at once, in bytes. A log is compacted long before.
const MAX_LEN: u64 = 1 << 28;

/// A log shorter than this is not compacted, and a longer one when it has this many times the length of
/// its snapshot.
const COMPACT: (u64, u64) = (64 * 1024, 8);

/// What this process knows of a pool's files. The methods block, and want the mutex around it held; those
/// that change something also want the pool's lock.
pub(super) struct Pool {
    key: PoolKey,
    path: PathBuf,
    state: State,
    log: Option<Log>,
    /// What can't be read, and is not ours to change.
    trouble: Option<Trouble>,
    /// Whether every record of this pool has been asked for its label, and none was changed since but by
    /// this process.
    pub(super) is_reconciled: bool,
}

/// The log as it was last read.
struct Log {
    file: File,
    id: FileId,
    /// How much of it was read.
    length: u64,
    /// How much of that is the snapshot.
    snapshot: u64,
    can_append: bool,
}

#[derive(Debug)]
enum Trouble {
    /// Some lines can't be read; the others count.
    Lines(usize),
    /// Nothing can be read.
    Foreign,
    /// The log of another pool.
    OtherPool(PoolKey),
    /// A newer version wrote it.
    Newer,
    /// The file of version 1 can't be read.
    Old(Damage),
}

impl Pool {
    pub(super) fn new(key: PoolKey, path: PathBuf) -> Self {
        Self { key, path, state: State::default(), log: None, trouble: None, is_reconciled: false }
    }

    pub(super) fn standings(&self) -> &Standings {
        &self.state.standings
    }

    pub(super) fn revision(&self) -> Revision {
        Revision::new(self.state.sequence)
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

    /// Whether it says of this credential what its record says.
    pub(super) fn names(&self, metadata: &Metadata) -> bool {
        let Metadata { id, label, kind, .. } = metadata;
        self.label(*id) == Some(label) && self.kind(*id) == Some(*kind)
    }

    /// Who else has this label. Several may, of whom some are gone, or never came.
    pub(super) fn with_label(
        &self,
        label: &str,
        but: CredentialId,
    ) -> impl Iterator<Item = CredentialId> {
        let has = move |known: &Member| known.label.as_deref() == Some(label);
        let members = self.state.members.iter();
        members.filter(move |(id, known)| **id != but && has(known)).map(|(id, _)| *id)
    }

    /// What can't be read of its files.
    pub(super) fn damage(&self) -> Option<Damage> {
        let reason = match self.trouble.as_ref()? {
            Trouble::Old(damage) => return Some(damage.clone()),
            Trouble::Lines(count) => format!(
                "{count} damaged lines are left out, the others count; remove the file to begin anew with \
                 order and cooldowns"
            ),
            Trouble::Foreign => {
                "it is no log of a pool; order and cooldowns begin anew, and the file is \
                                 kept under another name at the next change"
                    .to_owned()
            }
            Trouble::OtherPool(pool) => format!(
                "it is the log of the pool {pool}; order and cooldowns begin anew, and the file is kept \
                 under another name at the next change"
            ),
            Trouble::Newer => "a newer version of this program wrote it; use that one".to_owned(),
        };
        Some(Damage::new(self.path.display().to_string(), reason))
    }

    /// Whether the log still has lines about a member that is gone.
    pub(super) fn has_removed(&self) -> bool {
        self.state.has_removed
    }

    /// Whether some lines can't be read and the others count.
    pub(super) fn has_bad_lines(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Lines(_)))
    }

    /// Whether it is no log of this pool, so that the next change sets it aside.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Foreign | Trouble::OtherPool(_)))
    }

    /// Whether a newer version wrote it, which is not ours to change.
    pub(super) fn is_newer(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Newer))
    }

    /// Reads what was written since it was last read: a look at the file where there is nothing. Needs no
    /// lock: what is being written is left for the next time.
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

    /// Begins with what version 1 has left, if it has.
    fn begin_without_log(&mut self) -> Result<(), VaultError> {
        // It may be readable the next time: until then nothing begins.
        let (state, trouble) = self.begun()?;
        self.reset();
        (self.state, self.trouble) = (state, trouble);
        Ok(())
    }

    /// How the pool stands where no line of a log says it, and what can't be read of that.
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
        let way_out = "remove it: order and cooldowns then begin anew";
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
        self.is_reconciled = false;
    }

    fn read_anew(&mut self) -> Result<(), VaultError> {
        let (file, can_append) = match ops::open_append(&self.path) {
            Ok(file) => (file, true),
            // It can be read, perhaps; whoever wants to change it is told why that can't be.
            Err(_) => match disk::open_plain(&self.path)? {
                Some((file, _)) => (file, false),
                None => return self.begin_without_log(),
            },
        };
        let metadata =
            ops::file_metadata(&file, &self.path).map_err(disk::failed("read", &self.path))?;
        disk::check_plain(&self.path, &metadata)?;
        self.reset();
        self.log = Some(Log { file, id: FileId::of(&metadata), length: 0, snapshot: 0, can_append });
        let read = self.read_first();
        if read.is_err() {
            // It is read from its beginning the next time, even if it is empty.
            self.log = None;
        }
        read
    }

    /// Reads a log of which nothing was read yet.
    fn read_first(&mut self) -> Result<(), VaultError> {
        self.read_on()?;
        if self.trouble.is_some() {
            if self.state.sequence == 0 {
                // Nothing of it can be read: that is a change too.
                self.state.sequence = first_sequence();
            }
        } else if self.log.as_ref().is_some_and(|log| log.length == 0) {
            // Whoever made it has not come to its first line.
            (self.state, self.trouble) = self.begun()?;
        }
        Ok(())
    }

    /// Reads from where the last reading ended.
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
            // Whatever its lines say, even those that could be read here: it has changed.
            self.trouble = Some(Trouble::Newer);
            log.length += bytes.len() as u64;
            self.state.sequence = first_sequence().max(self.state.sequence.wrapping_add(1));
            return Ok(());
        }
        log.length += read.length as u64;
        if is_first && !matches!(read.lines.first(), Some(Line { entry: Entry::Snapshot(_), .. })) {
            self.trouble = match read.lines.is_empty() {
                // Whoever wrote it has died meanwhile.
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
                }
            }
            if let Entry::Member { id, label, .. } = &line.entry
                && self.label(*id).is_some_and(|known| known != label)
            {
                // Whoever wrote it may have died before the record had this label.
                self.is_reconciled = false;
            }
            self.state.apply(line);
        }
        Ok(())
    }

    /// Appends the entries to the log: all of them, or none where it fails. Outlives a killed process, and
    /// a power cut once the system has written it back by itself. Wants the lock held and the state fresh.
    pub(super) fn append(&mut self, entries: impl IntoIterator<Item = Entry>) -> Result<(), VaultError> {
        let mut lines = Vec::new();
        let mut bytes = Vec::new();
        self.make_ready(&mut bytes)?;
        let mut sequence = self.state.sequence;
        for entry in entries {
            // Only whether two are equal means anything, so a file with the highest number stops nothing.
            sequence = sequence.wrapping_add(1);
            let line = Line { sequence, entry };
            line.write_to(&mut bytes)
                .map_err(|error| disk::failed("write", &self.path)(error.into()))?;
            lines.push(line);
        }
        let Some(log) = &mut self.log else { return Ok(()) };
        if let Err(error) = ops::write(&log.file, &self.path, &bytes) {
            // Whoever appends next cuts it off, should this fail too.
            let _ = ops::truncate(&log.file, &self.path, log.length);
            return Err(disk::failed("write", &self.path)(error));
        }
        if log.length == 0 {
            log.snapshot = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0) as u64;
        }
        log.length += bytes.len() as u64;
        for line in lines {
            self.state.apply(line);
        }
        Ok(())
    }

    /// Makes sure that there is a log to append to, and that it ends with a good line; a new log's first
    /// line goes into `bytes`.
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
                self.log = Some(Log { file, id, length: 0, snapshot: 0, can_append: true });
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

    /// Whether so much was appended that the log is worth writing anew.
    pub(super) fn is_long(&self) -> bool {
        let is_long = |log: &Log| log.length > COMPACT.0.max(log.snapshot * COMPACT.1);
        self.log.as_ref().is_some_and(is_long)
    }

    /// Writes the log anew, as one snapshot, durably. A damaged one is kept under another name. Wants the
    /// lock held and the state fresh, and the vault's lock, since it makes a temporary file.
    pub(super) fn compact(&mut self) -> Result<(), VaultError> {
        match &self.trouble {
            Some(Trouble::Lines(_)) => disk::keep_copy(&self.path)?,
            Some(_) => return Ok(()),
            None => {}
        }
        let mut bytes = Vec::new();
        self.write_snapshot(&mut bytes)?;
        disk::Temporary::write(&self.path, &bytes)?.replace(&self.path)?;
        // What version 1 left says nothing any more.
        match ops::remove(&self.old_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(disk::failed("remove", &self.old_path())(error));
            }
            _ => {}
        }
        self.read_anew()
    }
}

/// Where a new log begins to count: later than any that was removed can have come.
fn first_sequence() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX / 2)
}

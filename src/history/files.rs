//! The files of a history: appended to, begun and removed under a lock.
//!
//! Files are numbered, and lines are appended to the last one alone. So a reader that has seen a later file knows that it
//! has all of an earlier one, and no file is ever renamed under a reader.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, spawn_blocking};

use crate::clock::{Clock, Timestamp};
use crate::credential::CredentialId;
use crate::vault::VaultError;
use crate::vault::disk::{self, lock, ops};

/// The directory, in the vault's.
pub(crate) const DIRECTORY: &str = "history";

const LOCK: &str = "write.lock";

/// How many files are kept.
const FILES: u64 = 4;

/// How long a writer waits for others, who write a few lines each.
const PATIENCE: Duration = Duration::from_secs(1);

const PAUSE: Duration = Duration::from_millis(2);

/// What is kept at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes: u64,
    pub(super) age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 4 << 20, age: Duration::from_secs(30 * 24 * 60 * 60) }
    }
}

impl Limits {
    const FEWEST_BYTES: u64 = 64 << 10;

    fn file_bytes(&self) -> u64 {
        self.bytes.max(Self::FEWEST_BYTES) / FILES
    }

    /// For how long a file is appended to, so that its first lines are not kept much longer than its last ones.
    fn file_age(&self) -> Duration {
        self.age / FILES as u32
    }
}

/// A file's name: its number, and when it was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileName {
    pub(super) number: u64,
    began: Timestamp,
}

impl FileName {
    fn of(name: &str) -> Option<Self> {
        let (number, seconds) = name.strip_suffix(".jsonl")?.split_once('-')?;
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(number) || !is_digits(seconds) {
            return None;
        }
        let began = Timestamp::from_millis(seconds.parse::<u64>().ok()?.checked_mul(1000)?);
        Some(Self { number: number.parse().ok()?, began })
    }

    fn name(&self) -> String {
        format!("{:06}-{}.jsonl", self.number, self.began.as_millis() / 1000)
    }
}

/// Whether a file of this name belongs to a history.
pub(crate) fn is_file(name: &str) -> bool {
    name == LOCK || FileName::of(name).is_some()
}

/// The files of one vault's history.
#[derive(Debug)]
pub(super) struct Files {
    vault: PathBuf,
    directory: PathBuf,
    pub(super) limits: Limits,
}

/// Appends lines, on a thread for blocking work.
pub(super) async fn append(files: &Arc<Files>, lines: Vec<u8>) -> Result<(), VaultError> {
    if lines.is_empty() {
        return Ok(());
    }
    let work = {
        let files = files.clone();
        spawn_blocking(move || files.append(&lines))
    };
    finished(files, work.await)?
}

/// Returns the result of work that ran on another thread. A panic there goes on here.
pub(super) fn finished<T>(files: &Files, work: Result<T, JoinError>) -> Result<T, VaultError> {
    match work.map_err(JoinError::try_into_panic) {
        Ok(result) => Ok(result),
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is shutting down.
        Err(Err(stopped)) => {
            Err(disk::failed("finish work in", &files.directory)(io::Error::other(stopped)))
        }
    }
}

impl Files {
    pub(super) fn of(vault: &Path, limits: Limits) -> Self {
        Self { vault: vault.to_owned(), directory: vault.join(DIRECTORY), limits }
    }

    pub(super) fn with(&self, limits: Limits) -> Self {
        Self::of(&self.vault, limits)
    }

    pub(super) fn path(&self, file: &FileName) -> PathBuf {
        self.directory.join(file.name())
    }

    /// Returns the files, the oldest first. None if there is no history.
    pub(super) fn list(&self) -> Result<Vec<FileName>, VaultError> {
        if !self.is_there()? {
            return Ok(Vec::new());
        }
        let entries = ops::entries(&self.directory)
            .map_err(disk::failed("read the directory", &self.directory))?;
        let names = entries.iter().map(|entry| entry.file_name());
        let mut files: Vec<_> = names.filter_map(|name| FileName::of(name.to_str()?)).collect();
        files.sort_unstable();
        Ok(files)
    }

    fn lock_path(&self) -> PathBuf {
        self.directory.join(LOCK)
    }

    /// Waits for the lock, but not for long.
    fn lock(&self) -> Result<lock::Taken, VaultError> {
        let (path, began) = (self.lock_path(), Instant::now());
        loop {
            if let Some(taken) = lock::hold(&path)? {
                return Ok(taken);
            }
            let waited = began.elapsed();
            if waited >= PATIENCE {
                return Err(VaultError::Locked { holder: lock::holder(&path), path, waited });
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether the directory is there. A symbolic link in its place might lead anywhere.
    fn is_there(&self) -> Result<bool, VaultError> {
        match ops::metadata(&self.directory) {
            Ok(metadata) if metadata.is_dir() => Ok(true),
            Ok(_) => {
                let reason = "it is no directory, and one should be there; move it away";
                Err(disk::damaged(&self.directory, reason))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(disk::failed("look at", &self.directory)(error)),
        }
    }

    /// Makes the directory, in a vault that is there.
    fn make(&self) -> Result<(), VaultError> {
        if self.is_there()? {
            return Ok(());
        }
        if !self.vault.is_dir() {
            return Err(VaultError::DirectoryGone(self.vault.clone()));
        }
        disk::make_dir(&self.directory).map(drop)
    }

    /// Appends whole lines with one write.
    fn append(&self, lines: &[u8]) -> Result<(), VaultError> {
        self.make()?;
        let _lock = self.lock()?;
        let mut files = self.list()?;
        let now = Clock::system().now();
        let (path, file, length) = self.open_last(&mut files, lines.len() as u64, now)?;
        let is_torn = length > 0 && !ends_a_line(&file).map_err(disk::failed("read", &path))?;
        // Its writer was killed, or the disk was full. What was begun becomes a line of its own, which nobody can read.
        let lines = if is_torn { [b"\n", lines].concat() } else { lines.to_vec() };
        ops::write(&file, &path, &lines).map_err(disk::failed("write", &path))?;
        self.prune(&files, now)
    }

    /// Opens the file to append to, which may be a new one.
    fn open_last(
        &self,
        files: &mut Vec<FileName>,
        more: u64,
        now: Timestamp,
    ) -> Result<(PathBuf, File, u64), VaultError> {
        if let Some(last) = files.last()
            && now.since(last.began) < self.limits.file_age()
        {
            let path = self.path(last);
            let file =
                ops::open_append(&path).map_err(|error| disk::not_opened("write to", &path, error))?;
            let metadata = ops::file_metadata(&file, &path).map_err(disk::failed("look at", &path))?;
            disk::check_plain(&path, &metadata)?;
            if metadata.len() + more <= self.limits.file_bytes() || metadata.len() == 0 {
                return Ok((path, file, metadata.len()));
            }
        }
        let number = files.last().map_or(1, |last| last.number + 1);
        let new = FileName { number, began: Timestamp::from_millis(now.as_millis() / 1000 * 1000) };
        let path = self.path(&new);
        let file = ops::create_new(&path).map_err(disk::failed("create", &path))?;
        disk::pass_on(&file, &path);
        ops::set_mode(&path, 0o600).map_err(disk::failed("set the mode of", &path))?;
        files.push(new);
        Ok((path, file, 0))
    }

    /// Removes what is too old, or too much.
    fn prune(&self, files: &[FileName], now: Timestamp) -> Result<(), VaultError> {
        let Some((_, before)) = files.split_last() else { return Ok(()) };
        let kept = usize::try_from(FILES - 1).unwrap_or_default();
        let many = before.len().saturating_sub(kept);
        for (place, file) in before.iter().enumerate() {
            if place < many || now.since(file.began) >= self.limits.age {
                let path = self.path(file);
                match ops::remove(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(disk::failed("remove", &path)(error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Erases the lines that name one of these accounts, without a change to the others' places.
    fn erase(&self, ids: &[String]) -> Result<(), VaultError> {
        for file in self.list()? {
            let path = self.path(&file);
            let Some((file, metadata)) = disk::open_plain(&path)? else { continue };
            let mut bytes = Vec::new();
            ops::read(&file, &path, metadata.len(), &mut bytes).map_err(disk::failed("read", &path))?;
            let mut start = 0;
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                let text = line.strip_suffix(b"\n").unwrap_or(line);
                if ids.iter().any(|id| contains(text, id.as_bytes())) {
                    overwrite(&path, start, text.len())?;
                }
                start += line.len() as u64;
            }
        }
        Ok(())
    }
}

/// Erases what the history of this vault says about these accounts. Returns the lock's path if somebody else holds it.
pub(crate) fn forget(vault: &Path, ids: &[CredentialId]) -> Result<Option<PathBuf>, VaultError> {
    let files = Files::of(vault, Limits::default());
    if files.list()?.is_empty() {
        return Ok(None);
    }
    let path = files.lock_path();
    let Some(_lock) = lock::hold(&path)? else { return Ok(Some(path)) };
    let ids: Vec<_> = ids.iter().map(CredentialId::to_string).collect();
    files.erase(&ids)?;
    Ok(None)
}

fn overwrite(path: &Path, start: u64, length: usize) -> Result<(), VaultError> {
    let failed = disk::failed("write", path);
    let write = || {
        let mut file = ops::open_lock(path)?;
        file.seek(SeekFrom::Start(start))?;
        file.write_all(&vec![b' '; length])
    };
    write().map_err(failed)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Whether a file that is not empty ends with the end of a line.
fn ends_a_line(mut file: &File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

//! Checking a vault: every record, log and file, before anything is swept or mended.

mod directories;
mod finding;
mod key_file;
mod mend;
mod pools;
mod records;
mod refreshes;

use std::collections::BTreeSet;
#[cfg(unix)]
use std::fs;
use std::io;
#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::busy::Stopped;
use super::directory::finished;
use super::lock::{Held, LockFile};
use super::opening::{self, LOCK};
use super::records::Records;
use crate::vault::disk::{self, lock, ops};
use crate::vault::key::{KeyId, Keys, VaultKey};
use crate::vault::seal::VaultId;
use crate::vault::{UnfinishedRefresh, VaultError};
use mend::Mend;

pub use finding::{Finding, FindingKind, Severity};

/// Checks a vault without changing anything: opens the records, reads the logs, and looks at modes, owners, left-over files
/// and the key. [`FileVault::open`](super::FileVault::open) instead mends what it can and only reports what is requested.
///
/// Others may use the vault meanwhile: the check holds the vault's lock, so that nobody changes it.
///
/// ```
/// use tower_credentials::vault::file::{Check, FileVault};
/// use tower_credentials::vault::key::{Keys, VaultKey};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// # let directory = place.path().join("vault");
/// # let key = VaultKey::generate();
/// FileVault::open(&directory, &key).await?;
/// let report = Check::new(&directory).keys(&Keys::new(key)).run().await?;
/// assert!(report.is_healthy(), "{:?}", report.findings);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is looked at before it runs"]
pub struct Check {
    directory: PathBuf,
    /// The first key is the one that seals.
    keys: Vec<VaultKey>,
    key_file: Option<PathBuf>,
    fix: bool,
    patience: Duration,
}

impl Check {
    /// Returns a check of the vault in this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            keys: Vec::new(),
            key_file: None,
            fix: false,
            patience: Duration::from_secs(10),
        }
    }

    /// Sets the keys; the current one should be the vault's. Without keys no record is opened.
    pub fn keys(mut self, keys: &Keys) -> Self {
        self.keys = [&keys.current].into_iter().chain(&keys.previous).cloned().collect();
        self
    }

    /// Also checks the key file, and the files beside it.
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_file = Some(path.into());
        self
    }

    /// Sets whether to mend what can be mended safely: modes, left-over temporary files, and logs that don't agree with the
    /// records. Defaults to false. Records and damaged files are never changed or removed; a file that must make room is kept
    /// under another name.
    pub fn fix(mut self, fix: bool) -> Self {
        self.fix = fix;
        self
    }

    /// Sets how long to wait for the vault's lock. Defaults to ten seconds. After that the vault is checked all the same, except
    /// for what can't be judged while somebody changes it.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.patience = timeout;
        self
    }

    /// Runs the check, and mends if [`fix`](Self::fix) is set.
    ///
    /// # Errors
    /// [`VaultError::DirectoryGone`] if there is no such directory; [`VaultError::Io`] if it can't be read, or if its lock
    /// can't be made for mending. Anything wrong with the vault is not an error but a [`Finding`].
    pub async fn run(self) -> Result<Report, VaultError> {
        self.until_free(Self::look).await
    }

    /// Returns the refreshes that have begun, have stored nothing and are not going on, as [`run`](Self::run) finds them.
    /// Reads nothing else, and mends nothing. Returns none if others hold the vault's lock for longer than the timeout.
    ///
    /// # Errors
    /// The same as those of [`run`](Self::run).
    pub async fn unfinished_refreshes(self) -> Result<Vec<UnfinishedRefresh>, VaultError> {
        self.until_free(Self::look_for_refreshes).await
    }

    async fn until_free<T: Send + 'static>(
        self,
        look: fn(&Self, bool) -> Result<T, Stopped>,
    ) -> Result<T, VaultError> {
        let deadline = Instant::now() + self.patience;
        loop {
            let (check, is_last) = (self.clone(), Instant::now() >= deadline);
            let done = spawn_blocking(move || look(&check, is_last)).await;
            match finished(done, &self.directory)? {
                Ok(seen) => return Ok(seen),
                Err(Stopped::Failed(error)) => return Err(error),
                Err(Stopped::Busy(_)) => sleep(Duration::from_millis(5)).await,
            }
        }
    }

    fn lock_file(&self) -> Result<LockFile, VaultError> {
        match self.directory.is_dir() {
            true => Ok(LockFile::new(self.directory.join(LOCK))),
            false => Err(VaultError::DirectoryGone(self.directory.clone())),
        }
    }

    fn look_for_refreshes(&self, although_locked: bool) -> Result<Vec<UnfinishedRefresh>, Stopped> {
        let lock_file = self.lock_file()?;
        let held = match self.lock(&lock_file) {
            Err(Stopped::Busy(_)) if although_locked => None,
            held => held?,
        };
        if held.is_none() {
            return Ok(Vec::new());
        }
        let records = Records::new(self.directory.join(opening::RECORDS));
        let unfinished = refreshes::unfinished(&self.directory, &records);
        Ok(unfinished.into_iter().map(|(_, refresh)| refresh.into()).collect())
    }

    fn look(&self, although_locked: bool) -> Result<Report, Stopped> {
        let lock_file = self.lock_file()?;
        let held = match self.lock(&lock_file) {
            Err(Stopped::Busy(busy)) if although_locked => Err(busy.path),
            held => Ok(held?),
        };
        let is_still = matches!(held, Ok(Some(_)));
        let mut checker = Checker {
            root: &self.directory,
            keys: &self.keys,
            key_file: self.key_file.as_deref(),
            is_key_in_root: self.is_key_in_root(),
            #[cfg(unix)]
            owner: fs::metadata(&self.directory).ok().map(|root| MetadataExt::uid(&root)),
            is_still,
            report: Report::new(&self.directory),
            mends: Vec::new(),
        };
        if let Err(path) = &held {
            let holder = lock::holder(path);
            let by =
                holder.map_or_else(|| "another process".to_owned(), |id| format!("the process {id}"));
            let what = format!("locked for {} s by {by}", self.patience.as_secs_f64());
            let finding = Finding::new(FindingKind::Locked, Severity::Error, path, what);
            checker.found(finding.way_out("see what it is doing, or end it; then look again"));
        }
        checker.directories()?;
        let marker = checker.marker();
        let records = Records::new(self.directory.join(opening::RECORDS));
        let pools = checker.records(&records, marker.as_ref());
        checker.pools(&records, pools);
        checker.leases(&records);
        checker.key_file();
        let Checker { mut report, mends, .. } = checker;
        if self.fix && is_still {
            mend::mend(&self.directory, &mut report, mends);
        }
        report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(report)
    }

    fn is_key_in_root(&self) -> bool {
        let Some(key) = &self.key_file else { return false };
        let root = self.directory.canonicalize();
        root.is_ok_and(|root| disk::parent(key).canonicalize().is_ok_and(|parent| parent == root))
    }

    /// Keeps others from changing the vault. If the lock file is missing, mending makes it, as opening the vault does.
    /// A check alone makes nothing, and then keeps nobody out.
    fn lock<'a>(&self, file: &'a LockFile) -> Result<Option<Held<'a>>, Stopped> {
        let can_take = match ops::metadata(file.path()) {
            Ok(metadata) => metadata.is_file() && (self.fix || !disk::is_closed(&metadata)),
            Err(error) => {
                error.kind() == io::ErrorKind::NotFound && self.fix && opening::is_vault(&self.directory)
            }
        };
        // A lock that can't be taken is reported later.
        match (can_take, self.fix) {
            (false, _) => Ok(None),
            (true, true) => file.take().map(Some),
            (true, false) => file.take_to_read(),
        }
    }
}

/// The report of a [`Check`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The vault's directory.
    pub directory: String,
    /// The number of records.
    pub records: usize,
    /// The number of records that were opened.
    pub opened: usize,
    /// The number of pools that have a log.
    pub pools: usize,
    /// The vault's key, according to `key.json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// The vault's id, according to `key.json`; a vault of an older version has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultId>,
    /// The number of readable records in an older format than this version writes.
    pub older: usize,
    /// The number of readable records that each key has sealed.
    pub sealed: Vec<SealedWith>,
    /// The findings, the most severe first.
    pub findings: Vec<Finding>,
}

/// The records that one key has sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SealedWith {
    /// The key.
    pub key: KeyId,
    /// The number of records.
    pub records: usize,
    /// The providers of these records.
    pub providers: BTreeSet<String>,
}

impl Report {
    fn new(directory: &Path) -> Self {
        Self {
            directory: directory.display().to_string(),
            records: 0,
            opened: 0,
            pools: 0,
            key: None,
            vault: None,
            older: 0,
            sealed: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Returns whether nothing is wrong, apart from what was mended and from notes.
    pub fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.is_fixed || finding.severity == Severity::Note)
    }
}

/// A check in progress.
struct Checker<'a> {
    root: &'a Path,
    keys: &'a [VaultKey],
    key_file: Option<&'a Path>,
    /// Whether the key file is in the vault's directory.
    is_key_in_root: bool,
    /// The owner of the vault's directory.
    #[cfg(unix)]
    owner: Option<u32>,
    /// Whether the vault's lock is held, so that nobody changes it.
    is_still: bool,
    report: Report,
    /// How to mend each finding, in the same order.
    mends: Vec<Option<Mend>>,
}

impl Checker<'_> {
    fn found(&mut self, finding: Finding) {
        self.report.findings.push(finding);
        self.mends.push(None);
    }

    fn found_with(&mut self, mut finding: Finding, mend: Mend) {
        finding.can_fix = true;
        self.report.findings.push(finding);
        self.mends.push(Some(mend));
    }

    /// Reports a file that can't be read. The error's text has the way out after a semicolon.
    fn damaged(&mut self, kind: FindingKind, path: &Path, error: VaultError) {
        self.found(Finding::damage(kind, path, error));
    }
}

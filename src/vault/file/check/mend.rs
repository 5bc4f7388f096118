//! Mending what can be mended safely. The caller must hold the vault's lock.

use std::io;
use std::path::{Path, PathBuf};

use super::Report;
use crate::credential::PoolKey;
use crate::vault::VaultError;
use crate::vault::disk::{self, ops};
use crate::vault::file::busy::Stopped;
use crate::vault::file::store::Store;

/// How to mend a finding.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mend {
    /// Sets a mode that lets nobody else in.
    Narrow(PathBuf, u32),
    /// Removes a temporary file.
    Remove(PathBuf),
    MakeDirectory(PathBuf),
    /// Makes the pool's log name its records. A file that is not a log is set aside.
    Log(PoolKey),
    /// Rewrites the pool's log without its bad lines, and keeps the old one.
    Compact(PoolKey),
}

/// How often to try a pool's lock, with a millisecond between the tries.
const ATTEMPTS: usize = 1000;

/// Mends what each finding names, and notes in the finding whether that was done.
pub(super) fn mend(root: &Path, report: &mut Report, mends: Vec<Option<Mend>>) {
    let store = Store::new(root.to_owned());
    let mut done: Vec<(Mend, Result<(), String>)> = Vec::new();
    for (finding, mend) in report.findings.iter_mut().zip(mends) {
        let Some(mend) = mend else { continue };
        // Several findings about one log are mended together.
        let result = match done.iter().find(|(known, _)| *known == mend) {
            Some((_, result)) => result.clone(),
            None => {
                let result = mend.run(&store).map_err(|error| error.to_string());
                done.push((mend, result.clone()));
                result
            }
        };
        match result {
            Ok(()) => finding.is_fixed = true,
            Err(error) => finding.what = format!("{}; it could not be mended: {error}", finding.what),
        }
    }
}

impl Mend {
    fn run(&self, store: &Store) -> Result<(), VaultError> {
        match self {
            Self::Narrow(path, mode) => {
                ops::set_mode(path, *mode).map_err(disk::failed("set the mode of", path))
            }
            Self::Remove(path) => match ops::remove(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(disk::failed("remove", path)(error))
                }
                _ => Ok(()),
            },
            Self::MakeDirectory(path) => disk::make_dir(path).map(drop),
            Self::Log(pool) => patiently(|| store.mend_log(pool)),
            Self::Compact(pool) => patiently(|| store.compact_damaged(pool)),
        }
    }
}

/// Does work, and tries again if another process is in the way for a moment.
fn patiently(mut work: impl FnMut() -> Result<(), Stopped>) -> Result<(), VaultError> {
    let mut attempts = 0..ATTEMPTS;
    loop {
        match work() {
            Ok(()) => return Ok(()),
            Err(Stopped::Failed(error)) => return Err(error),
            Err(Stopped::Busy(busy)) if attempts.next().is_none() => {
                let (holder, waited) =
                    (disk::lock::holder(&busy.path), std::time::Duration::from_secs(1));
                return Err(VaultError::Locked { path: busy.path, holder, waited });
            }
            Err(Stopped::Busy(_)) => {}
        }
    }
}

//! The note that a refresh has begun, beside the lock of its lease.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::{self, VERSION, Versioned};
use crate::clock::Timestamp;
use crate::credential::Generation;
use crate::vault::disk::ops;
use crate::vault::{FailedRefresh, VaultError, now};

#[derive(Serialize, Deserialize)]
struct Note {
    version: u32,
    /// Which secret was about to be exchanged. One that is older than the record's says nothing.
    generation: Generation,
    begun_at: Timestamp,
    /// Its last exchange, where that has failed. Others than this version read the note without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<Failed>,
}

/// An exchange that has failed by no verdict.
#[derive(Clone, Serialize, Deserialize)]
struct Failed {
    at: Timestamp,
    /// How many milliseconds after that the token endpoint is left alone.
    wait: u64,
    in_a_row: u32,
    /// Why, in words.
    #[serde(default)]
    reason: String,
}

impl Failed {
    /// What is left of it: never more than was stated, and nothing of one that a wrong clock has put into the
    /// future.
    fn left(&self, now: Timestamp) -> FailedRefresh {
        let wait = Duration::from_millis(self.wait);
        let left = match self.at.is_misdated(now) {
            true => Duration::ZERO,
            false => self.at.after(wait).since(now).min(wait),
        };
        FailedRefresh { wait: left, in_a_row: self.in_a_row, reason: self.reason.clone() }
    }
}

impl Versioned for Note {
    fn version(&self) -> u32 {
        self.version
    }
}

fn read_note(path: &Path) -> Result<Option<Note>, VaultError> {
    record::read_json::<Note>(path, "it may be removed")
}

/// Which generation's refresh has begun, and when; `None` where none has.
pub(super) fn read(path: &Path) -> Result<Option<(Generation, Timestamp)>, VaultError> {
    Ok(read_note(path)?.map(|note| (note.generation, note.begun_at)))
}

/// The note on this generation, where there is one.
fn known(path: &Path, generation: Generation) -> Result<Option<Note>, VaultError> {
    match read_note(path) {
        // It only adds to what is said of a refresh that fails; the next one takes its place.
        Err(VaultError::Damaged(damage)) => {
            tracing::warn!("{damage}");
            Ok(None)
        }
        read => Ok(read?.filter(|note| note.generation == generation)),
    }
}

/// Notes that the secret of this generation is about to be exchanged, durably. When that was noted before, and
/// what came of it if it has failed; while the token endpoint is to be left alone, nothing is noted.
pub(super) fn note(
    path: &Path,
    generation: Generation,
) -> Result<(Option<Timestamp>, Option<FailedRefresh>), VaultError> {
    let now = now();
    let known = known(path, generation)?;
    let failed = known.as_ref().and_then(|note| note.failed.clone());
    let left = failed.as_ref().map(|failed| failed.left(now));
    if left.as_ref().is_some_and(|left| !left.wait.is_zero()) {
        return Ok((None, left));
    }
    record::write_json(path, &Note { version: VERSION, generation, begun_at: now, failed })?;
    Ok((known.map(|note| note.begun_at), left))
}

/// As much of a reason as is kept: an error may quote a whole page.
fn shown(reason: &str) -> String {
    const MOST: usize = 500;
    reason.chars().filter(|character| !character.is_control()).take(MOST).collect()
}

/// Notes that the exchange of this generation has failed.
pub(super) fn failed(
    path: &Path,
    generation: Generation,
    failed: &FailedRefresh,
) -> Result<(), VaultError> {
    let now = now();
    let begun_at = known(path, generation)?.map_or(now, |note| note.begun_at);
    let wait = u64::try_from(failed.wait.as_millis()).unwrap_or(u64::MAX);
    let reason = shown(&failed.reason);
    let failed = Some(Failed { at: now, wait, in_a_row: failed.in_a_row, reason });
    record::write_json(path, &Note { version: VERSION, generation, begun_at, failed })
}

/// Forgets that an exchange of this generation has begun: the vendor's refusal has ended it. Where that can't be
/// done, it only adds to what is said of a later one.
pub(super) fn refused(path: &Path, generation: Generation) {
    if let Ok(Some((noted, _))) = read(path)
        && noted == generation
    {
        let _ = ops::remove(path);
    }
}

//! The note that a refresh has begun. It is kept beside the lock file of the lease.

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
    /// The secret that was about to be exchanged. A note on an older secret than the record has says nothing.
    generation: Generation,
    begun_at: Timestamp,
    /// The last exchange, if it failed. Other versions read the note without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<Failed>,
}

/// An exchange that failed without a verdict.
#[derive(Clone, Serialize, Deserialize)]
struct Failed {
    at: Timestamp,
    /// How long the token endpoint is left alone after that, in milliseconds.
    wait: u64,
    in_a_row: u32,
    /// The reason, in words.
    #[serde(default)]
    reason: String,
}

impl Failed {
    /// Returns what is left of the wait: never more than was stated, and nothing if a wrong clock has put it into the
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

/// Returns the generation whose refresh has begun, and when it began; `None` if none has.
pub(super) fn read(path: &Path) -> Result<Option<(Generation, Timestamp)>, VaultError> {
    Ok(read_note(path)?.map(|note| (note.generation, note.begun_at)))
}

/// Returns the note on this generation, if there is one.
fn known(path: &Path, generation: Generation) -> Result<Option<Note>, VaultError> {
    match read_note(path) {
        // The note only adds detail to a refresh that fails, and the next note replaces it.
        Err(VaultError::Damaged(damage)) => {
            tracing::warn!("{damage}");
            Ok(None)
        }
        read => Ok(read?.filter(|note| note.generation == generation)),
    }
}

/// Notes, durably, that the secret of this generation is about to be exchanged. Returns when that was noted before, and
/// how it ended if it failed. Notes nothing while the token endpoint must be left alone.
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

/// Shortens a reason to what is kept of it: an error may quote a whole page.
fn shown(reason: &str) -> String {
    const MAX_LEN: usize = 500;
    reason.chars().filter(|character| !character.is_control()).take(MAX_LEN).collect()
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

/// Forgets that an exchange of this generation has begun: the vendor's refusal has ended it. If that fails, the note
/// only adds detail to a later refusal.
pub(super) fn refused(path: &Path, generation: Generation) {
    if let Ok(Some((noted, _))) = read(path)
        && noted == generation
    {
        let _ = ops::remove(path);
    }
}

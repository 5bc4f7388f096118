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
    /// Whether another exchange has begun since then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_earlier: bool,
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

impl Note {
    /// Returns how the exchange that has begun last failed. `None` if nothing was noted of its end.
    fn failure(&self) -> Option<&Failed> {
        // An older version says only by the times which exchange it was.
        self.failed.as_ref().filter(|failed| !failed.is_earlier && failed.at >= self.begun_at)
    }
}

/// A refresh that has begun, as it was noted.
pub(super) struct Begun {
    pub(super) generation: Generation,
    pub(super) at: Timestamp,
    /// Why it failed, in words, if it is known to have ended.
    pub(super) failure: Option<String>,
}

impl Versioned for Note {
    fn version(&self) -> u32 {
        self.version
    }
}

fn read_note(path: &Path) -> Result<Option<Note>, VaultError> {
    record::read_json::<Note>(path, "it may be removed")
}

/// Returns the refresh that has begun; `None` if none has.
pub(super) fn read(path: &Path) -> Result<Option<Begun>, VaultError> {
    let begun = |note: Note| {
        let failure = note.failure().map(|failed| failed.reason.clone());
        Begun { generation: note.generation, at: note.begun_at, failure }
    };
    Ok(read_note(path)?.map(begun))
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

/// Notes, durably, that the secret of this generation is about to be exchanged. Returns when an exchange began whose end was
/// not noted, and the last one that failed. Notes nothing while the token endpoint must be left alone.
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
    let failed = failed.map(|failed| Failed { is_earlier: true, ..failed });
    record::write_json(path, &Note { version: VERSION, generation, begun_at: now, failed })?;
    Ok((known.filter(|note| note.failure().is_none()).map(|note| note.begun_at), left))
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
    let failed = Some(Failed { at: now, wait, in_a_row: failed.in_a_row, reason, is_earlier: false });
    record::write_json(path, &Note { version: VERSION, generation, begun_at, failed })
}

/// Forgets that an exchange of this generation has begun: the vendor's refusal has ended it. If that fails, the note
/// only adds detail to a later refusal.
pub(super) fn refused(path: &Path, generation: Generation) {
    if let Ok(Some(begun)) = read(path)
        && begun.generation == generation
    {
        let _ = ops::remove(path);
    }
}

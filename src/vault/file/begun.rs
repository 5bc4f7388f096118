//! The note that a refresh has begun. It is kept beside the lock file of the lease.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::record::{self, VERSION, Versioned, WayOut};
use crate::clock::Timestamp;
use crate::credential::Generation;
use crate::vault::disk::ops;
use crate::vault::failed::Failed;
use crate::vault::{FailedRefresh, VaultError, now};

#[derive(Serialize, Deserialize)]
struct Note {
    version: u32,
    /// The secret that was about to be exchanged. A note on an older secret than the record has says nothing.
    generation: Generation,
    begun_at: Timestamp,
    /// The last exchange, if it failed. Other versions read the note without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<LastFailed>,
}

/// An exchange that failed without a verdict, and which one it was.
#[derive(Clone, Serialize, Deserialize)]
struct LastFailed {
    #[serde(flatten)]
    failed: Failed,
    /// Whether another exchange has begun since then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_earlier: bool,
}

impl Note {
    /// Returns how the exchange that has begun last failed. `None` if nothing was noted of its end.
    fn failure(&self) -> Option<&Failed> {
        // An older version says only by the times which exchange it was.
        let is_last = |last: &&LastFailed| !last.is_earlier && last.failed.at() >= self.begun_at;
        self.failed.as_ref().filter(is_last).map(|last| &last.failed)
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
    record::read_json::<Note>(path, WayOut::Of("it may be removed"))
}

/// Returns the refresh that has begun; `None` if none has.
pub(super) fn read(path: &Path) -> Result<Option<Begun>, VaultError> {
    let begun = |note: Note| {
        let failure = note.failure().map(|failed| failed.reason().to_owned());
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
    let left = failed.as_ref().map(|last| last.failed.left(now));
    if left.as_ref().is_some_and(|left| !left.wait.is_zero()) {
        return Ok((None, left));
    }
    let failed = failed.map(|last| LastFailed { is_earlier: true, ..last });
    record::write_json(path, &Note { version: VERSION, generation, begun_at: now, failed })?;
    Ok((known.filter(|note| note.failure().is_none()).map(|note| note.begun_at), left))
}

/// Notes that the exchange of this generation has failed.
pub(super) fn failed(
    path: &Path,
    generation: Generation,
    failed: &FailedRefresh,
) -> Result<(), VaultError> {
    let now = now();
    let begun_at = known(path, generation)?.map_or(now, |note| note.begun_at);
    let failed = Some(LastFailed { failed: Failed::new(failed, now), is_earlier: false });
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

//! The note that a refresh has begun, beside the lock of its lease.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::record::{self, VERSION, Versioned};
use crate::clock::Timestamp;
use crate::credential::Generation;
use crate::vault::disk::ops;
use crate::vault::{VaultError, now};

#[derive(Serialize, Deserialize)]
struct Note {
    version: u32,
    /// Which secret was about to be exchanged. One that is older than the record's says nothing.
    generation: Generation,
    begun_at: Timestamp,
}

impl Versioned for Note {
    fn version(&self) -> u32 {
        self.version
    }
}

/// Which generation's refresh has begun, and when; `None` where none has.
pub(super) fn read(path: &Path) -> Result<Option<(Generation, Timestamp)>, VaultError> {
    let note = record::read_json::<Note>(path, "it may be removed")?;
    Ok(note.map(|note| (note.generation, note.begun_at)))
}

/// Notes that the secret of this generation is about to be exchanged, durably. When that was noted before,
/// where it was.
pub(super) fn note(path: &Path, generation: Generation) -> Result<Option<Timestamp>, VaultError> {
    let before = match read(path) {
        // It only adds to what is said of a refresh that fails; the one written now takes its place.
        Err(VaultError::Damaged(damage)) => {
            tracing::warn!("{damage}");
            None
        }
        read => read?.filter(|(noted, _)| *noted == generation).map(|(_, begun_at)| begun_at),
    };
    record::write_json(path, &Note { version: VERSION, generation, begun_at: now() })?;
    Ok(before)
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

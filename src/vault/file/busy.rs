//! What can stop a request: a lock that somebody else holds, or an error.

use std::path::{Path, PathBuf};

use crate::vault::VaultError;

/// Somebody else holds a lock.
#[derive(Debug)]
pub(super) struct Busy {
    pub(super) path: PathBuf,
}

impl Busy {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

/// Why a request has no response yet. If it is [`Busy`], nothing has been changed.
#[derive(Debug)]
pub(super) enum Stopped {
    Busy(Busy),
    Failed(VaultError),
}

impl From<Busy> for Stopped {
    fn from(busy: Busy) -> Self {
        Self::Busy(busy)
    }
}

impl From<VaultError> for Stopped {
    fn from(error: VaultError) -> Self {
        Self::Failed(error)
    }
}

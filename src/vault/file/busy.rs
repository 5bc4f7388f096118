//! What keeps a request from being answered now: a lock that somebody else holds, or an error.

use std::path::{Path, PathBuf};

use crate::vault::VaultError;

/// A lock is held by somebody else.
#[derive(Debug)]
pub(super) struct Busy {
    pub(super) path: PathBuf,
}

impl Busy {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

/// Why a request has no answer yet. Nothing has been changed where it is [`Busy`].
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

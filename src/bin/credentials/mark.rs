//! Whether a file has changed, at little cost.

use std::path::Path;
use std::time::SystemTime;

/// When a file or a directory was last changed, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(Option<(SystemTime, u64)>);

impl Mark {
    pub(crate) fn of(path: &Path) -> Self {
        let metadata = std::fs::metadata(path).ok();
        Self(metadata.and_then(|metadata| Some((metadata.modified().ok()?, metadata.len()))))
    }
}

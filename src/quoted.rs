//! Paths in commands that a person can paste into a shell.

use std::path::Path;

/// Returns a path in POSIX's single quotes.
pub(crate) fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

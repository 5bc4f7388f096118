//! As root, what is made in another user's directory becomes that user's: it is for the programs of whoever has the
//! directory, which could not read it otherwise.

use std::fs::File;
use std::io;
use std::path::Path;

use super::ops;
use crate::printable::Shown;

/// Gives a file that was just made to whoever has the directory. `path` is the name that it is to have.
pub(crate) fn pass_on(file: &File, path: &Path) {
    if is_root() {
        tell(ops::give_to_owner(file, path), path);
    }
}

/// As [`pass_on`], for a directory that was just made.
pub(super) fn pass_on_dir(path: &Path) {
    if is_root() {
        tell(ops::open_dir(path).and_then(|directory| ops::give_to_owner(&directory, path)), path);
    }
}

fn is_root() -> bool {
    #[cfg(unix)]
    return rustix::process::geteuid().is_root();
    #[cfg(not(unix))]
    false
}

fn tell(given: io::Result<()>, path: &Path) {
    if let Err(error) = given {
        let path = Shown(path.display());
        tracing::warn!(
            "{path} is root's, and could not be given to whoever has its directory ({error}): programs of that user \
             can't read it; give it to them by chown"
        );
    }
}

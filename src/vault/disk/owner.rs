//! If root makes something in another user's directory, it becomes that user's: the user's programs could not read it
//! otherwise.

use std::fs::File;
use std::io;
use std::path::Path;

use super::ops;
use crate::printable::Shown;

/// Gives a new file to the directory's owner. `path` is the name that the file will have.
pub(crate) fn pass_on(file: &File, path: &Path) {
    if is_root() {
        tell(ops::give_to_owner(file, path), path);
    }
}

/// Like [`pass_on`], for a new directory.
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

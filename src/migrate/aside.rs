//! A file under a name that no program writes to, so that what is read of it is what is removed.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::MigrateError;
use super::file::failed;

/// A file that has lost its name to nobody yet. A program that puts a new one in its place, by a rename, can't do
/// so to this.
pub(super) struct Aside {
    path: PathBuf,
    kept: PathBuf,
}

impl Aside {
    /// Renames a file, within its directory.
    pub(super) fn take(path: &Path) -> Result<Self, MigrateError> {
        let mut random = [0; 8];
        let no_random = |_| failed("name a file beside", path)(io::Error::other("no random numbers"));
        getrandom::fill(&mut random).map_err(no_random)?;
        let mut name = path.file_name().map(OsString::from).unwrap_or_default();
        name.push(format!(".migrated-{:016x}", u64::from_ne_bytes(random)));
        let kept = path.with_file_name(name);
        match fs::rename(path, &kept) {
            Ok(()) => Ok(Self { path: path.to_owned(), kept }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(MigrateError::Changed(path.to_owned()))
            }
            Err(error) => Err(failed("rename", path)(error)),
        }
    }

    /// Where it is now.
    pub(super) fn path(&self) -> &Path {
        &self.kept
    }

    pub(super) fn remove(self) -> Result<(), MigrateError> {
        fs::remove_file(&self.kept).map_err(failed("remove", &self.kept))
    }

    /// Gives it its name again, unless another file has that by now or the file system has no hard links: it
    /// stays where it is then.
    pub(super) fn put_back(self) -> Result<(), MigrateError> {
        let Self { path, kept } = self;
        // A rename would replace what is there.
        match fs::hard_link(&kept, &path) {
            Ok(()) => fs::remove_file(&kept).map_err(failed("remove", &kept)),
            Err(source) => Err(MigrateError::SetAside { path, kept, source }),
        }
    }
}

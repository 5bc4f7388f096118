//! Renames a file so that no program writes to it, and the contents that are compared are those that are removed.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{MigrateError, failed};

/// A renamed file. Its program may put a new file in the old place, but not in this one's.
pub(super) struct Aside {
    /// The original path.
    before: PathBuf,
    path: PathBuf,
}

impl Aside {
    /// Renames a file, within its directory.
    pub(super) fn take(path: &Path) -> Result<Self, MigrateError> {
        let mut random = [0; 8];
        let no_random = |_| failed("name a file beside", path)(io::Error::other("no random numbers"));
        getrandom::fill(&mut random).map_err(no_random)?;
        let mut name = path.file_name().map(OsString::from).unwrap_or_default();
        name.push(format!(".migrated-{:016x}", u64::from_ne_bytes(random)));
        let aside = path.with_file_name(name);
        match fs::rename(path, &aside) {
            Ok(()) => Ok(Self { before: path.to_owned(), path: aside }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(MigrateError::Changed(path.to_owned()))
            }
            Err(error) => Err(failed("rename", path)(error)),
        }
    }

    /// The present path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn remove(self) -> Result<(), MigrateError> {
        fs::remove_file(&self.path).map_err(failed("remove", &self.path))
    }

    /// Restores the original name, unless another file has it by now or the file system has no hard links. Then the file
    /// stays where it is.
    pub(super) fn put_back(self) -> Result<(), MigrateError> {
        let Self { before: path, path: kept } = self;
        // A rename would replace a new file.
        match fs::hard_link(&kept, &path) {
            Ok(()) => fs::remove_file(&kept).map_err(failed("remove", &kept)),
            Err(source) => Err(MigrateError::SetAside { path, kept, source }),
        }
    }
}

//! Damaged files are kept, under other names.

use std::io;
use std::io::ErrorKind::{PermissionDenied, Unsupported};
use std::path::{Path, PathBuf};

use super::{damaged, failed, ops};
use crate::printable::Shown;
use crate::vault::VaultError;

/// Renames a file that cannot be used, and so keeps it.
pub(crate) fn set_aside(path: &Path) -> Result<(), VaultError> {
    let kept = set_aside_as(path, numbered(path))?;
    say_kept(path, &kept);
    Ok(())
}

/// Gives a file that cannot be used the first of these names that is free, and returns that.
pub(crate) fn set_aside_as(path: &Path, name: impl Fn(u32) -> PathBuf) -> Result<PathBuf, VaultError> {
    let kept = free_path(path, name)?;
    ops::rename(path, &kept).map_err(failed("rename", path))?;
    Ok(kept)
}

/// Keeps a damaged file under a second name when another file replaces it. A directory can have only one name, and so
/// can a file on some file systems: it is set aside.
pub(crate) fn keep_copy(path: &Path) -> Result<(), VaultError> {
    let kept = free_path(path, numbered(path))?;
    match ops::link(path, &kept) {
        Ok(()) => say_kept(path, &kept),
        Err(error) if matches!(error.kind(), PermissionDenied | Unsupported) => set_aside(path)?,
        Err(error) => return Err(failed("keep", path)(error)),
    }
    Ok(())
}

fn numbered(path: &Path) -> impl Fn(u32) -> PathBuf {
    move |number| path.with_extension(format!("damaged-{number}"))
}

fn free_path(path: &Path, name: impl Fn(u32) -> PathBuf) -> Result<PathBuf, VaultError> {
    for path in (1..10_000).map(name) {
        match ops::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(failed("look for", &path)(error)),
            Ok(_) => {}
        }
    }
    Err(damaged(path, "damaged, and so were 9,999 before it, which are kept beside it; move those away"))
}

fn say_kept(path: &Path, kept: &Path) {
    tracing::warn!(path = %Shown(path.display()), kept = %Shown(kept.display()), "a damaged file is kept under another name");
}

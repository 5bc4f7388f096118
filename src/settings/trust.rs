//! Checks who could have written a settings file. It can name commands to run and servers to send tokens to, so it is
//! trusted only if nobody else could have written it, as ssh requires of its own files.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{StatVfs, StatVfsMountFlags};

use super::SettingsError;

/// The mode's bits that let the group or others write.
const WRITABLE: u32 = 0o022;

/// The bit of a directory in which nobody can replace another user's files.
const STICKY: u32 = 0o1000;

/// Refuses a file if anybody but the user and root owns it, or may write to it or to its directory. If the path is a link,
/// the target's directory counts as well.
pub(super) fn check(path: &Path, file: &File) -> Result<(), SettingsError> {
    let failed = |source| SettingsError::Io { path: path.to_owned(), source };
    let metadata = file.metadata().map_err(failed)?;
    check_one(path, path, &metadata, || rustix::fs::fstatvfs(file))?;
    let above = |path: &Path| match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above.to_owned(),
        _ => ".".into(),
    };
    let mut directories = vec![above(path)];
    // A pipe's target has no name.
    if metadata.is_file() && path.is_symlink() {
        directories.push(above(&path.canonicalize().map_err(failed)?));
    }
    for directory in directories {
        let metadata = fs::metadata(&directory).map_err(failed)?;
        check_one(path, &directory, &metadata, || rustix::fs::statvfs(&directory))?;
    }
    Ok(())
}

/// Refuses the settings at `path` because of this file or directory.
fn check_one(
    path: &Path,
    of: &Path,
    metadata: &Metadata,
    file_system: impl Fn() -> rustix::io::Result<StatVfs>,
) -> Result<(), SettingsError> {
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let user = rustix::process::geteuid().as_raw();
    let name = of.display().to_string();
    let quoted = shell_words::quote(&name).into_owned();
    // The error names the settings already.
    let called = if of == path { "this file" } else { &*name };
    let refused = |reason| Err(SettingsError::NotTrusted { path: path.to_owned(), reason });
    if owner != user && owner != 0 {
        let way_out = match user {
            // The owner could name a command that root would run.
            0 => format!(
                "run this as that user (sudo -u '#{owner}'); or, if it can be trusted: chown 0 {quoted}"
            ),
            _ => format!("if it can be trusted, as root: chown {user} {quoted}"),
        };
        let reason = format!(
            "{called} belongs to user {owner}, and not to you (user {user}) or to root; {way_out}"
        );
        return refused(reason);
    }
    let is_open = mode & WRITABLE != 0 && !(metadata.is_dir() && mode & STICKY != 0);
    if is_open && !is_read_only(file_system()) {
        let reason = format!(
            "others may write to {called}, whose mode is {mode:04o}; to prevent that: chmod go-w {quoted}"
        );
        return refused(reason);
    }
    Ok(())
}

/// Whether nobody can write there, whatever the modes say. Files mounted into a container are usually read-only.
fn is_read_only(file_system: rustix::io::Result<StatVfs>) -> bool {
    file_system.is_ok_and(|file_system| file_system.f_flag.contains(StatVfsMountFlags::RDONLY))
}

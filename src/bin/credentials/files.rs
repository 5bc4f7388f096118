//! Files that only their owner may read, and files beside the vault.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
#[cfg(unix)]
use crate::output;

/// Refuses a path in the vault's directory: a copy of the vault would include it.
pub(crate) fn is_elsewhere(
    path: &Path,
    vault: &Path,
    opener: &str,
    argument: &str,
) -> Result<(), Failure> {
    let directory =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (fs::canonicalize(directory), fs::canonicalize(vault)) {
        (Ok(directory), Ok(vault)) if directory.starts_with(&vault) => {
            let message = format!("{} is in the vault that {opener}", path.display());
            Err(Failure::usage(message).way_out(format!("{argument}, with a file elsewhere")))
        }
        _ => Ok(()),
    }
}

/// Returns the path beside the vault that has its name and this end.
pub(crate) fn beside(vault: &Path, end: &str) -> PathBuf {
    let mut name = vault.file_name().unwrap_or_default().to_owned();
    name.push(end);
    vault.with_file_name(name)
}

/// Makes a directory and those above it that are missing, for their owner alone.
pub(crate) fn make_directories(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Waits until no other process changes this file. Makes its directory if there is none. The lock lasts as long as what is
/// returned.
pub(crate) fn lock(
    path: &Path,
    failed: impl Fn(&'static str, io::Error) -> Failure,
) -> Result<File, Failure> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(|error| failed("make the directory of", error))?;
    }
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.with_extension("lock"))
        .and_then(|lock| lock.lock().map(|()| lock));
    lock.map_err(|error| failed("lock", error))
}

/// Writes a file that only its owner may read. With `overwrite`, it replaces another file as a whole.
pub(crate) fn write(path: &Path, bytes: &[u8], overwrite: bool) -> Result<(), Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::failed(format!("{} is there already", path.display()))
            .way_out("choose another name, or add --force to overwrite it"),
        _ => Failure::failed(format!("could not write {}", path.display())).because(&error),
    };
    if !overwrite {
        return write_new(path, bytes).map_err(failed);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    write_new(&beside, bytes).map_err(failed)?;
    fs::rename(&beside, path).map_err(|error| {
        // It may hold a key.
        let _ = fs::remove_file(&beside);
        failed(error)
    })
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

/// As root, in a directory of the vault's owner, gives the file to that owner, who has the key anyway.
#[cfg(unix)]
pub(crate) fn give_to_owner(path: &Path, vault: &Path) {
    use std::os::unix::fs::{MetadataExt, fchown};
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(directory), Ok(vault)) = (fs::metadata(directory), fs::metadata(vault)) else { return };
    if directory.uid() != vault.uid() || directory.uid() == 0 {
        return;
    }
    // A link may have replaced the file.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let given = rustix::fs::open(path, flags, rustix::fs::Mode::empty())
        .map_err(io::Error::from)
        .and_then(|file| fchown(file, Some(directory.uid()), Some(directory.gid())));
    if let Err(error) = given {
        let path = path.display();
        output::warn(format_args!(
            "{path} still belongs to root: it can't be given to the vault's owner ({error})"
        ));
    }
}

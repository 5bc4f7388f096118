//! The files themselves: read within bounds, and removed when all of them is in a vault.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::aside::Aside;
use super::error::MigrateError;
use super::formats::Reading;
use super::found::Found;
use super::json::{Syntax, Text};
use super::source::Source;

/// No file with accounts is longer, in bytes.
const MOST: u64 = 16 << 20;

/// Reads a file with accounts. `source` says whose it is; where that is `None`, it is told by what is in the
/// file and by the directory it is in.
///
/// One entry that can't be read does not keep the others from being: [`Found::skipped`] names it. What an
/// entry has that isn't known to this version is kept among its tokens' secrets. This reads from the disk, so
/// where others wait for a runtime's threads, call it inside of `spawn_blocking`.
///
/// # Errors
/// Where the file is missing or can't be read, is no plain file, or is longer than 16 MiB; where it is no JSON
/// object, or only the beginning of one, with the line and the column; and [`MigrateError::Unclear`]. Nothing
/// of what is in the file is told.
pub fn read(source: impl Into<Option<Source>>, path: impl Into<PathBuf>) -> Result<Found, MigrateError> {
    let path = path.into();
    let bytes = read_bytes(&path)?;
    let damaged = |line, column, reason| {
        let path = path.clone();
        MigrateError::Damaged { path, line, column, reason }
    };
    // Some editors put a byte order mark first.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let text = match std::str::from_utf8(text) {
        Ok(text) => Text::new(text),
        Err(error) => {
            let before = &text[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            return Err(damaged(line, 1 + before.len() - begin, "it is no text in UTF-8 there"));
        }
    };
    let (object, repeated) =
        text.object().map_err(|Syntax { line, column, reason }| damaged(line, column.max(1), reason))?;
    let source = match source.into() {
        Some(source) => source,
        None => match Source::candidates(&object, &path)[..] {
            [source] => source,
            ref among => return Err(MigrateError::Unclear { path, among: among.to_vec() }),
        },
    };
    let mut reading = Reading::of(source, object);
    for mut problem in repeated {
        let entry = std::mem::take(&mut problem.name);
        reading.skip(&entry, problem);
    }
    let whole_path = fs::canonicalize(&path).map_err(failed("read", &path))?;
    Ok(Found {
        source,
        path,
        entries: reading.entries,
        skipped: reading.skipped,
        whole_path,
        digest: Sha256::digest(&*bytes).into(),
    })
}

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MigrateError {
    let path = path.to_owned();
    move |source| MigrateError::Io { action, path, source }
}

fn read_bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, MigrateError> {
    // Before it is opened: that would wait for a writer, where it is a pipe.
    if !fs::metadata(path).map_err(failed("read", path))?.is_file() {
        return Err(MigrateError::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(failed("read", path))?;
    let metadata = file.metadata().map_err(failed("read", path))?;
    if !metadata.is_file() {
        return Err(MigrateError::NotAFile(path.to_owned()));
    }
    let too_long = || MigrateError::TooLong { path: path.to_owned(), most: MOST };
    if metadata.len() > MOST {
        return Err(too_long());
    }
    // With room for all of it and the look past its end: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len() as usize + 64));
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() as u64 > MOST {
        return Err(too_long());
    }
    Ok(bytes)
}

/// Removes the file, and the link to it where it was named by one, if it is still as it was read.
pub(super) fn remove(found: &Found) -> Result<(), MigrateError> {
    let changed = || MigrateError::Changed(found.path.clone());
    let whole_path = match fs::canonicalize(&found.path) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(changed()),
        Err(error) => return Err(failed("read", &found.path)(error)),
    };
    // What is known to have changed is not even touched.
    if whole_path != found.whole_path || is_changed(found, &whole_path)? {
        return Err(changed());
    }
    remove_as_read(found, Aside::take(&whole_path)?)?;
    match fs::symlink_metadata(&found.path) {
        Ok(metadata) if metadata.is_symlink() => remove_link(&found.path, Aside::take(&found.path)?),
        _ => Ok(()),
    }
}

/// Removes what has been taken aside, or puts it back where it isn't what was read.
fn remove_as_read(found: &Found, aside: Aside) -> Result<(), MigrateError> {
    match is_changed(found, aside.path()) {
        Ok(false) => aside.remove(),
        // Also where it can't be read: it could be, before.
        _ => aside.put_back().and(Err(MigrateError::Changed(found.path.clone()))),
    }
}

fn remove_link(path: &Path, aside: Aside) -> Result<(), MigrateError> {
    match fs::symlink_metadata(aside.path()) {
        Ok(metadata) if metadata.is_symlink() => aside.remove(),
        // The program has put a file of its own in the link's place.
        _ => aside.put_back().and(Err(MigrateError::Changed(path.to_owned()))),
    }
}

fn is_changed(found: &Found, path: &Path) -> Result<bool, MigrateError> {
    let bytes = read_bytes(path)?;
    Ok(<[u8; 32]>::from(Sha256::digest(&*bytes)) != found.digest)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A file that was read, and has been replaced since by another with these bytes.
    fn replaced(directory: &TempDir, by: &str) -> Found {
        let path = directory.path().join("auth.json");
        fs::write(&path, "{}").unwrap();
        let found = read(Source::Gemini, &path).unwrap();
        let new = directory.path().join("new");
        fs::write(&new, by).unwrap();
        fs::rename(new, path).unwrap();
        found
    }

    fn names(directory: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_that_took_the_name_since_it_was_compared_is_put_back() {
        let directory = TempDir::new().unwrap();
        let found = replaced(&directory, "{ }");
        let aside = Aside::take(&found.whole_path).unwrap();
        let error = remove_as_read(&found, aside).unwrap_err();
        assert!(matches!(error, MigrateError::Changed(_)), "{error}");
        assert_eq!(fs::read_to_string(&found.path).unwrap(), "{ }");
        assert_eq!(names(&directory), ["auth.json"]);
    }

    #[test]
    fn one_that_cannot_be_read_is_put_back_too() {
        let directory = TempDir::new().unwrap();
        let found = replaced(&directory, "");
        fs::File::options().write(true).open(&found.path).unwrap().set_len(MOST + 1).unwrap();
        let error = remove_as_read(&found, Aside::take(&found.whole_path).unwrap()).unwrap_err();
        assert!(matches!(error, MigrateError::Changed(_)), "{error}");
        assert_eq!(names(&directory), ["auth.json"]);
    }

    #[test]
    fn one_is_put_back_over_no_third_and_its_place_is_told() {
        let directory = TempDir::new().unwrap();
        let found = replaced(&directory, "{ }");
        let aside = Aside::take(&found.whole_path).unwrap();
        fs::write(&found.path, "third").unwrap();
        let error = remove_as_read(&found, aside).unwrap_err();
        let MigrateError::SetAside { ref path, ref kept, .. } = error else { panic!("{error}") };
        assert_eq!(path, &found.whole_path);
        assert_eq!(fs::read_to_string(kept).unwrap(), "{ }");
        assert_eq!(fs::read_to_string(path).unwrap(), "third");
        assert_eq!(names(&directory).len(), 2);
        assert!(error.to_string().contains(&*kept.display().to_string()), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_in_a_link_s_place_is_put_back() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("link");
        fs::write(&path, "new").unwrap();
        let error = remove_link(&path, Aside::take(&path).unwrap()).unwrap_err();
        assert!(matches!(error, MigrateError::Changed(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(&directory), ["link"]);
    }
}

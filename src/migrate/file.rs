//! Reads files within limits, and removes them once all of their contents are in a vault.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::aside::Aside;
use super::error::{MigrateError, failed};
use super::formats::Reading;
use super::found::Found;
use super::json::{Syntax, Text};
use super::source::Source;

/// The maximum length in bytes. No file with accounts is longer.
const MAX_LEN: u64 = 16 << 20;

/// Reads a file with accounts. `source` names the program; if it is `None`, the file's contents and directory decide.
///
/// If an entry can't be read, the others still are, and [`Found::skipped`] names it. Fields of an entry that this version
/// doesn't know are kept among its tokens' secrets. This reads from the disk, so call it in `spawn_blocking` if other tasks
/// share the runtime's threads.
///
/// # Errors
/// If the file is missing or can't be read, is not a regular file, or is longer than 16 MiB; if it isn't a JSON object, or
/// only the beginning of one, with the line and the column; and [`MigrateError::Unclear`]. Errors quote none of the contents.
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
            return Err(damaged(line, 1 + before.len() - begin, "it is not UTF-8 there"));
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

fn read_bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, MigrateError> {
    // Checked before it is opened, because opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(failed("read", path))?.is_file() {
        return Err(MigrateError::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(failed("read", path))?;
    let metadata = file.metadata().map_err(failed("read", path))?;
    if !metadata.is_file() {
        return Err(MigrateError::NotAFile(path.to_owned()));
    }
    let too_long = || MigrateError::TooLong { path: path.to_owned(), most: MAX_LEN };
    if metadata.len() > MAX_LEN {
        return Err(too_long());
    }
    // With room for all of it and for the read past its end: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len() as usize + 64));
    file.take(MAX_LEN + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(too_long());
    }
    Ok(bytes)
}

/// Removes the file if it is unchanged since it was read. If its path is a link, that is removed, too.
pub(super) fn remove(found: &Found) -> Result<(), MigrateError> {
    let changed = || MigrateError::Changed(found.path.clone());
    let whole_path = match fs::canonicalize(&found.path) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(changed()),
        Err(error) => return Err(failed("read", &found.path)(error)),
    };
    // A file that is known to have changed is not touched at all.
    if whole_path != found.whole_path || is_changed(found, &whole_path)? {
        return Err(changed());
    }
    remove_as_read(found, Aside::take(&whole_path)?)?;
    match fs::symlink_metadata(&found.path) {
        Ok(metadata) if metadata.is_symlink() => remove_link(&found.path, Aside::take(&found.path)?),
        _ => Ok(()),
    }
}

/// Removes the renamed file, or puts it back if it differs from what was read.
fn remove_as_read(found: &Found, aside: Aside) -> Result<(), MigrateError> {
    match is_changed(found, aside.path()) {
        Ok(false) => aside.remove(),
        // This includes a file that can't be read: it could be read before.
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
    fn a_file_that_replaced_the_compared_one_is_put_back() {
        let directory = TempDir::new().unwrap();
        let found = replaced(&directory, "{ }");
        let aside = Aside::take(&found.whole_path).unwrap();
        let error = remove_as_read(&found, aside).unwrap_err();
        assert!(matches!(error, MigrateError::Changed(_)), "{error}");
        assert_eq!(fs::read_to_string(&found.path).unwrap(), "{ }");
        assert_eq!(names(&directory), ["auth.json"]);
    }

    #[test]
    fn an_unreadable_file_is_put_back() {
        let directory = TempDir::new().unwrap();
        let found = replaced(&directory, "");
        fs::File::options().write(true).open(&found.path).unwrap().set_len(MAX_LEN + 1).unwrap();
        let error = remove_as_read(&found, Aside::take(&found.whole_path).unwrap()).unwrap_err();
        assert!(matches!(error, MigrateError::Changed(_)), "{error}");
        assert_eq!(names(&directory), ["auth.json"]);
    }

    #[test]
    fn a_file_is_not_put_back_over_a_third_one_and_the_error_names_its_path() {
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
    fn a_file_that_replaced_a_link_is_put_back() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("link");
        fs::write(&path, "new").unwrap();
        let error = remove_link(&path, Aside::take(&path).unwrap()).unwrap_err();
        assert!(matches!(error, MigrateError::Changed(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(&directory), ["link"]);
    }
}

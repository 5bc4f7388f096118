//! The files themselves: read within bounds, and removed when all of them is in a vault.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

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

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MigrateError {
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
    if whole_path != found.whole_path || is_changed(found)? {
        return Err(changed());
    }
    fs::remove_file(&whole_path).map_err(failed("remove", &whole_path))?;
    match fs::symlink_metadata(&found.path) {
        Ok(metadata) if metadata.is_symlink() => {
            fs::remove_file(&found.path).map_err(failed("remove", &found.path))
        }
        _ => Ok(()),
    }
}

pub(super) fn is_changed(found: &Found) -> Result<bool, MigrateError> {
    let bytes = read_bytes(&found.path)?;
    Ok(<[u8; 32]>::from(Sha256::digest(&*bytes)) != found.digest)
}

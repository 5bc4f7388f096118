//! A record's file.

use std::fs;
use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::credential::{CredentialId, Metadata, Record};
use crate::vault::seal::Sealed;
use crate::vault::{Damage, VaultError, disk};

/// The version of the layout of records' and pools' files.
pub(super) const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    metadata: &'a Metadata,
    secret: &'a Sealed,
}

#[derive(Deserialize)]
struct Read {
    metadata: Metadata,
    secret: Sealed,
}

/// Reads a record; `None` where there is no file.
pub(super) fn read(path: &Path, id: CredentialId) -> Result<Option<Record<Sealed>>, VaultError> {
    let way_out = "restore it from a backup, or remove it and sign in again";
    let Some(Read { metadata, secret }) = read_json(path, way_out)? else { return Ok(None) };
    if metadata.id != id {
        let reason = format!("it holds the record {}; a copy? move it away", metadata.id);
        return Err(damaged(path, reason));
    }
    Ok(Some(Record { metadata, secret }))
}

/// Writes a record, durably.
pub(super) fn write(path: &Path, record: &Record<Sealed>) -> Result<(), VaultError> {
    let Record { metadata, secret } = record;
    let bytes = to_json(path, &Written { version: VERSION, metadata, secret })?;
    disk::Temporary::write(path, &bytes, true, None)?.replace(path)?;
    disk::sync_names(path)
}

/// Reads a file of ours; `None` where there is none.
pub(super) fn read_json<T: DeserializeOwned>(
    path: &Path,
    way_out: &str,
) -> Result<Option<T>, VaultError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(disk::failed("read", path)(error)),
    };
    // serde's own words quote what they choke on, which in a stray file may be a secret: only the place
    // is passed on.
    let unreadable = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        damaged(path, format!("not a file of this vault (line {line}, column {column}); {way_out}"))
    };
    let Versioned { version } = serde_json::from_slice(&bytes).map_err(unreadable)?;
    if version != VERSION {
        let reason =
            format!("its format has version {version}, this program knows {VERSION}; use a newer one");
        return Err(damaged(path, reason));
    }
    serde_json::from_slice(&bytes).map(Some).map_err(unreadable)
}

pub(super) fn to_json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, VaultError> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|error| disk::failed("write", path)(error.into()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> VaultError {
    VaultError::Damaged(Damage::new(path.display().to_string(), reason))
}

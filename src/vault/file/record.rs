//! A record's file, and what all JSON files of the vault have in common.

use std::fmt::Display;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::damage::as_damage;
use crate::credential::{CredentialId, Kind, Metadata, Record};
use crate::vault::disk::{self, damaged, ops};
use crate::vault::seal::Sealed;
use crate::vault::{Damage, VaultError, check_stored_names};

/// The version of the layout of JSON files.
pub(super) const VERSION: u32 = 1;

/// The maximum length of a JSON file in bytes. A longer file is not one of the vault's.
const MAX_LEN: u64 = 1 << 20;

#[derive(Serialize)]
pub(super) struct Written<'a> {
    pub(super) version: u32,
    pub(super) metadata: &'a Metadata,
    pub(super) secret: &'a Sealed,
}

#[derive(Deserialize)]
pub(super) struct Read {
    version: u32,
    pub(super) metadata: Metadata,
    pub(super) secret: Sealed,
}

/// Reads a record; `None` if there is no file.
pub(super) fn read(path: &Path, id: CredentialId) -> Result<Option<Record<Sealed>>, VaultError> {
    let way_out = WayOut::OfRecord;
    let Some(Read { metadata, secret, .. }) = read_json(path, way_out)? else { return Ok(None) };
    if metadata.id != id {
        let reason = format!("it holds the record {}; a copy? move it away", metadata.id);
        return Err(damaged(path, reason));
    }
    // The seal does not bind the label, and people are shown it.
    check_stored_names(&metadata).map_err(|error| {
        let reason = format!("{error}; correct it there, or {}", way_out.words());
        VaultError::Damaged(Damage::new(path.display().to_string(), reason).removable())
    })?;
    Ok(Some(Record { metadata, secret }))
}

/// Returns the damage for an error of reading this credential's record.
pub(super) fn damage(path: &Path, id: CredentialId, error: VaultError) -> Damage {
    let damage = as_damage(path, error);
    let bytes = if damage.may_pass { None } else { read_bytes(path, WayOut::OfRecord).ok().flatten() };
    damage.of(id, bytes.and_then(|bytes| kind_on(&bytes)))
}

/// Returns the kind that is written on a record. Nothing else of the record needs to be readable.
fn kind_on(bytes: &[u8]) -> Option<Kind> {
    const NAME: &[u8] = br#""kind""#;
    let at = bytes.windows(NAME.len()).position(|part| part == NAME)?;
    let value = bytes[at + NAME.len()..].trim_ascii_start().strip_prefix(b":")?;
    Kind::deserialize(&mut serde_json::Deserializer::from_slice(value)).ok()
}

/// Writes a record, durably.
pub(super) fn write(path: &Path, record: &Record<Sealed>) -> Result<(), VaultError> {
    disk::Temporary::write(path, &bytes(path, record)?)?.replace(path)
}

/// Returns the bytes of the file at `path` for this record.
pub(super) fn bytes(path: &Path, record: &Record<Sealed>) -> Result<Vec<u8>, VaultError> {
    let Record { metadata, secret } = record;
    bytes_of(path, &Written { version: VERSION, metadata, secret })
}

/// Writes a JSON file, durably.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), VaultError> {
    disk::Temporary::write(path, &bytes_of(path, value)?)?.replace(path)
}

fn bytes_of(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, VaultError> {
    let failed = |error: serde_json::Error| disk::failed("write", path)(error.into());
    let bytes = to_json(value).map_err(failed)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(VaultError::TooLong { bytes: bytes.len(), most: MAX_LEN as usize });
    }
    Ok(bytes)
}

/// Returns the bytes of a JSON file.
pub(super) fn to_json(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A file that says which version of the layout it has.
pub(super) trait Versioned: DeserializeOwned {
    /// The newest version that this program knows.
    const NEWEST: u32 = VERSION;

    /// Returns the file's version.
    fn version(&self) -> u32;
}

impl Versioned for Read {
    fn version(&self) -> u32 {
        self.version
    }
}

#[derive(Deserialize)]
struct Probe {
    version: u32,
}

/// What to do about a file that can't be read.
#[derive(Clone, Copy)]
pub(super) enum WayOut<'a> {
    /// The file is a record.
    OfRecord,
    /// In words.
    Of(&'a str),
}

impl<'a> WayOut<'a> {
    fn words(self) -> &'a str {
        match self {
            Self::OfRecord => "restore it from a backup, or remove it and sign in again",
            Self::Of(words) => words,
        }
    }

    /// Returns the damage of a file of which this is wrong.
    fn damaged(self, path: &Path, what: impl Display) -> VaultError {
        let damage = Damage::new(path.display().to_string(), format!("{what}; {}", self.words()));
        VaultError::Damaged(match self {
            Self::OfRecord => damage.removable(),
            Self::Of(_) => damage,
        })
    }
}

/// Reads a JSON file of a known version; `None` if there is none.
pub(super) fn read_json<T: Versioned>(
    path: &Path,
    way_out: WayOut<'_>,
) -> Result<Option<T>, VaultError> {
    let Some(bytes) = read_bytes(path, way_out)? else { return Ok(None) };
    parse(&bytes, path, way_out).map(Some)
}

/// Whether the file says that it has a newer version than ours.
pub(super) fn is_newer<T: Versioned>(path: &Path) -> Result<bool, VaultError> {
    let bytes = match read_bytes(path, WayOut::Of("")) {
        Err(VaultError::Damaged(_)) => None,
        read => read?,
    };
    let probe = bytes.and_then(|bytes| serde_json::from_slice::<Probe>(&bytes).ok());
    Ok(probe.is_some_and(|probe| probe.version > T::NEWEST))
}

fn read_bytes(path: &Path, way_out: WayOut<'_>) -> Result<Option<Vec<u8>>, VaultError> {
    let Some((file, metadata)) = disk::open_plain(path)? else { return Ok(None) };
    let length = metadata.len();
    if length > MAX_LEN {
        return Err(way_out.damaged(path, "too long to be a file of this vault"));
    }
    // Such a file is replaced whole and never grows, so its length is final.
    let mut bytes = Vec::with_capacity(length as usize);
    ops::read(&file, path, length, &mut bytes).map_err(disk::failed("read", path))?;
    Ok(Some(bytes))
}

/// Parses the bytes of the file at `path`.
pub(super) fn parse<T: Versioned>(
    bytes: &[u8],
    path: &Path,
    way_out: WayOut<'_>,
) -> Result<T, VaultError> {
    let newest = T::NEWEST;
    let other_version = |version| {
        let reason =
            format!("its format has version {version}, this program knows {newest}; use a newer one");
        damaged(path, reason)
    };
    let is_known = |version| (VERSION..=newest).contains(&version);
    match serde_json::from_slice::<T>(bytes) {
        Ok(value) if is_known(value.version()) => Ok(value),
        Ok(value) => Err(other_version(value.version())),
        Err(error) => Err(match serde_json::from_slice::<Probe>(bytes) {
            Ok(Probe { version }) if !is_known(version) => other_version(version),
            // serde's messages quote what they cannot parse, which may be a secret in a stray file. So only the
            // position is passed on.
            _ => {
                let (line, column) = (error.line(), error.column());
                let what = format_args!("not a file of this vault (line {line}, column {column})");
                way_out.damaged(path, what)
            }
        }),
    }
}

//! The lines of a pool's log: each a checksum, an entry in JSON, and a line feed.
//!
//! A process may be killed while it appends, and a power cut may keep any part of what was not synced. So bytes after
//! the last good line do not count as a line yet; a bad line with a good one after it is damage.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::credential::{CredentialId, Kind, Metadata, PoolKey};
use crate::standing::{Outcome, Standings};
use crate::vault::VaultError;
use crate::vault::disk::{self, ops};

/// The version of the log's format. Version 1 was a JSON file that was replaced whole.
pub(super) const FORMAT: u32 = 2;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line {
    /// Grows by one with each line of a pool's log, across its snapshots.
    pub(super) sequence: u64,
    pub(super) entry: Entry,
}

/// A line's content.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// The pool's whole state; the first line of each file.
    Snapshot(Snapshot),
    /// Outcomes, merged in this order.
    Outcomes(Vec<Outcome>),
    /// A credential has this label and kind. If it was not a member, it becomes one, last in the order.
    Member {
        id: CredentialId,
        label: Arc<str>,
        /// Older versions do not write it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<Kind>,
    },
    /// A credential has another place in the order, counted from 0.
    Moved { id: CredentialId, place: usize },
    /// A credential was removed.
    Removed(CredentialId),
    /// The record of a credential is about to change.
    Touched(CredentialId),
}

/// A pool's whole state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) format: u32,
    pub(super) pool: PoolKey,
    pub(super) standings: Standings,
    pub(super) labels: HashMap<CredentialId, Arc<str>>,
    /// Older versions do not write it.
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    pub(super) kinds: HashMap<CredentialId, Kind>,
}

impl Entry {
    /// Returns the entry that makes a credential a member.
    pub(super) fn member(metadata: &Metadata) -> Self {
        let Metadata { id, label, kind, .. } = metadata;
        Self::Member { id: *id, label: label.clone(), kind: Some(*kind) }
    }
}

/// The lines read from some bytes of a log.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) lines: Vec<Line>,
    /// How many bytes they took, including bad lines between them.
    pub(super) length: usize,
    /// How many bad lines have a good line after them.
    pub(super) damaged: usize,
    /// Whether the bytes begin with a snapshot in a newer format than ours.
    pub(super) is_newer: bool,
}

impl Line {
    /// Appends the line to `bytes`.
    pub(super) fn write_to(&self, bytes: &mut Vec<u8>) -> serde_json::Result<()> {
        let start = bytes.len();
        bytes.extend_from_slice(b"00000000 ");
        let text = bytes.len();
        serde_json::to_writer(&mut *bytes, self)?;
        let checksum = format!("{:08x}", crc32fast::hash(&bytes[text..]));
        bytes[start..start + checksum.len()].copy_from_slice(checksum.as_bytes());
        bytes.push(b'\n');
        Ok(())
    }

    fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(checked(line)?).ok()
    }
}

/// Returns the text of a line if its checksum is right.
fn checked(line: &[u8]) -> Option<&[u8]> {
    let (checksum, text) = line.split_at_checked(8)?;
    let text = text.strip_prefix(b" ")?;
    let checksum = str::from_utf8(checksum).ok().filter(|_| checksum.iter().all(is_digit))?;
    (u32::from_str_radix(checksum, 16) == Ok(crc32fast::hash(text))).then_some(text)
}

impl Lines {
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut read = Self::default();
        let (mut end, mut bad) = (0, 0);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            end += line.len();
            let Some(line) = line.strip_suffix(b"\n") else { break };
            match Line::read(line) {
                Some(line) => {
                    read.lines.push(line);
                    read.length = end;
                    read.damaged += std::mem::take(&mut bad);
                }
                None => bad += 1,
            }
        }
        read.is_newer = is_newer(bytes);
        read
    }
}

/// Whether bytes without a good line may be the first line of a log whose writer died, or that a power cut has
/// shortened: its beginning, and perhaps zeros after it.
pub(super) fn is_begun(bytes: &[u8]) -> bool {
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let (checksum, text) = bytes[..written].split_at(written.min(8));
    let start = &b" {\"sequence\":"[..];
    checksum.iter().all(is_digit)
        && (text.starts_with(start) || start.starts_with(text))
        && !text.contains(&b'\n')
}

/// Reads from a log which pool it belongs to; `None` if its first line was never finished.
pub(super) fn pool_of(path: &Path) -> Result<Option<PoolKey>, VaultError> {
    let Some((file, metadata)) = disk::open_plain(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    ops::read(&file, path, metadata.len(), &mut bytes).map_err(disk::failed("read", path))?;
    let lines = Lines::read(&bytes).lines;
    let pool = lines.into_iter().find_map(|line| match line {
        Line { entry: Entry::Snapshot(snapshot), .. } => Some(snapshot.pool),
        _ => None,
    });
    match pool {
        None if !is_begun(&bytes) => Err(disk::damaged(path, "it is no log of a pool; move it away")),
        pool => Ok(pool),
    }
}

fn is_digit(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Whether a log begins with a good line in a newer format than ours.
fn is_newer(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Line {
        entry: Entry,
    }
    #[derive(Deserialize)]
    struct Entry {
        snapshot: Snapshot,
    }
    #[derive(Deserialize)]
    struct Snapshot {
        format: u32,
    }
    let first = bytes.split(|byte| *byte == b'\n').next().and_then(checked);
    let line = first.and_then(|text| serde_json::from_slice::<Line>(text).ok());
    line.is_some_and(|line| line.entry.snapshot.format > FORMAT)
}

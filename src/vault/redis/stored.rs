//! A record as the engine keeps it: `generation.version:json`.
//!
//! The version grows with each change of any part, so that a change of the label and one of the secret at the same time do
//! not undo each other.

use crate::credential::{CredentialId, Generation, Kind, Metadata, Record};
use crate::vault::seal::Sealed;
use crate::vault::{Damage, VaultError};

/// A stored record, as text that is only read if it is needed.
#[derive(Clone)]
pub(super) struct Stored {
    text: String,
    generation: Generation,
    version: u64,
}

impl Stored {
    /// Writes a record.
    pub(super) fn new(record: &Record<Sealed>, version: u64) -> Result<Self, VaultError> {
        let json = serde_json::to_string(record).map_err(|error| VaultError::Layer(error.into()))?;
        let generation = record.metadata.generation;
        Ok(Self { text: format!("{generation}.{version}:{json}"), generation, version })
    }

    /// Reads the text's head, and the id of its credential, which must be there. Returns no record if the rest can't be read.
    pub(super) fn read(text: String) -> Option<(CredentialId, Option<Self>)> {
        match parsed(&text) {
            Some((record, version)) => {
                let Metadata { id, generation, .. } = record.metadata;
                Some((id, Some(Self { text, generation, version })))
            }
            None => Some((field(&text, "id")?.as_str()?.parse().ok()?, None)),
        }
    }

    /// Reads the record of a credential that a request is about.
    pub(super) fn must_be(id: CredentialId, text: String) -> Result<(Self, Record<Sealed>), VaultError> {
        match parsed(&text).filter(|(record, _)| record.metadata.id == id) {
            Some((record, version)) => {
                let generation = record.metadata.generation;
                Ok((Self { text, generation, version }, record))
            }
            None => Err(VaultError::Damaged(damage(id, &text))),
        }
    }

    pub(super) fn record(&self) -> Option<Record<Sealed>> {
        parsed(&self.text).map(|(record, _)| record)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Returns what a change expects to find.
    pub(super) fn head(&self) -> String {
        format!("{}.{}", self.generation, self.version)
    }

    /// Returns whether it is newer than another record of the same credential.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        (self.generation, self.version) > (other.generation, other.version)
    }
}

/// Shows nothing of the sealed secret.
impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stored").field(&self.head()).finish()
    }
}

/// Reads a record's text: the record and its version.
fn parsed(text: &str) -> Option<(Record<Sealed>, u64)> {
    let (head, json) = text.split_once(':')?;
    let (generation, version) = head.split_once('.')?;
    let generation = Generation::new(generation.parse().ok()?);
    let version = version.parse().ok()?;
    let record: Record<Sealed> = serde_json::from_str(json).ok()?;
    (record.metadata.generation == generation).then_some((record, version))
}

/// Returns a field of the metadata in a text that can't be read as a whole.
fn field(text: &str, name: &str) -> Option<serde_json::Value> {
    let (_, json) = text.split_once(':')?;
    let mut value: serde_json::Value = serde_json::from_str(json).ok()?;
    value.get_mut("metadata")?.get_mut(name).map(serde_json::Value::take)
}

/// Reports that a stored record can't be read.
pub(super) fn damage(id: CredentialId, text: &str) -> Damage {
    let kind: Option<Kind> = field(text, "kind").and_then(|kind| serde_json::from_value(kind).ok());
    let reason = "the engine's record can't be read; update this program if a newer one has written it, or remove \
                  the credential and sign in again";
    Damage::new(id.to_string(), reason).of(id, kind).removable()
}

//! The entries of a pool's log.

use std::fmt;
use std::str::FromStr;

use redis::{FromRedisValue, ParsingError, Value, from_redis_value};
use serde::{Deserialize, Serialize};

use super::fault::not_understood;
use super::stored::Stored;
use crate::credential::CredentialId;
use crate::standing::{Outcome, Standings};
use crate::vault::{BatchId, Revision, VaultError};

/// The id of an entry: its number, counted from 1, and a random number. The second is there since an engine that has lost
/// its last entries counts the next ones as it did these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EntryId {
    pub(super) number: u64,
    pub(super) random: u64,
}

impl EntryId {
    /// The id before the first entry.
    pub(super) const NONE: Self = Self { number: 0, random: 0 };

    /// Returns the revision of a pool whose last entry has this id.
    pub(super) fn revision(self) -> Revision {
        let both = u128::from(self.number) << 64 | u128::from(self.random);
        Revision::from_bytes(both.to_be_bytes())
    }

    /// Reads what a script says; nothing stands for the id before the first.
    pub(super) fn said(text: &str) -> Result<Self, VaultError> {
        if text.is_empty() { Ok(Self::NONE) } else { text.parse() }
    }

    /// Writes it as the scripts take it.
    pub(super) fn to_say(self) -> String {
        if self == Self::NONE { String::new() } else { self.to_string() }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.number, self.random)
    }
}

impl FromStr for EntryId {
    type Err = VaultError;

    fn from_str(text: &str) -> Result<Self, VaultError> {
        let parsed = text.split_once('-').and_then(|(number, random)| {
            Some(Self { number: number.parse().ok()?, random: random.parse().ok()? })
        });
        parsed.ok_or_else(|| not_understood("the id of an entry"))
    }
}

/// An entry as the engine keeps it.
#[derive(Debug)]
pub(super) struct Entry {
    id: String,
    kind: String,
    body: Vec<u8>,
    /// `ORIGIN:NUMBER` of a batch.
    batch: String,
}

impl FromRedisValue for Entry {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (id, fields): (String, Vec<Vec<u8>>) = from_redis_value(value)?;
        let mut entry = Self { id, kind: String::new(), body: Vec::new(), batch: String::new() };
        let mut fields = fields.into_iter();
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            match name.as_slice() {
                b"k" => entry.kind = String::from_utf8_lossy(&value).into_owned(),
                b"b" => entry.body = value,
                b"n" => entry.batch = String::from_utf8_lossy(&value).into_owned(),
                _ => {}
            }
        }
        Ok(entry)
    }
}

/// What an entry says.
#[derive(Debug)]
pub(super) enum Event {
    Outcomes(Vec<Outcome>),
    /// A record was added, or has changed. If it can't be read, its id is all that is known.
    Added(CredentialId, Option<Stored>),
    Changed(CredentialId, Option<Stored>),
    Moved(CredentialId, usize),
    Removed(CredentialId),
    Given(Given),
}

/// Standings that a host has given back to an engine that had forgotten them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Given {
    /// The number of the last entry of the forgotten log that the host has seen.
    pub(super) from: u64,
    /// The whole order, and the standings that have changed by that.
    pub(super) standings: Standings,
}

impl Entry {
    pub(super) fn id(&self) -> Result<EntryId, VaultError> {
        self.id.parse()
    }

    /// Returns the name of the batch that is in it.
    pub(super) fn batch(&self) -> Option<BatchId> {
        let (origin, number) = self.batch.split_once(':')?;
        Some(BatchId { origin: origin.parse().ok()?, number: number.parse().ok()? })
    }

    pub(super) fn event(&self) -> Result<Event, VaultError> {
        let wrong = || not_understood("an entry of the log");
        let text = std::str::from_utf8(&self.body).map_err(|_| wrong())?;
        let id = |text: &str| text.parse::<CredentialId>().map_err(|_| wrong());
        Ok(match self.kind.as_str() {
            "o" => Event::Outcomes(serde_json::from_str(text).map_err(|_| wrong())?),
            "g" => Event::Given(serde_json::from_str(text).map_err(|_| wrong())?),
            kind @ ("p" | "s") => {
                let (credential, stored) = Stored::read(text.to_owned()).ok_or_else(wrong)?;
                match kind {
                    "p" => Event::Added(credential, stored),
                    _ => Event::Changed(credential, stored),
                }
            }
            "m" => {
                let (moved, place) = text.split_once(':').ok_or_else(wrong)?;
                Event::Moved(id(moved)?, place.parse().map_err(|_| wrong())?)
            }
            "d" => Event::Removed(id(text)?),
            _ => return Err(wrong()),
        })
    }
}

//! The contents of a file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::source::Source;
use crate::clock::Timestamp;
use crate::credential::{OAuthTokens, Secret};
use crate::secret::SecretString;

/// The contents of a file, made by [`read`](super::read).
#[derive(Clone)]
#[non_exhaustive]
pub struct Found {
    /// The source of the file.
    pub source: Source,
    /// The path as the caller gave it.
    pub path: PathBuf,
    /// The entries that can be brought into a vault, in the file's order.
    pub entries: Vec<Entry>,
    /// The entries that can't.
    pub skipped: Vec<Skipped>,
    /// The path without links and relative parts, which a record remembers.
    pub(super) whole_path: PathBuf,
    /// The digest of the bytes that were read.
    pub(super) digest: [u8; 32],
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("source", &self.source)
            .field("path", &self.path)
            .field("entries", &self.entries)
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}

/// One account or key of a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// Its name in the file.
    pub name: String,
    /// The line where it begins, counted from 1.
    pub line: usize,
    /// The provider's name or alias.
    pub provider: String,
    /// The label that it gets, unless that is taken.
    pub label: String,
    /// Its tokens or its key, as a sign-in would store them.
    pub secret: Secret,
    /// The fields that are not secret.
    pub attributes: BTreeMap<String, String>,
}

/// An entry, or a part of one, that was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// The entry's name in the file.
    pub entry: String,
    /// The line, counted from 1.
    pub line: usize,
    /// Why, without quoting the entry.
    pub reason: String,
    /// Whether the entry has nothing to bring in, because nobody is signed in there.
    pub is_unfinished: bool,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (line {}): {}", self.entry, self.line, self.reason)
    }
}

impl Entry {
    /// The tokens, if it has some.
    pub(super) fn tokens(&self) -> Option<&OAuthTokens> {
        tokens(&self.secret)
    }

    /// When its access token expires, if it has one and the time is known.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        self.secret.expires_at().filter(|_| !self.secret.token().is_empty())
    }

    pub(super) fn note(&self) -> Note {
        let mut digest = Sha256::new();
        let mut add = |text: &str| {
            // Each text follows its length, so different lists never give the same bytes.
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        };
        add(self.secret.kind().as_str());
        add(self.secret.token().expose());
        if let Secret::WellKnown { variable, .. } = &self.secret {
            add(variable);
        }
        if let Some(tokens) = self.tokens() {
            add(tokens.refresh.as_ref().map_or("", SecretString::expose));
            add(&tokens.expires_at.map(|moment| moment.as_millis().to_string()).unwrap_or_default());
            for (name, value) in &tokens.extra {
                add(name);
                add(value.expose());
            }
        }
        for (name, value) in &self.attributes {
            add(name);
            add(value);
        }
        Note {
            entry: hex(&digest.finalize()),
            refresh: self.secret.refresh_token().map(digest_of),
            expires_at: self.expires_at(),
        }
    }
}

/// The tokens of a secret, if it has some.
pub(super) fn tokens(secret: &Secret) -> Option<&OAuthTokens> {
    match secret {
        Secret::OAuth(tokens) | Secret::Mcp(tokens) => Some(tokens),
        _ => None,
    }
}

/// The same as [`tokens`], mutable.
pub(super) fn tokens_mut(secret: &mut Secret) -> Option<&mut OAuthTokens> {
    match secret {
        Secret::OAuth(tokens) | Secret::Mcp(tokens) => Some(tokens),
        _ => None,
    }
}

/// The note by which a record recognizes the entry that its tokens came from, even after the tokens were renewed.
///
/// It has digests of secrets, so it is sealed with the record's secrets: in the unencrypted metadata, it would reveal whether
/// a guess at a short secret is right. A key needs no note: it is never renewed, so the record's own key is the entry's.
#[derive(Serialize, Deserialize)]
pub(super) struct Note {
    /// The digest of the whole entry.
    pub(super) entry: String,
    /// The digest of its refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refresh: Option<String>,
    /// When its access token expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Timestamp>,
}

impl Note {
    /// The entry of [`OAuthTokens::extra`] that has it.
    const NAME: &'static str = "migrated";

    pub(super) fn of(secret: &Secret) -> Option<Self> {
        serde_json::from_str(tokens(secret)?.extra.get(Self::NAME)?.expose()).ok()
    }

    /// Writes it into its tokens.
    pub(super) fn write(&self, tokens: &mut OAuthTokens) {
        let text = serde_json::to_string(self).expect("text is written to memory");
        tokens.extra.insert(Self::NAME.to_owned(), text.into());
    }
}

pub(super) fn digest_of(secret: &SecretString) -> String {
    hex(&Sha256::digest(secret.expose()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A record's origin, which its attributes name.
pub(super) struct Origin {
    source: Source,
    path: String,
    entry: String,
}

impl Origin {
    /// The attribute with the [source](Source::as_str).
    pub(super) const SOURCE: &'static str = "migrated_from";
    const PATH: &'static str = "migrated_path";
    const ENTRY: &'static str = "migrated_entry";
    /// The generation of the tokens or the key that came from there. A record with a later one got it elsewhere.
    pub(super) const GENERATION: &'static str = "migrated_generation";

    pub(super) fn new(found: &Found, entry: &Entry) -> Self {
        let path: &Path = &found.whole_path;
        Self {
            source: found.source,
            path: path.to_string_lossy().into_owned(),
            entry: entry.name.clone(),
        }
    }

    pub(super) fn is_of(&self, attributes: &BTreeMap<String, String>) -> bool {
        let has = |name: &str, value: &str| attributes.get(name).is_some_and(|known| known == value);
        has(Self::SOURCE, self.source.as_str())
            && has(Self::PATH, &self.path)
            && has(Self::ENTRY, &self.entry)
    }

    pub(super) fn write(&self, attributes: &mut BTreeMap<String, String>, generation: u64) {
        let generation = generation.to_string();
        for (name, value) in [
            (Self::SOURCE, self.source.as_str()),
            (Self::PATH, &self.path),
            (Self::ENTRY, &self.entry),
            (Self::GENERATION, &generation),
        ] {
            attributes.insert(name.to_owned(), value.to_owned());
        }
    }
}

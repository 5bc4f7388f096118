//! The stored form of a document.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::PoolDocument;
use super::refreshes::Refresh;
use super::unknown;
use super::unread::Unread;
use crate::credential::{CredentialId, Metadata, PoolKey, Record};
use crate::standing::{Standing, Standings};
use crate::vault::Revision;
use crate::vault::batch::MergedBatches;
use crate::vault::recent::RecentChanges;

/// The version of the stored form. Fields may be added without a new one: a program that does not know them keeps them. A change
/// of a field that is there makes a new one.
const FORMAT: u64 = 1;

/// What is stored. `C` is a credential.
#[derive(Serialize, Deserialize)]
struct Stored<'a, C> {
    format: u64,
    pool: Cow<'a, PoolKey>,
    revision: Revision,
    order: Cow<'a, [CredentialId]>,
    #[serde(default)]
    preferred: Cow<'a, [CredentialId]>,
    credentials: BTreeMap<String, C>,
    #[serde(default)]
    batches: Cow<'a, MergedBatches>,
    #[serde(default, deserialize_with = "recent_or_none")]
    recent: Cow<'a, RecentChanges>,
    /// The fields that this version does not know.
    #[serde(flatten)]
    unknown: Cow<'a, Map<String, Value>>,
}

/// Reads the last changes. Without them a reader loads the pool, so it is no error if only a later version knows them.
fn recent_or_none<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Cow<'static, RecentChanges>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(Cow::Owned(RecentChanges::deserialize(value).unwrap_or_default()))
}

/// What is stored of a credential. `R` is its record, `S` its standing, and `N` the note on its refresh.
#[derive(Serialize, Deserialize)]
struct StoredCredential<R, S, N> {
    record: R,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    standing: Option<S>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    refresh: Option<N>,
}

const fn none<T>() -> Option<T> {
    None
}

/// A record without its secret, which changes only as a whole.
#[derive(Serialize, Deserialize)]
struct WithoutSecret<M> {
    metadata: M,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Written<'a, T> {
    Anew(StoredCredential<&'a Record<T>, &'a Standing, &'a Refresh>),
    AsItWas(&'a Map<String, Value>),
    /// With what was stored of it before.
    Kept(Value),
}

/// Returns what to store of a credential of which this was stored before.
fn keep<'a, T: Serialize>(
    stored: &'a Map<String, Value>,
    now: &StoredCredential<&'a Record<T>, &'a Standing, &'a Refresh>,
) -> serde_json::Result<Written<'a, T>> {
    let StoredCredential { record: Record { metadata, secret }, standing, refresh } = *now;
    // What this version knows of what was stored. The secret is not in it, so it is kept like an unknown field.
    type Known = StoredCredential<WithoutSecret<Metadata>, Standing, Refresh>;
    let read = Known::deserialize(stored)?;
    let is_same = read.record.metadata == *metadata
        && read.standing.as_ref() == standing
        && read.refresh.as_ref() == refresh;
    let has_its_secret =
        stored.get("record").is_some_and(|record| record.get(unknown::SECRET).is_some());
    if is_same && has_its_secret {
        return Ok(Written::AsItWas(stored));
    }
    let now = StoredCredential { record: WithoutSecret { metadata }, standing, refresh };
    let mut kept = unknown::keep_fields(stored, &unknown::fields(&read)?, unknown::fields(&now)?);
    if let Some(Value::Object(fields)) = kept.get_mut("record")
        && !has_its_secret
    {
        fields.insert(unknown::SECRET.to_owned(), serde_json::to_value(secret)?);
    }
    Ok(Written::Kept(Value::Object(kept)))
}

#[cfg_attr(docsrs, doc(cfg(feature = "seal")))]
impl<T: Serialize> Serialize for PoolDocument<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let standings = &self.standings;
        let mut credentials = BTreeMap::new();
        for (id, record) in &self.records {
            let (standing, refresh) = (standings.credentials.get(id), self.refreshes.get(id));
            let now = StoredCredential { record, standing, refresh };
            let written = match self.unknown.get(*id) {
                Some(stored) => keep(stored, &now).map_err(S::Error::custom)?,
                None => Written::Anew(now),
            };
            credentials.insert(id.to_string(), written);
        }
        for (name, unread) in &self.unread {
            let standing = unread.id().and_then(|id| standings.credentials.get(&id));
            let stored = unread.stored(standing).map_err(S::Error::custom)?;
            credentials.insert(name.clone(), Written::Kept(stored));
        }
        let stored = Stored {
            format: FORMAT,
            pool: Cow::Borrowed(&self.pool),
            revision: self.revision,
            order: Cow::Borrowed(&standings.order),
            preferred: Cow::Borrowed(&standings.preferred),
            credentials,
            batches: Cow::Borrowed(&self.batches),
            recent: Cow::Borrowed(&self.recent),
            unknown: Cow::Borrowed(&self.unknown.fields),
        };
        stored.serialize(serializer)
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "seal")))]
impl<'de, T: DeserializeOwned> Deserialize<'de> for PoolDocument<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The format is looked at first: nothing else is known of a newer one.
        let fields = Map::deserialize(deserializer)?;
        if let Some(format) = fields.get("format").and_then(Value::as_u64).filter(|it| *it > FORMAT) {
            return Err(D::Error::custom(format_args!(
                "the document has format {format}, and this program reads formats up to {FORMAT}; update it"
            )));
        }
        let stored = Stored::deserialize(Value::Object(fields)).map_err(D::Error::custom)?;
        let Stored {
            format: _,
            pool,
            revision,
            order,
            preferred,
            credentials,
            batches,
            recent,
            unknown,
        } = stored;
        let mut document = Self::new(pool.into_owned());
        for (name, stored) in credentials {
            document.add(name, stored);
        }
        document.revision = revision;
        document.set_order(order.into_owned(), preferred.into_owned());
        (document.batches, document.recent) = (batches.into_owned(), recent.into_owned());
        document.unknown.fields = unknown.into_owned();
        Ok(document)
    }
}

impl<T: DeserializeOwned> PoolDocument<T> {
    /// Adds a stored credential.
    fn add(&mut self, name: String, stored: Value) {
        type Read<T> = StoredCredential<Record<T>, Standing, Refresh>;
        let is_its_own = |read: &Read<T>| {
            let metadata = &read.record.metadata;
            name.parse() == Ok(metadata.id) && metadata.pool == self.pool
        };
        match Read::<T>::deserialize(&stored).ok().filter(is_its_own) {
            Some(StoredCredential { record, standing, refresh }) => {
                let id = record.metadata.id;
                self.standings.credentials.extend(standing.map(|standing| (id, standing)));
                self.refreshes.extend(refresh.map(|refresh| (id, refresh)));
                self.labels.insert(record.metadata.label.clone(), id);
                self.records.insert(id, record);
                self.unknown.insert(id, stored);
            }
            None => {
                let (unread, standing) = Unread::new(&name, stored);
                if let Some(id) = unread.id() {
                    self.standings.credentials.extend(standing.map(|standing| (id, standing)));
                    if let Some(label) = unread.label() {
                        self.labels.entry(label.clone()).or_insert(id);
                    }
                }
                self.unread.insert(name, unread);
            }
        }
    }

    /// Sets the order of all credentials that were added. One that is missing in it comes last.
    fn set_order(&mut self, order: Vec<CredentialId>, preferred: Vec<CredentialId>) {
        let unread = self.unread.values().filter_map(Unread::id);
        let mut all: Vec<_> = self.records.keys().copied().chain(unread).collect();
        all.sort_unstable();
        let each_once = |order: Vec<CredentialId>| {
            let mut rest: HashSet<_> = all.iter().copied().collect();
            order.into_iter().filter(|id| rest.remove(id)).collect::<Vec<_>>()
        };
        let Standings { order: ordered, preferred: preference, .. } = &mut self.standings;
        (*ordered, *preference) = (each_once(order), each_once(preferred));
        let known: HashSet<_> = ordered.iter().copied().collect();
        ordered.extend(all.iter().filter(|id| !known.contains(*id)));
        self.standings.complete();
    }
}

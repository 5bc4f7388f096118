//! What is stored of a document beside what this version knows of it.
//!
//! A newer version may have added fields. An older one that stores the document must not lose them, so what was read is kept as
//! it was stored, and is compared with what is known now when the document is stored again.

#[cfg(feature = "seal")]
use std::collections::HashMap;

use crate::credential::CredentialId;

/// The parts of a document that this version does not know.
#[derive(Default)]
pub(super) struct Unknown {
    /// The document's own fields.
    #[cfg(feature = "seal")]
    pub(super) fields: serde_json::Map<String, serde_json::Value>,
    /// The credentials as they were stored.
    #[cfg(feature = "seal")]
    credentials: HashMap<CredentialId, serde_json::Map<String, serde_json::Value>>,
}

#[cfg_attr(not(feature = "seal"), allow(unused_variables, reason = "nothing is read"))]
impl Unknown {
    /// Forgets a credential that is removed.
    pub(super) fn remove(&mut self, id: CredentialId) {
        #[cfg(feature = "seal")]
        if let Some(stored) = self.credentials.remove(&id) {
            stored::wipe_secret(stored);
        }
    }

    /// Forgets what was stored of a secret that is replaced.
    pub(super) fn remove_secret(&mut self, id: CredentialId) {
        #[cfg(feature = "seal")]
        if let Some(stored) = self.credentials.get_mut(&id)
            && let Some(secret) = stored::take_secret(stored)
        {
            stored::wipe(secret);
        }
    }

    /// Forgets what was stored of a note on a refresh that is over.
    pub(super) fn remove_refresh(&mut self, id: CredentialId) {
        #[cfg(feature = "seal")]
        if let Some(stored) = self.credentials.get_mut(&id) {
            stored.remove("refresh");
        }
    }
}

/// A document of secrets that are not sealed has them here, too.
#[cfg(feature = "seal")]
impl Drop for Unknown {
    fn drop(&mut self) {
        self.credentials.drain().for_each(|(_, stored)| stored::wipe_secret(stored));
    }
}

#[cfg(feature = "seal")]
pub(super) use stored::{SECRET, fields, keep, keep_fields};

#[cfg(feature = "seal")]
mod stored {
    use serde::Serialize;
    use serde_json::{Map, Value};
    use zeroize::Zeroize;

    use super::Unknown;
    use crate::credential::CredentialId;

    pub(in super::super) const SECRET: &str = "secret";

    /// The parts of a credential whose fields change one by one. All other values are replaced whole.
    const PARTS: [&str; 4] = ["record", "metadata", "standing", "refresh"];

    impl Unknown {
        /// Keeps a credential as it was stored.
        pub(in super::super) fn insert(&mut self, id: CredentialId, stored: Value) {
            if let Value::Object(fields) = stored {
                self.credentials.insert(id, fields);
            }
        }

        /// Returns a credential as it was stored, if it was.
        pub(in super::super) fn get(&self, id: CredentialId) -> Option<&Map<String, Value>> {
            self.credentials.get(&id)
        }
    }

    /// Takes the secret out of a stored credential.
    pub(super) fn take_secret(stored: &mut Map<String, Value>) -> Option<Value> {
        stored.get_mut("record")?.as_object_mut()?.remove(SECRET)
    }

    /// Drops a stored credential, and zeroizes its secret.
    pub(super) fn wipe_secret(mut stored: Map<String, Value>) {
        take_secret(&mut stored).into_iter().for_each(wipe);
    }

    /// Zeroizes all text of a value.
    pub(super) fn wipe(value: Value) {
        match value {
            Value::String(mut text) => text.zeroize(),
            Value::Array(values) => values.into_iter().for_each(wipe),
            Value::Object(fields) => fields.into_iter().for_each(|(_, value)| wipe(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Returns what to store of a part: what it is now, and what was stored of it beside what was read.
    pub(in super::super) fn keep(name: &str, stored: &Value, read: &Value, now: Value) -> Value {
        if now == *read {
            return stored.clone();
        }
        match (stored, read, now) {
            (Value::Object(stored), Value::Object(read), Value::Object(now))
                if PARTS.contains(&name) =>
            {
                Value::Object(keep_fields(stored, read, now))
            }
            (Value::Array(stored), Value::Array(read), Value::Array(now)) => {
                // Those that are as they were, in any place.
                let known = |now: Value| {
                    let at = read.iter().position(|read| *read == now);
                    at.and_then(|at| stored.get(at)).cloned().unwrap_or(now)
                };
                Value::Array(now.into_iter().map(known).collect())
            }
            (_, _, now) => now,
        }
    }

    /// Returns the fields of a part to store.
    pub(in super::super) fn keep_fields(
        stored: &Map<String, Value>,
        read: &Map<String, Value>,
        mut now: Map<String, Value>,
    ) -> Map<String, Value> {
        for (name, stored) in stored {
            let kept = match (read.get(name), now.get_mut(name)) {
                (Some(read), Some(now)) => keep(name, stored, read, now.take()),
                (None, None) => stored.clone(),
                // It has ended, or this version has set what was stored as its default.
                (Some(_), None) | (None, Some(_)) => continue,
            };
            now.insert(name.clone(), kept);
        }
        now
    }

    /// Returns a value as JSON's fields.
    pub(in super::super) fn fields(value: &impl Serialize) -> serde_json::Result<Map<String, Value>> {
        match serde_json::to_value(value)? {
            Value::Object(fields) => Ok(fields),
            _ => Ok(Map::new()),
        }
    }
}

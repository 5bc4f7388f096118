//! A credential of a document that can't be read.

use std::sync::Arc;

use crate::vault::Damage;

/// A credential that can't be read. It is written back as it was.
#[cfg_attr(not(feature = "seal"), allow(dead_code, reason = "nothing is read from a stored form"))]
pub(super) struct Unread {
    damage: Damage,
    /// Its label, if that can be read: no other credential gets it.
    label: Option<Arc<str>>,
    /// Whether its standing can be read. Else outcomes are dropped, and the standing stays as it was.
    has_standing: bool,
    #[cfg(feature = "seal")]
    stored: serde_json::Value,
}

impl Unread {
    pub(super) fn damage(&self) -> Damage {
        self.damage.clone()
    }

    pub(super) fn label(&self) -> Option<&Arc<str>> {
        self.label.as_ref()
    }

    pub(super) fn has_standing(&self) -> bool {
        self.has_standing
    }
}

#[cfg(feature = "seal")]
mod stored {
    use serde::Deserialize;
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    use super::super::unknown::keep;
    use super::Unread;
    use crate::credential::CredentialId;
    use crate::standing::Standing;
    use crate::vault::Damage;

    /// The name of a standing in what is stored of a credential.
    const STANDING: &str = "standing";

    impl Unread {
        /// Returns the credential with this name, and its standing if that can be read and is there.
        pub(in super::super) fn new(name: &str, stored: Value) -> (Self, Option<Standing>) {
            fn read<T: DeserializeOwned>(stored: &Value, at: &str) -> Option<T> {
                stored.pointer(at).and_then(|value| T::deserialize(value).ok())
            }
            // It quotes nothing of the record, which may be a secret.
            let damage = match name.parse::<CredentialId>() {
                Ok(id) => {
                    let reason = "it can't be read; update this program if a newer one has written it, or remove the \
                                  credential and sign in again";
                    let kind = read(&stored, "/record/metadata/kind");
                    Damage::new(name, reason).of(id, kind).removable()
                }
                Err(_) => {
                    Damage::new(name, "its name is no credential's id; take it out of the document")
                }
            };
            let standing: Option<Option<Standing>> = match stored.get(STANDING) {
                Some(standing) => Option::deserialize(standing).ok(),
                None => stored.is_object().then_some(None),
            };
            let label = read::<String>(&stored, "/record/metadata/label").map(Into::into);
            let unread = Self { damage, label, has_standing: standing.is_some(), stored };
            (unread, standing.flatten())
        }

        pub(in super::super) fn id(&self) -> Option<CredentialId> {
            self.damage.id
        }

        /// Returns what to store of it, with its standing of now.
        pub(in super::super) fn stored(
            &self,
            standing: Option<&Standing>,
        ) -> Result<Value, serde_json::Error> {
            let mut stored = self.stored.clone();
            let known = standing.filter(|_| self.has_standing);
            if let (Some(fields), Some(standing)) = (stored.as_object_mut(), known) {
                let before = fields.get(STANDING).cloned().unwrap_or_default();
                let read = serde_json::to_value(Option::<Standing>::deserialize(&before)?)?;
                let now = keep(STANDING, &before, &read, serde_json::to_value(standing)?);
                fields.insert(STANDING.to_owned(), now);
            }
            Ok(stored)
        }
    }
}

//! Whether a body says in one way only which model it is for.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// Whether a JSON object has several fields `model`: servers take the first or the last.
pub(super) fn is_ambiguous(body: &[u8]) -> bool {
    serde_json::from_slice::<Models>(body).is_ok_and(|Models(count)| count > 1)
}

/// How many fields of this name an object has.
struct Models(usize);

impl<'de> Deserialize<'de> for Models {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Counting;

        impl<'de> Visitor<'de> for Counting {
            type Value = Models;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Models, A::Error> {
                let mut count = 0;
                while let Some(name) = fields.next_key::<std::borrow::Cow<'de, str>>()? {
                    fields.next_value::<IgnoredAny>()?;
                    count += usize::from(name == "model");
                }
                Ok(Models(count))
            }
        }

        from.deserialize_map(Counting)
    }
}

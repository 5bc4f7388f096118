//! Finds the model that a request is for.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::percent::decoded;

/// The maximum length of a name. No vendor's names are longer, and a body may contain anything.
const MAX_LEN: usize = 200;

/// The model in a path: `…/models/NAME:METHOD` at Google, `…/deployments/NAME/…` at Azure, `/model/NAME/…` at Amazon.
pub(super) fn in_path(path: &str) -> Option<String> {
    let mut segments = path.split('/');
    while let Some(segment) = segments.next() {
        let name = match segment {
            "models" => segments.clone().next()?.split_once(':').map(|(name, _)| name),
            "deployments" | "model" => segments.clone().next(),
            _ => None,
        };
        if let Some(name) = name {
            return usable(name);
        }
    }
    None
}

/// The model in a query: a realtime API has no body. `model` at OpenAI, `deployment` at Azure.
pub(super) fn in_query(query: &str) -> Option<String> {
    let named = |wanted: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut values = pairs.filter(|(name, _)| decoded(name) == wanted).map(|(_, value)| value);
        usable(&decoded(values.next()?))
    };
    named("model").or_else(|| named("deployment"))
}

/// The field `model` of a JSON object that may be cut off.
pub(super) fn in_json(body: &[u8]) -> Option<String> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let mut name = None;
    // The visitor stops at the name, which serde reports as an error.
    let _ = serde_json::Deserializer::from_slice(body).deserialize_map(Model(&mut name));
    let name = name?;
    // Google's own bodies name the resource.
    usable(name.strip_prefix("models/").unwrap_or(&name))
}

fn usable(name: &str) -> Option<String> {
    let is_usable =
        !name.is_empty() && name.len() <= MAX_LEN && name.bytes().all(|byte| byte.is_ascii_graphic());
    is_usable.then(|| name.to_owned())
}

struct Model<'a>(&'a mut Option<String>);

impl<'de> Visitor<'de> for Model<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == "model" {
                *self.0 = Some(map.next_value()?);
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

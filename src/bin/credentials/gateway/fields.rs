//! The fields of a JSON body that say which account a request gets. The body is read once, and nothing else of it is kept.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What the body of a request says.
#[derive(Default)]
pub(super) struct Fields<'a> {
    /// The first field `model`.
    model: Option<Cow<'a, str>>,
    /// How many fields of that name there are.
    models: usize,
    pub(super) prompt_cache_key: Option<Cow<'a, str>>,
    pub(super) previous_response_id: Option<Cow<'a, str>>,
    pub(super) conversation: Option<Cow<'a, str>>,
    pub(super) input_file_id: Option<Cow<'a, str>>,
    /// `user_id` in `metadata`.
    pub(super) user: Option<Cow<'a, str>>,
}

impl<'a> Fields<'a> {
    /// Reads a body, as far as it is JSON.
    pub(super) fn read(body: &'a [u8]) -> Self {
        let mut fields = Self::default();
        if body.trim_ascii_start().starts_with(b"{") {
            // What comes before a mistake counts: a server may be less strict.
            let _ = serde_json::Deserializer::from_slice(body).deserialize_map(Reading(&mut fields));
        }
        fields
    }

    /// Whether servers could take different models from it: some take the first, others the last.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.models > 1
    }

    /// Returns a body with the model alone, in which a provider finds it as in the whole one.
    pub(super) fn model_alone(&self) -> Vec<u8> {
        let alone = self.model.as_ref().map(|model| serde_json::json!({ "model": model }).to_string());
        alone.unwrap_or_default().into_bytes()
    }
}

struct Reading<'f, 'a>(&'f mut Fields<'a>);

impl<'a> Visitor<'a> for Reading<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let fields = self.0;
        while let Some(Text(name)) = map.next_key()? {
            let wanted = match &*name {
                "model" => {
                    fields.models += 1;
                    let model = text(map.next_value()?);
                    if fields.models == 1 {
                        fields.model = model;
                    }
                    continue;
                }
                "metadata" => {
                    fields.user = object(map.next_value()?).user_id.map(|Text(user)| user);
                    continue;
                }
                "prompt_cache_key" => &mut fields.prompt_cache_key,
                "previous_response_id" => &mut fields.previous_response_id,
                "conversation" => &mut fields.conversation,
                "input_file_id" => &mut fields.input_file_id,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let value: &RawValue = map.next_value()?;
            *wanted = text(value).or_else(|| object(value).id.map(|Text(id)| id));
        }
        Ok(())
    }
}

/// A text, which is copied only if it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What an object may say.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Object<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    user_id: Option<Text<'a>>,
}

/// Returns a value that is a text.
fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str(value.get()).ok().map(|Text(text)| text)
}

/// Returns what an object says. Any other value says nothing.
fn object(value: &RawValue) -> Object<'_> {
    serde_json::from_str(value.get()).unwrap_or_default()
}

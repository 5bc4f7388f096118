//! The models that callers get.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use super::error::DiscoveryError;
use crate::clock::Timestamp;

/// A model that an upstream offers. Texts are as the upstream wrote them: remove control characters before a terminal shows
/// one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Model {
    /// The id for requests; without `models/` for Google's.
    pub id: String,
    /// The name for people.
    pub name: Option<String>,
    /// The owner.
    pub owner: Option<String>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// The maximum number of tokens that it takes.
    pub context_window: Option<u64>,
    /// The upstream's JSON object, as it was written.
    ///
    /// ```
    /// # fn show(model: &tower_credentials::discovery::Model) -> serde_json::Result<()> {
    /// let all: serde_json::Value = serde_json::from_str(model.raw.get())?;
    /// println!("{}", all["pricing"]);
    /// # Ok(())
    /// # }
    /// ```
    pub raw: Box<RawValue>,
}

/// Compares the id and the JSON object, from which all other fields are read.
impl PartialEq for Model {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.raw.get() == other.raw.get()
    }
}

impl Model {
    /// Returns whether its id or its name contains this text, in upper or lower case. A `*` in the text matches any text;
    /// then the whole id must match.
    ///
    /// ```
    /// # fn show(models: &tower_credentials::discovery::Models) {
    /// for model in models.iter().filter(|model| model.matches("gpt-*-mini")) {
    ///     println!("{}", model.id);
    /// }
    /// # }
    /// ```
    pub fn matches(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let id = self.id.to_lowercase();
        if text.contains('*') {
            return matches_wildcards(&id, &text);
        }
        id.contains(&text) || self.name.as_ref().is_some_and(|name| name.to_lowercase().contains(&text))
    }
}

fn matches_wildcards(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        // The first match leaves the most room for the rest.
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// A list of models, sorted by id and without duplicates. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Models {
    models: Arc<[Model]>,
    fetched_at: Timestamp,
    stale: Option<Stale>,
}

/// The reason why a list is an older one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stale {
    /// The age of the list.
    pub age: Duration,
    /// Why there is no newer one.
    pub error: DiscoveryError,
}

impl Models {
    pub(super) fn new(models: Arc<[Model]>, fetched_at: Timestamp, stale: Option<Stale>) -> Self {
        Self { models, fetched_at, stale }
    }

    /// Returns the models.
    pub fn as_slice(&self) -> &[Model] {
        &self.models
    }

    /// Iterates over the models.
    pub fn iter(&self) -> slice::Iter<'_, Model> {
        self.models.iter()
    }

    /// Returns the model with this id.
    pub fn get(&self, id: &str) -> Option<&Model> {
        let place = self.models.binary_search_by(|model| model.id.as_str().cmp(id)).ok()?;
        self.models.get(place)
    }

    /// Returns when the upstream sent the list, or last confirmed it.
    pub fn fetched_at(&self) -> Timestamp {
        self.fetched_at
    }

    /// Returns why the list is older than its time to live; `None` if it isn't.
    pub fn stale(&self) -> Option<&Stale> {
        self.stale.as_ref()
    }
}

impl<'a> IntoIterator for &'a Models {
    type Item = &'a Model;
    type IntoIter = slice::Iter<'a, Model>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn model(id: &str, name: Option<&str>) -> Model {
        Model {
            id: id.to_owned(),
            name: name.map(str::to_owned),
            owner: None,
            created_at: None,
            context_window: None,
            raw: Box::default(),
        }
    }

    #[test]
    fn a_text_matches_the_id_or_the_name() {
        let model = model("gpt-5-mini", Some("Small One"));
        for (text, expected) in [
            ("", true),
            ("GPT", true),
            ("5-m", true),
            ("small", true),
            ("large", false),
            ("gpt-*", true),
            ("gpt*mini", true),
            ("*", true),
            ("*-5-*", true),
            ("gpt-*-mini", true),
            ("gpt", true),
            ("pt-*", false),
            ("*min", false),
            ("gpt-5-*5-mini", false),
            ("small*", false),
        ] {
            assert_eq!(model.matches(text), expected, "{text}");
        }
    }

    /// The definition itself: a star takes any number of characters.
    fn by_definition(text: &[char], pattern: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', pattern @ ..] => (0..=text.len()).any(|at| by_definition(&text[at..], pattern)),
            [char, pattern @ ..] => text.first() == Some(char) && by_definition(&text[1..], pattern),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_star_matches_any_number_of_characters(text in "[abé]{0,8}", pattern in "[abé*]{0,6}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(
                matches_wildcards(&text, &pattern),
                by_definition(&chars(&text), &chars(&pattern))
            );
        }
    }
}

//! Models, as they are given to callers.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use super::DiscoveryError;
use crate::clock::Timestamp;

/// A model that an upstream offers. Texts are as the upstream wrote them: before a terminal shows one, what
/// moves its cursor is to be taken out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Model {
    /// What requests call it; of Google's, without `models/`.
    pub id: String,
    /// What people call it.
    pub name: Option<String>,
    /// Whose it is.
    pub owner: Option<String>,
    /// Since when it is there.
    pub created_at: Option<Timestamp>,
    /// How many tokens it takes, at most.
    pub context_window: Option<u64>,
    /// All that the upstream says of it: a JSON object, as it was written.
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

/// The rest of a model is read from what the upstream says of it.
impl PartialEq for Model {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.raw.get() == other.raw.get()
    }
}

impl Model {
    /// Whether its id or its name has this text in it, in upper or lower case. A `*` in the text stands for any
    /// text; the id has to match the whole of it then.
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
        // The first place is as good as any: what follows has the most room then.
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// The models of an answer, by their ids, none of them twice. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Models {
    models: Arc<[Model]>,
    fetched_at: Timestamp,
    stale: Option<Stale>,
}

/// Why models are those of an older answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stale {
    /// How old that answer is.
    pub age: Duration,
    /// Why there is no newer one.
    pub error: DiscoveryError,
}

impl Models {
    pub(super) fn new(models: Arc<[Model]>, fetched_at: Timestamp, stale: Option<Stale>) -> Self {
        Self { models, fetched_at, stale }
    }

    /// The models.
    pub fn as_slice(&self) -> &[Model] {
        &self.models
    }

    /// The models, one after another.
    pub fn iter(&self) -> slice::Iter<'_, Model> {
        self.models.iter()
    }

    /// The model of this id.
    pub fn get(&self, id: &str) -> Option<&Model> {
        let place = self.models.binary_search_by(|model| model.id.as_str().cmp(id)).ok()?;
        self.models.get(place)
    }

    /// When the upstream gave the answer, or last said that it still holds.
    pub fn fetched_at(&self) -> Timestamp {
        self.fetched_at
    }

    /// That the answer is older than it should be, and why; `None` for one that is not.
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
    fn a_text_is_looked_for_in_the_id_and_in_the_name() {
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

    /// By the definition: a star takes any number of characters.
    fn by_the_book(text: &[char], pattern: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', pattern @ ..] => (0..=text.len()).any(|at| by_the_book(&text[at..], pattern)),
            [char, pattern @ ..] => text.first() == Some(char) && by_the_book(&text[1..], pattern),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn stars_match_as_they_are_defined(text in "[abé]{0,8}", pattern in "[abé*]{0,6}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(
                matches_wildcards(&text, &pattern),
                by_the_book(&chars(&text), &chars(&pattern))
            );
        }
    }
}

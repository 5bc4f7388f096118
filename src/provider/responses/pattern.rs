//! Patterns that a text must match.

use std::borrow::Cow;

/// A pattern of a whole text. `*` matches anything, and `{time}` the time that the text names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Cow<'static, str>);

/// The placeholder of a time.
const TIME: &str = "{time}";

impl Pattern {
    pub(super) fn new(text: Cow<'static, str>) -> Self {
        Self(text)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// `Some` if the text matches, with the time that it names in words, if any.
    pub(super) fn matches<'t>(&self, text: &'t str) -> Option<Option<&'t str>> {
        // Vendors add and drop full stops.
        matches(self.0.trim_end_matches('.'), text.trim().trim_end_matches('.'))
    }

    /// The pattern as an error's code, if it is one: a single word without placeholders.
    pub(super) fn code(&self) -> Option<&str> {
        let is_code = !self.0.is_empty() && !self.0.contains([' ', '*', '{']);
        is_code.then_some(&*self.0)
    }
}

/// Takes the first occurrence of each literal, and the last literal at the end, so that the time grows only linearly with
/// the length of the text.
fn matches<'t>(pattern: &str, text: &'t str) -> Option<Option<&'t str>> {
    let mut time = None;
    let (first, mut pattern) = next_literal(pattern);
    let mut rest = text.strip_prefix(first)?;
    while let Some((gap, after)) = next_gap(pattern) {
        let (literal, more) = next_literal(after);
        let length = match more.is_empty() {
            true if literal.is_empty() => rest.len(),
            true => rest.len().checked_sub(literal.len()).filter(|_| rest.ends_with(literal))?,
            false => rest.find(literal)?,
        };
        if gap == TIME {
            time = Some(&rest[..length]);
        }
        rest = &rest[length + literal.len()..];
        pattern = more;
    }
    rest.is_empty().then_some(time)
}

/// The text up to the next gap, and the rest.
fn next_literal(pattern: &str) -> (&str, &str) {
    let gap = [pattern.find('*'), pattern.find(TIME)].into_iter().flatten().min();
    pattern.split_at(gap.unwrap_or(pattern.len()))
}

/// The gap at the beginning of a pattern, and the rest.
fn next_gap(pattern: &str) -> Option<(&str, &str)> {
    let length = if pattern.starts_with('*') { 1 } else { TIME.len() };
    (!pattern.is_empty()).then(|| pattern.split_at(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    // A test of the public interface would need a provider for each line.
    #[test]
    fn a_pattern_matches_the_whole_text() {
        let at = |pattern: &'static str, text| Pattern::new(pattern.into()).matches(text);
        for (pattern, text, expected) in [
            ("a", "a", Some(None)),
            ("a", "a.", Some(None)),
            ("a.", " a ", Some(None)),
            ("a", "ab", None),
            ("a", "A", None),
            ("", "", Some(None)),
            ("*", "", Some(None)),
            ("*", "what ever", Some(None)),
            ("a*", "abc", Some(None)),
            ("*c", "abc", Some(None)),
            ("a*c", "ac", Some(None)),
            ("a*c", "acd", None),
            ("ab*ba", "aba", None),
            ("a*b*c", "a1b2b3c", Some(None)),
            ("from {time} UTC", "from 5 at 6 UTC.", Some(Some("5 at 6"))),
            ("{time}", "7", Some(Some("7"))),
            ("*: {time}", "on: 7", Some(Some("7"))),
            ("é*ü", "éßü", Some(None)),
        ] {
            assert_eq!(at(pattern, text), expected, "{pattern:?} of {text:?}");
        }
    }

    #[test]
    fn a_code_is_one_word() {
        let code = |text: &'static str| Pattern::new(text.into()).code().map(str::to_owned);
        assert_eq!(code("token_revoked").as_deref(), Some("token_revoked"));
        for text in ["", "two words", "all*", "{time}"] {
            assert_eq!(code(text), None);
        }
    }
}

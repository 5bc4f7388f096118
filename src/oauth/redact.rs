//! Other people's words, made fit to be shown: bounded, on one line, and without what is secret.

use url::form_urlencoded;

use crate::printable::{MOST, one_line};
use crate::secret::SecretString;
use crate::vault::MAX_NAME_LEN;

/// What must not be quoted while a request is made, longest first.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<SecretString>);

impl Secrets {
    pub(super) fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        texts.into_iter().fold(Self::default(), Self::and)
    }

    /// And this text.
    pub(super) fn and(mut self, text: &str) -> Self {
        if !text.is_empty() {
            // Longest first: one may be a part of another.
            let place = self.0.partition_point(|known| known.expose().len() >= text.len());
            self.0.insert(place, text.into());
        }
        self
    }

    /// The text as it may be shown.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            text = text.replace(secret.expose(), "…");
            // As an error about a URL would have it.
            let encoded: String = form_urlencoded::byte_serialize(secret.expose().as_bytes()).collect();
            text = text.replace(&encoded, "…");
        }
        one_line(&text, MOST)
    }

    /// An error and its causes as they may be shown.
    pub(super) fn clean_error(&self, error: &(dyn std::error::Error + 'static)) -> String {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Many errors say what their cause says.
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        self.clean(&text)
    }
}

/// A name that somebody else has given to an account, as a label may be; `None` where nothing is left of it.
pub(super) fn fit_to_show(name: &str) -> Option<String> {
    // As many bytes as a label may have, whatever the characters.
    Some(one_line(name, MAX_NAME_LEN / 4 - 1)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_a_part_of_another_leaves_no_rest_of_it() {
        for secrets in [["token", "token-and-more"], ["token-and-more", "token"]] {
            let shown = Secrets::new(secrets).clean("a token, a token-and-more, tokens");
            assert_eq!(shown, "a …, a …, …s");
        }
    }

    #[test]
    fn a_secret_is_known_as_a_url_has_it() {
        let shown = Secrets::new(["a/b+c d"]).clean("https://example.com/?code=a%2Fb%2Bc+d failed");
        assert_eq!(shown, "https://example.com/?code=… failed");
    }

    #[test]
    fn a_name_is_as_short_as_a_label_must_be() {
        let name = fit_to_show(&"𝄞".repeat(1000)).unwrap();
        assert!(name.len() <= MAX_NAME_LEN, "{}", name.len());
        assert_eq!(fit_to_show("a\u{1b}[2Jlice\r\n").as_deref(), Some("a [2Jlice"));
        assert_eq!(fit_to_show(" \n "), None);
    }
}

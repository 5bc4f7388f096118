//! Makes a server's words fit to show: bounded, on one line, and without secrets.

use url::form_urlencoded;

use crate::printable::{MAX_QUOTED, one_line};
use crate::secret::SecretString;
use crate::vault::MAX_NAME_LEN;

/// The secrets of a request, which its errors must not quote. The longest comes first.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<SecretString>);

impl Secrets {
    pub(super) fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        texts.into_iter().fold(Self::default(), Self::and)
    }

    /// Adds a text.
    pub(super) fn and(mut self, text: &str) -> Self {
        if !text.is_empty() {
            // One may be a part of another.
            let place = self.0.partition_point(|known| known.expose().len() >= text.len());
            self.0.insert(place, text.into());
        }
        self
    }

    /// Removes the secrets from a text, and makes one line of it.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            text = text.replace(secret.expose(), "…");
            // The same secret as an error about a URL would quote it.
            let encoded: String = form_urlencoded::byte_serialize(secret.expose().as_bytes()).collect();
            text = text.replace(&encoded, "…");
        }
        one_line(&text, MAX_QUOTED)
    }

    /// The text of an error and its causes, without the secrets.
    pub(super) fn clean_error(&self, error: &(dyn std::error::Error + 'static)) -> String {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Many errors repeat their cause.
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        self.clean(&text)
    }
}

/// The name that a server gives an account, as a label; `None` if nothing of it can be shown.
pub(super) fn fit_to_show(name: &str) -> Option<String> {
    // A label's limit is in bytes, and a character has up to four.
    Some(one_line(name, MAX_NAME_LEN / 4 - 1)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_contains_another_is_removed_whole() {
        for secrets in [["token", "token-and-more"], ["token-and-more", "token"]] {
            let shown = Secrets::new(secrets).clean("a token, a token-and-more, tokens");
            assert_eq!(shown, "a …, a …, …s");
        }
    }

    #[test]
    fn a_secret_is_removed_in_its_url_encoded_form() {
        let shown = Secrets::new(["a/b+c d"]).clean("https://example.com/?code=a%2Fb%2Bc+d failed");
        assert_eq!(shown, "https://example.com/?code=… failed");
    }

    #[test]
    fn a_name_is_cut_to_the_length_of_a_label() {
        let name = fit_to_show(&"𝄞".repeat(1000)).unwrap();
        assert!(name.len() <= MAX_NAME_LEN, "{}", name.len());
        assert_eq!(fit_to_show("a\u{1b}[2Jlice\r\n").as_deref(), Some("a [2Jlice"));
        assert_eq!(fit_to_show(" \n "), None);
    }
}

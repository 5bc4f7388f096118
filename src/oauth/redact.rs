//! Other people's words, made fit to be shown: bounded, on one line, and without what is secret.

use url::form_urlencoded;

use crate::secret::SecretString;

/// The most characters of somebody else's text that are quoted.
const MOST: usize = 300;

/// What must not be quoted while a request is made.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<SecretString>);

impl Secrets {
    pub(super) fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        texts.into_iter().fold(Self::default(), Self::and)
    }

    /// And this text.
    pub(super) fn and(mut self, text: &str) -> Self {
        if !text.is_empty() {
            self.0.push(text.into());
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
        let mut shown: String = text.chars().map(|char| if is_odd(char) { ' ' } else { char }).collect();
        if let Some((end, _)) = shown.char_indices().nth(MOST) {
            shown.truncate(end);
            shown.push('…');
        }
        shown.trim().to_owned()
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

/// What moves a terminal's cursor or turns its text around.
fn is_odd(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

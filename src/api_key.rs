//! Checking the form of an API key, whether it is typed, piped in or set in the environment.

use std::error::Error;
use std::fmt;

use crate::secret::SecretString;

impl SecretString {
    /// Creates the secret of an API key that a person has typed, copied or set. Removes white space around it.
    ///
    /// Every vendor's keys consist of visible ASCII characters. A text with more than the key, such as quotes, a
    /// `Bearer ` or a variable's name in front, a byte order mark or a second line, is refused, since the key in it could
    /// only be guessed.
    ///
    /// ```
    /// use tower_credentials::SecretString;
    ///
    /// assert_eq!(SecretString::api_key("sk-1\n")?.expose(), "sk-1");
    /// let error = SecretString::api_key("\"sk-1\"").unwrap_err();
    /// assert_eq!(error.to_string(), "it has quotes around it");
    /// # Ok::<(), tower_credentials::NotAnApiKey>(())
    /// ```
    ///
    /// # Errors
    /// [`NotAnApiKey`] if the text is not an API key. It says why, and does not show the text.
    pub fn api_key(text: &str) -> Result<Self, NotAnApiKey> {
        let key = text.trim();
        let is_quote = |char| matches!(char, '"' | '\'' | '`');
        let reason = if key.is_empty() {
            "it is empty"
        } else if key.starts_with('\u{feff}') {
            "it begins with a byte order mark"
        } else if key.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("bearer")) {
            "it has \"Bearer\" in front"
        } else if is_assignment(key) {
            "it begins with the name of a variable and \"=\""
        } else if key.starts_with(is_quote) || key.ends_with(is_quote) {
            "it has quotes around it"
        } else if key.chars().any(char::is_whitespace) {
            "it has a blank in it, or a line break"
        } else if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            "it has characters that no header takes"
        } else {
            return Ok(key.into());
        };
        Err(NotAnApiKey(reason))
    }
}

/// Whether the text is a line of an env file. A key may end in `=`, which fills up base32 and base64.
fn is_assignment(text: &str) -> bool {
    let is_of_a_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let Some((name, value)) = text.split_once('=') else { return false };
    let begins_as_a_name = !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit());
    begins_as_a_name && name.bytes().all(is_of_a_name) && !value.trim_start_matches('=').is_empty()
}

/// The error of a text that is not an API key. `Display` shows the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnApiKey(&'static str);

impl fmt::Display for NotAnApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for NotAnApiKey {}

//! Other people's text that may be shown as it is.

/// The most characters of somebody else's text that are quoted.
pub(crate) const MOST: usize = 300;

/// Whether a text may be shown as it is.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MOST && !text.chars().any(is_odd)
}

/// What moves a terminal's cursor or turns its text around.
pub(crate) fn is_odd(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

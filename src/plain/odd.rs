//! What no text of other people's may do to a terminal. The program has this file as a module, too.

/// What moves a terminal's cursor, turns its text around, or is not seen at all.
pub(crate) fn is_odd(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

//! Characters that a text from elsewhere must not send to a terminal. The program has this file as a module, too.

/// Returns whether a character moves a terminal's cursor, changes the direction of its text, or is invisible.
pub(crate) fn is_unprintable(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_control();
    }
    // The last pattern is invisible, too, though not ignorable by Unicode: line and paragraph separators, the blank
    // Braille pattern, marks of annotations and hieroglyphs, and a note without a head.
    char.is_control()
        || is_ignorable(char)
        || matches!(char, '\u{2028}' | '\u{2029}' | '\u{2800}' | '\u{fff9}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}' | '\u{1d159}')
}

/// Returns whether a character was refused in names before the first release. Vaults have no names with these, but may
/// have names with others.
#[allow(dead_code, reason = "the program reads no names")]
pub(crate) fn was_unprintable(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns whether a character has the property `Default_Ignorable_Code_Point` of Unicode 17.0
/// (DerivedCoreProperties.txt): it is invisible even if a font does not know it. The property includes the marks of
/// text direction, and reserved code points, so that it seldom changes. A test compares it with the crate
/// `icu_properties`.
fn is_ignorable(char: char) -> bool {
    matches!(
        char,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use icu_properties::CodePointSetData;
    use icu_properties::props::DefaultIgnorableCodePoint;

    use super::*;

    #[test]
    fn the_table_is_unicode_s() {
        let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
        for char in '\0'..=char::MAX {
            assert_eq!(is_ignorable(char), ignorable.contains(char), "U+{:04X}", u32::from(char));
        }
    }

    #[test]
    fn letters_of_all_scripts_and_simple_emoji_are_printable() {
        for char in "aÄß€ 漢字 кириллица العربية עברית हिन्दी ไทย 한국어 🦀 ☁ \u{a0}\u{3000}".chars()
        {
            assert!(!is_unprintable(char), "U+{:04X}", u32::from(char));
        }
        for char in "\u{1b}\u{7f}\u{9b}\n\t\u{ad}\u{200b}\u{202e}\u{2066}\u{2028}\u{3164}\u{2800}\u{fff9}\u{e0041}\u{fe0f}".chars() {
            assert!(is_unprintable(char), "U+{:04X}", u32::from(char));
        }
    }
}

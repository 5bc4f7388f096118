//! Showing text from elsewhere on one line of a terminal.

mod unprintable;

use std::fmt::{self, Display, Write};

pub(crate) use unprintable::{is_unprintable, was_unprintable};

/// Shows a text from elsewhere on one line of a terminal.
pub(crate) struct Shown<T>(pub(crate) T);

impl<T: Display> Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Printable(f), "{}", self.0)
    }
}

/// Writes a replacement character for each unprintable one.
struct Printable<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Printable<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut parts = text.split(is_unprintable);
        self.0.write_str(parts.next().unwrap_or_default())?;
        parts.try_for_each(|part| {
            self.0.write_char(char::REPLACEMENT_CHARACTER)?;
            self.0.write_str(part)
        })
    }
}

/// The maximum length of a text from elsewhere that is quoted, in characters.
#[cfg(any(feature = "oauth", feature = "migrate"))]
pub(crate) const MAX_QUOTED: usize = 300;

/// Returns whether a text may be shown unchanged: it is short, printable and not empty.
#[cfg(any(feature = "oauth", feature = "migrate"))]
pub(crate) fn is_short_printable(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MAX_QUOTED && !text.chars().any(is_unprintable)
}

/// Returns at most this many characters of a text, with blanks for the unprintable ones.
#[cfg(any(feature = "discovery", feature = "oauth"))]
pub(crate) fn one_line(text: &str, most: usize) -> String {
    let mut line: String =
        text.chars().map(|char| if is_unprintable(char) { ' ' } else { char }).collect();
    if let Some((end, _)) = line.char_indices().nth(most) {
        line.truncate(end);
        line.push('…');
    }
    line.trim().to_owned()
}

//! Other people's text: what of it may be shown as it is, and the rest made fit for one line of a terminal.

mod unprintable;

use std::fmt::{self, Display, Write};

pub(crate) use unprintable::{is_unprintable, was_unprintable};

/// A text with a name from elsewhere in it, on one line of a terminal.
pub(crate) struct Shown<T>(pub(crate) T);

impl<T: Display> Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Plain(f), "{}", self.0)
    }
}

/// Writes a mark in the place of whatever is odd.
struct Plain<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Plain<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut parts = text.split(is_unprintable);
        self.0.write_str(parts.next().unwrap_or_default())?;
        parts.try_for_each(|part| {
            self.0.write_char(char::REPLACEMENT_CHARACTER)?;
            self.0.write_str(part)
        })
    }
}

/// The most characters of somebody else's text that are quoted.
#[cfg(any(feature = "oauth", feature = "migrate"))]
pub(crate) const MOST: usize = 300;

/// Whether a text may be shown as it is.
#[cfg(any(feature = "oauth", feature = "migrate"))]
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MOST && !text.chars().any(is_unprintable)
}

/// So many characters at most, none of which moves a terminal's cursor.
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

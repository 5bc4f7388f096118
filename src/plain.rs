//! Other people's text: what of it may be shown as it is, and the rest made fit for one line of a terminal.

mod odd;

pub(crate) use odd::is_odd;

/// The most characters of somebody else's text that are quoted.
#[cfg(any(feature = "oauth", feature = "migrate"))]
pub(crate) const MOST: usize = 300;

/// Whether a text may be shown as it is.
#[cfg(any(feature = "oauth", feature = "migrate"))]
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MOST && !text.chars().any(is_odd)
}

/// So many characters at most, none of which moves a terminal's cursor.
#[cfg(any(feature = "discovery", feature = "oauth"))]
pub(crate) fn one_line(text: &str, most: usize) -> String {
    let mut line: String = text.chars().map(|char| if is_odd(char) { ' ' } else { char }).collect();
    if let Some((end, _)) = line.char_indices().nth(most) {
        line.truncate(end);
        line.push('…');
    }
    line.trim().to_owned()
}

//! Tables that fit the terminal.

use console::{Alignment, AnsiCodeIterator};

use crate::output::strong;

/// How a table becomes narrower if it does not fit the terminal. Empty columns are dropped first; then these fields apply, in
/// their order.
#[derive(Clone, Copy, Default)]
pub(crate) struct Overflow<'a> {
    /// Columns that are left out in any width.
    pub(crate) hidden: &'a [&'a str],
    /// Columns to drop with the empty ones, because they say nothing.
    pub(crate) uninformative: &'a [&'a str],
    /// Columns to drop.
    pub(crate) dropped: &'a [&'a str],
    /// Columns whose texts are cut at the end.
    pub(crate) truncated: &'a [&'a str],
    /// The column whose texts continue on the next line, so that nothing of them is lost.
    pub(crate) wrapped: &'a str,
}

/// Returns a table of these rows, without rules.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    overflow: Overflow<'_>,
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let room = console::Term::stdout().size_checked().map(|(_, room)| usize::from(room));
    fitted(header, overflow, rows, room)
}

fn fitted<const N: usize>(
    header: [&str; N],
    overflow: Overflow<'_>,
    rows: impl IntoIterator<Item = [String; N]>,
    room: Option<usize>,
) -> String {
    let mut lines = vec![header.map(|name| strong(name).to_string())];
    lines.extend(rows);
    let widest =
        |column: usize| lines[1..].iter().map(|cells| measured(&cells[column])).max().unwrap_or(0);
    let texts: [usize; N] = std::array::from_fn(widest);
    let mut widths: [Option<usize>; N] =
        std::array::from_fn(|column| Some(texts[column].max(measured(&lines[0][column]))));
    let is_empty: [bool; N] = std::array::from_fn(|column| {
        overflow.uninformative.contains(&header[column]) || texts[column] == 0
    });
    for column in (0..N).filter(|column| overflow.hidden.contains(&header[*column])) {
        widths[column] = None;
    }
    if let Some(room) = room {
        fit(&mut widths, is_empty, header, overflow, room);
    }
    let wrapped = header.iter().position(|name| *name == overflow.wrapped);
    let lines = lines.iter().flat_map(|cells| row(cells, &widths, wrapped));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns how many cells of a terminal a text takes.
fn measured(text: &str) -> usize {
    // Most texts are ASCII, and a list may be long.
    match text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        true => text.len(),
        false => console::measure_text_width(text),
    }
}

/// What separates two columns.
const GAP: &str = "  ";

/// The least width of a column that is cut.
const LEAST: usize = 6;

/// The least width of a column that is wrapped.
const LEAST_WRAPPED: usize = 16;

/// Narrows the columns until they fit, or no column can be narrower. A dropped column has no width.
fn fit<const N: usize>(
    widths: &mut [Option<usize>; N],
    is_empty: [bool; N],
    header: [&str; N],
    overflow: Overflow<'_>,
    room: usize,
) {
    let excess = |widths: &[Option<usize>; N]| {
        let shown = widths.iter().flatten();
        (shown.clone().sum::<usize>() + GAP.len() * (shown.count() - 1)).saturating_sub(room)
    };
    let place = |name: &&str| header.iter().position(|column| column == name);
    let empty = (0..N).filter(|column| is_empty[*column]);
    for column in empty.chain(overflow.dropped.iter().filter_map(place)) {
        if excess(widths) > 0 {
            widths[column] = None;
        }
    }
    let cut = overflow.truncated.iter().filter_map(place).map(|column| (column, LEAST));
    for (column, least) in cut.chain(place(&overflow.wrapped).map(|column| (column, LEAST_WRAPPED))) {
        let excess = excess(widths);
        if let Some(width) = &mut widths[column] {
            *width = (*width).min(least.max(width.saturating_sub(excess)));
        }
    }
}

/// Returns the lines of a row: several if a text is wrapped.
fn row<const N: usize>(
    cells: &[String; N],
    widths: &[Option<usize>; N],
    wrapped: Option<usize>,
) -> Vec<String> {
    let shown = || {
        cells
            .iter()
            .zip(widths)
            .enumerate()
            .filter_map(|(column, (cell, width))| Some((column, cell, (*width)?)))
    };
    if shown().all(|(_, cell, width)| measured(cell) <= width) {
        return vec![line(shown().map(|(_, cell, width)| (cell.as_str(), width)))];
    }
    let lines_of = |(column, cell, width): (usize, &String, usize)| {
        let texts = match wrapped == Some(column) {
            true => wrap(cell, width),
            false => vec![console::pad_str(cell, width, Alignment::Left, Some("…")).into_owned()],
        };
        (texts, width)
    };
    let columns: Vec<(Vec<String>, usize)> = shown().map(lines_of).collect();
    let height = columns.iter().map(|(texts, _)| texts.len()).max().unwrap_or(0);
    (0..height)
        .map(|number| {
            line(
                columns
                    .iter()
                    .map(|(texts, width)| (texts.get(number).map_or("", String::as_str), *width)),
            )
        })
        .collect()
}

/// Returns one line of these texts, each padded to its width.
fn line<'a>(cells: impl Iterator<Item = (&'a str, usize)>) -> String {
    let mut line = String::new();
    for (text, width) in cells {
        line.push_str(text);
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(measured(text)) + GAP.len()));
    }
    line.truncate(line.trim_end().len());
    line
}

/// Ends a style.
const RESET: &str = "\u{1b}[0m";

/// Breaks a text into lines of that width, between words. A style continues on the next line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut room) = (Vec::new(), String::new(), width);
    let mut style = String::new();
    for (word, style_after) in words(text) {
        let needed = console::measure_text_width(&word);
        let is_first = room == width;
        if !is_first && needed + 1 > room {
            line.push_str(if style.is_empty() { "" } else { RESET });
            lines.push(std::mem::replace(&mut line, style.clone()));
            room = width;
        } else if !is_first {
            line.push(' ');
            room -= 1;
        }
        line.push_str(&word);
        room = room.saturating_sub(needed);
        style = style_after;
    }
    lines.push(line);
    lines
}

/// Returns the words of a text with the styles that begin and end in them, each with the style after it.
fn words(text: &str) -> Vec<(String, String)> {
    let (mut words, mut word, mut style) = (Vec::new(), String::new(), String::new());
    for (piece, is_style) in AnsiCodeIterator::new(text) {
        if is_style {
            word.push_str(piece);
            match piece == RESET {
                true => style.clear(),
                false => style.push_str(piece),
            }
            continue;
        }
        let mut parts = piece.split(' ');
        word.push_str(parts.next().unwrap_or_default());
        for part in parts {
            words.push((std::mem::replace(&mut word, part.to_owned()), style.clone()));
        }
    }
    words.push((word, style));
    words
}

#[cfg(test)]
mod tests {
    use super::{Overflow, fitted, wrap};

    const HEADER: [&str; 4] = ["NAME", "NOTE", "STATE", "USED"];

    fn shown(room: usize) -> String {
        let overflow = Overflow { dropped: &["USED"], wrapped: "STATE", ..Overflow::default() };
        let rows = [
            ["acme/work", "", "not used: mode auto takes sign-ins before keys", "now"],
            ["acme/spare", "", "ready", "3m ago"],
        ];
        let rows = rows.map(|row| row.map(str::to_owned));
        console::strip_ansi_codes(&fitted(HEADER, overflow, rows, Some(room))).into_owned()
    }

    #[test]
    fn a_narrow_table_gives_up_what_is_empty_then_what_may_go_and_loses_nothing_of_the_state() {
        assert_eq!(
            shown(80),
            "NAME        NOTE  STATE                                           USED\n\
             acme/work         not used: mode auto takes sign-ins before keys  now\n\
             acme/spare        ready                                           3m ago"
        );
        assert!(
            shown(70).starts_with("NAME        STATE                                           USED\n")
        );
        assert!(shown(60).starts_with(
            "NAME        STATE\nacme/work   not used: mode auto takes sign-ins before keys\n"
        ));
        assert_eq!(
            shown(40),
            "NAME        STATE\n\
             acme/work   not used: mode auto takes\n            sign-ins before keys\n\
             acme/spare  ready"
        );
        // If it still does not fit, the terminal breaks the lines.
        assert!(shown(10).contains("sign-ins"));
    }

    #[test]
    fn a_style_goes_on_in_the_next_line_and_ends_before_it() {
        let lines = wrap("\u{1b}[33mone two three\u{1b}[0m; four", 8);
        assert_eq!(lines, ["\u{1b}[33mone two\u{1b}[0m", "\u{1b}[33mthree\u{1b}[0m;", "four"]);
        assert_eq!(wrap("", 8), [""]);
        assert_eq!(wrap("incomprehensibilities", 8), ["incomprehensibilities"]);
    }
}

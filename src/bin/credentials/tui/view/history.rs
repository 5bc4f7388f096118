//! What has happened, the latest first.

use super::paint::{Canvas, Theme};
use crate::time::rfc3339;
use crate::tui::state::State;
use crate::tui::state::account::{Level, Seen};
use crate::tui::state::history::Entry;

/// The least height with a head.
const WITH_HEAD: usize = 6;

pub(super) fn draw(canvas: &mut Canvas<'_>, state: &State) {
    let only = state.chosen().filter(|_| state.only_this).map(Seen::id);
    let of = match (state.only_this.then(|| state.chosen()).flatten(), state.only_errors) {
        (Some(seen), false) => format!("of {}", seen.name),
        (Some(seen), true) => format!("of {}, only errors", seen.name),
        (None, false) => "of all accounts".to_owned(),
        (None, true) => "of all accounts, only errors".to_owned(),
    };
    let mut line = 0;
    if canvas.height() >= WITH_HEAD {
        let after = canvas.put(1, 0, "HISTORY", Theme::strong());
        let after = canvas.put(after + 1, 0, &of, Theme::plain());
        canvas.put_last(after, 0, "f of this one   e only errors", Theme::quiet());
        line = 1;
    }
    let mut entries = state.history.shown(only, state.only_errors).peekable();
    if entries.peek().is_none() {
        let text = match canvas.height() < WITH_HEAD && (state.only_this || state.only_errors) {
            true => format!("nothing has happened {of}"),
            false => "nothing has happened since this screen was opened".to_owned(),
        };
        canvas.put(1, line, &text, Theme::quiet());
    }
    for entry in entries.take(canvas.height().saturating_sub(line)) {
        draw_entry(canvas, line, entry);
        line += 1;
    }
}

fn draw_entry(canvas: &mut Canvas<'_>, line: usize, entry: &Entry) {
    let name = if canvas.width() >= 100 { 28 } else { 22 };
    canvas.put(1, line, rfc3339(entry.at).get(11..19).unwrap_or_default(), Theme::quiet());
    canvas.put_in(11, line, name, &entry.name, Theme::plain());
    let style = match entry.level {
        Level::Quiet => Theme::plain(),
        level => canvas.theme.of(level),
    };
    if let Some(status) = entry.status {
        canvas.put(12 + name, line, &status.to_string(), style);
    }
    canvas.put(17 + name, line, &entry.text, style);
}

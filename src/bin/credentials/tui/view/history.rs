//! What has happened, the latest first.

use super::paint::{Canvas, Theme};
use crate::time::Zone;
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
    if let Some(note) = &state.history.note {
        canvas.put(1, line, note, canvas.theme.of(Level::Doubtful));
        line += 1;
    }
    let mut entries = state.history.shown(only, state.only_errors).peekable();
    if entries.peek().is_none() && state.history.note.is_none() {
        let is_of_some = canvas.height() < WITH_HEAD && (state.only_this || state.only_errors);
        let text = match state.history.is_read {
            false => "reading the history".to_owned(),
            true if is_of_some => format!("nothing has happened {of} in the last day"),
            true => "nothing has happened in the last day".to_owned(),
        };
        canvas.put(1, line, &text, Theme::quiet());
    }
    for entry in entries.take(canvas.height().saturating_sub(line)) {
        draw_entry(canvas, line, state.zone, entry);
        line += 1;
    }
}

fn draw_entry(canvas: &mut Canvas<'_>, line: usize, zone: Zone, entry: &Entry) {
    let name = if canvas.width() >= 100 { 28 } else { 22 };
    canvas.put(1, line, &zone.time_of_day(entry.at), Theme::quiet());
    canvas.put_in(11, line, name, &entry.name, Theme::plain());
    let style = match entry.level {
        Level::Quiet => Theme::plain(),
        level => canvas.theme.of(level),
    };
    if let Some((status, _)) = entry.status {
        canvas.put(12 + name, line, &status.to_string(), style);
    }
    canvas.put(17 + name, line, &entry.text, style);
}

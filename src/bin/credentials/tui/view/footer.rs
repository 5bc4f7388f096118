//! The keys of where one is, from their table.

use super::paint::{Canvas, Theme, width};
use crate::tui::keys::{self, Place};
use crate::tui::state::State;

pub(super) fn draw(canvas: &mut Canvas<'_>, state: &State) {
    let place = state.place();
    let mut parts: Vec<(&str, &str)> = match place {
        Place::List | Place::Menu => vec![("↑↓", "choose")],
        Place::Text => vec![("↑↓", "scroll")],
        Place::Keys => vec![("↑↓", "scroll"), ("a–z", "find")],
        _ => Vec::new(),
    };
    let mut last = Vec::new();
    for binding in keys::of(place) {
        let Some(short) = binding.short else { continue };
        match binding.keys {
            // These fit on every screen.
            "?" | "Esc" => last.push((binding.keys, short)),
            keys => parts.push((keys, short)),
        }
    }
    if place == Place::List {
        parts.push(("⏎", "show"));
    }
    let room = |part: &(&str, &str)| width(part.0) + 1 + width(part.1) + 2;
    let kept: usize = last.iter().map(room).sum();
    let (mut line, mut column) = (0, 1);
    let lines = canvas.height();
    for part in &parts {
        let is_last_line = line + 1 >= lines;
        let end = if is_last_line { canvas.width().saturating_sub(kept) } else { canvas.width() };
        if column + room(part) > end + 1 {
            if is_last_line {
                break;
            }
            (line, column) = (line + 1, 1);
        }
        column = key(canvas, column, line, *part);
    }
    for part in &last {
        column = key(canvas, column, line, *part);
    }
}

fn key(canvas: &mut Canvas<'_>, column: usize, line: usize, (keys, what): (&str, &str)) -> usize {
    let after = canvas.put(column, line, keys, Theme::strong());
    canvas.put(after + 1, line, what, Theme::quiet()) + 2
}

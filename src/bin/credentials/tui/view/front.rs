//! What is in front of the list: a text, a menu, a question, a line to type.

use super::paint::{Canvas, Theme, width, wrapped};
use super::{sign_in, text, window};
use crate::tui::state::State;
use crate::tui::state::front::{Front, Menu, Question, Typing};

/// The widest that a window is.
pub(super) const WIDEST: usize = 76;

/// Draws it, and returns where the cursor is to be.
pub(super) fn draw(canvas: &mut Canvas<'_>, state: &mut State) -> Option<(u16, u16)> {
    // A text is taken out, since it is about the rest of the state.
    let mut front = state.front.take()?;
    let cursor = match &mut front {
        Front::Text(reading) => text::draw(canvas, state, reading),
        Front::Menu(shown) => {
            menu(canvas, shown);
            None
        }
        Front::Question(shown) => {
            question(canvas, shown);
            None
        }
        Front::Line(shown) => line(canvas, shown),
        Front::SignIn(shown) => sign_in::draw(canvas, state.now, shown),
    };
    state.front = Some(front);
    cursor
}

/// The room within a window.
pub(super) fn room(canvas: &Canvas<'_>) -> usize {
    canvas.width().saturating_sub(4).min(WIDEST)
}

fn menu(canvas: &mut Canvas<'_>, menu: &Menu) {
    let texts = menu.items.iter().map(|item| width(&item.text)).max().unwrap_or(0);
    let notes = menu.items.iter().map(|item| width(&item.note)).max().unwrap_or(0);
    let wanted = (texts + notes + 6).max(width(&menu.title) + 4);
    let height = canvas.height().saturating_sub(4).min(menu.items.len());
    let mut inside = window::open(canvas, &menu.title, wanted.min(WIDEST), height);
    let height = inside.height().max(1);
    let top = (menu.at + 1).saturating_sub(height);
    for (line, item) in menu.items.iter().skip(top).take(height).enumerate() {
        let is_chosen = top + line == menu.at;
        inside.put(0, line, if is_chosen { "▶" } else { " " }, Theme::strong());
        let style = if is_chosen { Theme::strong() } else { Theme::plain() };
        inside.put(2, line, &item.text, style);
        inside.put(4 + texts, line, &item.note, Theme::quiet());
        if is_chosen {
            inside.style_line(line, Theme::chosen());
        }
    }
}

fn question(canvas: &mut Canvas<'_>, question: &Question) {
    let room = room(canvas);
    let texts = [wrapped(&question.text, room), wrapped(&question.note, room)].concat();
    let mut inside = window::open(canvas, "Sure?", room, texts.len() + 2);
    let after = inside.lines(0, 0, texts, Theme::plain());
    let after_yes = inside.put(0, after + 1, "y", Theme::strong());
    let after_yes = inside.put(after_yes + 1, after + 1, "yes", Theme::plain());
    let after_no = inside.put(after_yes + 3, after + 1, "n", Theme::strong());
    inside.put(after_no + 1, after + 1, "no", Theme::plain());
}

fn line(canvas: &mut Canvas<'_>, typing: &Typing) -> Option<(u16, u16)> {
    let room = room(canvas);
    let note = wrapped(&typing.note, room);
    let mut inside = window::open(canvas, &typing.title, room, note.len() + 2);
    let at = inside.lines(0, 0, note, Theme::quiet());
    field(&mut inside, at, typing)
}

fn field(inside: &mut Canvas<'_>, at: usize, typing: &Typing) -> Option<(u16, u16)> {
    match typing.is_secret() {
        true => hidden(inside, at, typing.line.text().chars().count()),
        false => shown(inside, at, typing.line.text(), typing.line.before()),
    }
}

/// Only how much was typed.
fn hidden(inside: &mut Canvas<'_>, at: usize, count: usize) -> Option<(u16, u16)> {
    let text = if count == 0 { String::new() } else { format!("({count} characters, hidden)") };
    let after = inside.put(2, at, &text, Theme::plain());
    inside.put(0, at, "›", Theme::strong());
    cursor(inside, after, at)
}

/// A line that is typed, scrolled so that its cursor is seen.
pub(super) fn shown(inside: &mut Canvas<'_>, at: usize, text: &str, before: &str) -> Option<(u16, u16)> {
    let room = inside.width().saturating_sub(3).max(1);
    let skipped = width(before).saturating_sub(room);
    let mut passed = 0;
    let seen = text.char_indices().find(|(_, char)| {
        let is_seen = passed >= skipped;
        passed += width(char.encode_utf8(&mut [0; 4]));
        is_seen
    });
    let start = seen.map_or(text.len(), |(start, _)| start);
    inside.put(0, at, "›", Theme::strong());
    let column = 2 + width(before.get(start..).unwrap_or_default());
    // Without a mark at the end, since what is typed goes on.
    let rest: String = crate::output::plain(&text[start..]);
    inside.put(2, at, &rest, Theme::plain());
    cursor(inside, column, at)
}

fn cursor(inside: &Canvas<'_>, column: usize, line: usize) -> Option<(u16, u16)> {
    let (x, y) = (u16::try_from(column).ok()?, u16::try_from(line).ok()?);
    (x < inside.area.width && y < inside.area.height).then(|| (inside.area.x + x, inside.area.y + y))
}

//! What the screen looks like. Each file draws one part of it:
//!
//! ```text
//! header                      how many accounts are how
//! ───────────────────────────┬───────────
//! list                       │ detail
//! ───────────────────────────┴───────────
//! history
//! ───────────────────────────────────────
//! to_do                       what was said, and what a person must do
//! footer                      the keys
//! ```
//!
//! In front of it there may be one window: `front`, `text`, `sign_in`.

mod detail;
mod first;
mod footer;
mod front;
mod header;
mod history;
pub(super) mod layout;
mod list;
pub(super) mod paint;
mod sign_in;
mod text;
mod to_do;
mod window;

use ratatui::Frame;
use ratatui::layout::Rect;

use super::state::State;
use layout::Areas;
use paint::{Canvas, Theme};

/// Returns which part of a screen is where.
pub(super) fn areas(screen: Rect, state: &State) -> Areas {
    let (said, to_do) = to_do::heights(state, screen.width);
    Areas::of(screen, said, to_do)
}

/// Draws the screen, and returns how many rows of the list it drew.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State, theme: Theme) -> usize {
    let screen = frame.area();
    let areas = areas(screen, state);
    state.list.set_height(areas.rows());
    let mut canvas = Canvas { buffer: frame.buffer_mut(), area: screen, theme };
    header::draw(&mut canvas.within(areas.header), state);
    let is_empty = state.has_looked && state.accounts.is_empty() && state.damaged.is_empty();
    let rows = match is_empty {
        true => {
            first::draw(&mut canvas.within(areas.list));
            0
        }
        false => list::draw(&mut canvas.within(areas.list), state),
    };
    detail::draw(&mut canvas.within(areas.detail), state);
    history_of(&mut canvas, &areas, state);
    to_do::draw(&mut canvas.within(areas.to_do), state);
    footer::draw(&mut canvas.within(areas.footer), state);
    for rule in &areas.rules {
        canvas.within(*rule).rule(0);
    }
    wall(&mut canvas, &areas);
    if let Some(cursor) = front::draw(&mut canvas, state) {
        frame.set_cursor_position(cursor);
    }
    rows
}

fn history_of(canvas: &mut Canvas<'_>, areas: &Areas, state: &State) {
    if areas.history.height > 0 {
        history::draw(&mut canvas.within(areas.history), state);
    }
}

/// Draws the line between the list and the details, which meets the rules.
fn wall(canvas: &mut Canvas<'_>, areas: &Areas) {
    let Some(wall) = areas.wall else { return };
    for line in 0..usize::from(wall.height) {
        canvas.within(wall).put(0, line, "│", Theme::quiet());
    }
    let above = Rect { y: wall.y.saturating_sub(1), height: 1, ..wall };
    canvas.within(above).put(0, 0, "┬", Theme::quiet());
    let below = Rect { y: wall.bottom(), height: 1, ..wall };
    canvas.within(below).put(0, 0, "┴", Theme::quiet());
}

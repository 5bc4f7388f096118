//! What was said last, then what a person must do, with the key that does it.

use std::borrow::Cow;

use super::paint::{Canvas, Theme, wrapped};
use crate::tui::state::State;
use crate::tui::state::account::Level;

/// Returns how many lines were said, and how many are to do.
pub(in crate::tui) fn heights(state: &State, width: u16) -> (u16, u16) {
    let room = usize::from(width).saturating_sub(2);
    let said: usize = said(state).map(|(_, text)| wrapped(&text, room).len()).sum();
    let height = |lines: usize| u16::try_from(lines).unwrap_or(u16::MAX);
    (height(said), height(count(state)))
}

pub(super) fn draw(canvas: &mut Canvas<'_>, state: &State) {
    let mut line = 0;
    for (level, text) in said(state) {
        let style = canvas.theme.of(level);
        line = canvas.lines(1, line, [text], style);
    }
    let all = count(state);
    let room = canvas.height().saturating_sub(line);
    for (number, text) in to_do(state).take(room).enumerate() {
        let is_last = number + 1 == room && all > room;
        let style = canvas.theme.of(Level::Doubtful);
        if is_last && room > 1 {
            canvas.put(1, line, &format!("and {} more: Tab goes to each", all - number), style);
        } else if is_last {
            canvas.put(1, line, &format!("{all} to do: {text}"), style);
        } else if all == 1 {
            canvas.put(1, line, &format!("1 to do: {text}"), style);
        } else {
            let lead = if number == 0 { "TO DO" } else { "" };
            canvas.put(1, line, lead, Theme::strong());
            canvas.put(8, line, &text, style);
        }
        line += 1;
    }
}

/// What was said last, and why the vault can't be read.
fn said(state: &State) -> impl Iterator<Item = (Level, Cow<'_, str>)> {
    let trouble = state.trouble.iter().flat_map(|failed| {
        let way_out = failed.way_out.as_ref().map(|way_out| format!("try: {way_out}").into());
        [Some(failed.why.as_str().into()), way_out].into_iter().flatten()
    });
    let notice = state.notice.iter().flat_map(|notice| {
        let level = notice.level;
        notice.lines.iter().map(move |line| (level, line.as_str().into()))
    });
    trouble.map(|text| (Level::Bad, text)).chain(notice)
}

fn count(state: &State) -> usize {
    state.damaged.len() + state.to_do().count()
}

/// What a person must do, a line each.
fn to_do(state: &State) -> impl Iterator<Item = String> {
    let damaged = state.damaged.iter().map(|what| format!("{what}: credentials vault check"));
    let accounts = state.to_do().map(|seen| {
        let why = seen.trouble.as_ref().map_or(seen.in_full.as_str(), |(why, _)| why);
        format!("{} {why} ({})", seen.name, seen.mending_keys(state.now))
    });
    damaged.chain(accounts)
}

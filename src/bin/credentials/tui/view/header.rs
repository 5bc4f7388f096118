//! The first line: how many accounts are how, and the time.

use std::collections::BTreeMap;

use super::paint::{Canvas, Theme};
use crate::account::State as Standing;
use crate::tui::state::State;
use crate::tui::state::account::Seen;

pub(super) fn draw(canvas: &mut Canvas<'_>, state: &State) {
    let short = state.zone.time_of_day(state.now);
    // The date is known.
    let clock = format!("{short} {}", state.zone.name(state.now));
    let mut after = canvas.put(1, 0, "credentials", Theme::strong());
    after = canvas.put(after + 2, 0, &count(state), Theme::plain());
    if !state.list.filter.is_empty() {
        after = canvas.put(after + 2, 0, &format!("/{}", state.list.filter), Theme::strong());
    }
    if !state.under_way.is_empty() {
        let what = state.under_way.last().map_or("", |(.., what)| what);
        after = canvas.put(after + 2, 0, &format!("{what} …"), Theme::strong());
    }
    let fits = after + clock.len() + 1 < canvas.width();
    canvas.put_last(after, 0, if fits { &clock } else { &short }, Theme::quiet());
}

/// Returns how many accounts there are, and how many are how.
fn count(state: &State) -> String {
    let mut by_word: BTreeMap<u8, (&str, usize)> = BTreeMap::new();
    for seen in &state.accounts {
        let (rank, word) = word(seen, state);
        by_word.entry(rank).or_insert((word, 0)).1 += 1;
    }
    let all = match state.accounts.len() {
        _ if !state.has_looked => return "reading the vault".to_owned(),
        1 => "1 account".to_owned(),
        many => format!("{many} accounts"),
    };
    let parts: Vec<_> = by_word.values().map(|(word, count)| format!("{count} {word}")).collect();
    if parts.is_empty() { all } else { format!("{all}: {}", parts.join(", ")) }
}

fn word(seen: &Seen, state: &State) -> (u8, &'static str) {
    match seen.account.state(state.now) {
        Standing::Ready if seen.account.left_out.is_some() => (4, "not used"),
        Standing::Ready => (0, "ready"),
        Standing::Cooling { .. } => (1, "cooling"),
        Standing::Paused => (3, "paused"),
        Standing::NeedsSignIn { .. } => (5, "to sign in"),
        Standing::Spent { .. } => (2, "spent"),
        _ => (6, "in trouble"),
    }
}

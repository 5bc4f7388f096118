//! The account that is chosen: a line below the list, or a column beside it.

use std::time::Duration;

use super::paint::{Canvas, Theme, bar, sparkline};
use crate::time::{ago, brief};
use crate::tui::state::State;
use crate::tui::state::account::{Level, Seen, countdown};

pub(super) fn draw(canvas: &mut Canvas<'_>, state: &State) {
    let Some(seen) = state.chosen() else { return };
    match canvas.height() {
        0 => {}
        1 => line(canvas, state, seen),
        _ => column(canvas, state, seen),
    }
}

/// The kind, and what else is known of whose it is.
pub(super) fn whose(seen: &Seen) -> String {
    let credential = &seen.account.credential;
    let mut parts = vec![credential.kind.to_string()];
    let known = ["plan", "email", "account", "host"];
    parts.extend(
        known
            .iter()
            .filter_map(|name| credential.attributes.get(*name))
            .map(|text| crate::output::plain(text)),
    );
    parts.join(", ")
}

/// When the token ends, and what happens then.
pub(super) fn token(seen: &Seen, state: &State) -> Option<String> {
    let end = seen.account.expires_at?;
    let ends = match end.since(state.now) {
        Duration::ZERO => "has ended".to_owned(),
        left => format!("ends in {}", brief(Duration::from_secs(left.as_secs()))),
    };
    Some(match seen.account.unrenewable {
        Some(why) => format!("{ends}, can't be renewed: {why}"),
        None => format!("{ends}, then renewed"),
    })
}

fn line(canvas: &mut Canvas<'_>, state: &State, seen: &Seen) {
    // Of whose it is, as much as leaves room for the rest.
    let whose = whose(seen);
    let mut parts = vec![whose.split(", ").take(2).collect::<Vec<_>>().join(", ")];
    parts.extend(token(seen, state).map(|token| format!("token {token}")));
    parts.push(format!("place {} of {}", seen.place, seen.of));
    if seen.account.tier > 0 {
        parts.push(format!("tier {}", seen.account.tier));
    }
    let after = canvas.put(1, 0, &seen.name, Theme::strong());
    canvas.put(after + 2, 0, &parts.join("  "), Theme::plain());
}

/// Where the values of the column begin.
const VALUES: usize = 11;

fn column(canvas: &mut Canvas<'_>, state: &State, seen: &Seen) {
    let account = &seen.account;
    let id = account.credential.id.to_string();
    let after = canvas.put(1, 0, &seen.name, Theme::strong());
    canvas.put_last(after, 0, id.get(..8).unwrap_or(&id), Theme::quiet());
    canvas.put(1, 1, &whose(seen), Theme::plain());
    let mut facts = vec![("state", seen.in_full.clone())];
    let tier = if account.tier > 0 { format!(", tier {}", account.tier) } else { String::new() };
    facts.push(("place", format!("{} of {}{tier}", seen.place, seen.of)));
    facts.push(("failures", account.standing.failures.to_string()));
    facts.extend(token(seen, state).map(|token| ("token", token)));
    if let Some((why, _)) = seen.trouble.as_ref().filter(|(why, _)| *why != seen.in_full) {
        facts.push(("why", why.clone()));
    }
    let mut at = 3;
    for (name, value) in facts {
        canvas.put(1, at, name, Theme::quiet());
        let style = match name {
            "state" => canvas.theme.of(seen.condition(state.now).level),
            _ => Theme::plain(),
        };
        at = canvas.lines(VALUES, at, [value], style);
    }
    at = limits(canvas, state, seen, at + 1);
    day(canvas, state, seen, at);
}

/// What is left, with its age. What is said as a part is a bar.
fn limits(canvas: &mut Canvas<'_>, state: &State, seen: &Seen, mut at: usize) -> usize {
    const ROOM: usize = 14;
    let now = state.now;
    let Some(said_at) = seen.windows(now).map(|(window, _)| window.said_at).min() else { return at };
    let age = ago(said_at, now);
    canvas.put(1, at, &format!("LEFT, as the vendor said {age}"), Theme::strong());
    at += 1;
    for (window, left) in seen.windows(now) {
        canvas.put_in(1, at, 9, &crate::output::plain(&window.name), Theme::plain());
        let style = canvas.theme.of(level_of(window.left));
        let drawn = window.left.map_or_else(|| " ".repeat(ROOM), |left| bar(left, ROOM));
        let after = canvas.put(VALUES, at, &drawn, style);
        let after = canvas.put(after, at, &format!("{left:>5}"), Theme::plain());
        let resets = window.resets_at.map(|at| countdown(at.since(now))).unwrap_or_default();
        canvas.put(after + 2, at, &resets, Theme::quiet());
        at += 1;
    }
    at + 1
}

/// How good it is that so many thousandths are left.
fn level_of(left: Option<u16>) -> Level {
    match left {
        Some(0..100) => Level::Bad,
        Some(100..300) => Level::Doubtful,
        _ => Level::Good,
    }
}

/// The responses of the last day, as far as they are recorded.
fn day(canvas: &mut Canvas<'_>, state: &State, seen: &Seen, at: usize) {
    let day = state.history.day(seen.id(), state.now);
    let count: u64 = day.hours.iter().sum();
    if count == 0 || at + 1 >= canvas.height() {
        return;
    }
    let mut text = if count == 1 { "1 response".to_owned() } else { format!("{count} responses") };
    for (status, count) in &day.errors {
        text.push_str(&format!(", {count} × {status}"));
    }
    let after = canvas.put(1, at, "24 H", Theme::strong());
    canvas.put(after + 2, at, &text, Theme::plain());
    canvas.put(1, at + 1, &sparkline(&day.hours), Theme::plain());
}

//! Texts to read: the keys, an account, why it is used or not, the settings.

use super::front::{room, shown};
use super::paint::{Canvas, Theme, width, wrapped};
use super::{detail, window};
use crate::account::allowance;
use crate::time::rfc3339;
use crate::tui::keys;
use crate::tui::state::State;
use crate::tui::state::account::{Seen, countdown};
use crate::tui::state::front::{About, Reading};
use crate::tui::state::typing::Line;

/// A name and its value. Without a name it goes on with the one above, without a value it is a title.
type Fact = (String, String);

/// Draws it, and returns where the cursor is to be.
pub(super) fn draw(canvas: &mut Canvas<'_>, state: &State, reading: &mut Reading) -> Option<(u16, u16)> {
    let facts = match reading.about {
        About::Keys(place) => keys(place),
        About::Account(id) => state.account(id).map(|seen| account(state, seen)).unwrap_or_default(),
        About::Why(id) => state.account(id).map(|seen| why(state, seen)).unwrap_or_default(),
        About::Settings => state.settings.clone(),
    };
    let room = room(canvas);
    let names = facts.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| width(name));
    let names = names.max().unwrap_or(0).min(room / 3);
    // Where one can look for something, the window stays as large as it is without that.
    let field = usize::from(reading.find.is_some());
    let all: usize = facts.iter().map(|fact| lines(fact, room, names).len()).sum();
    let height = canvas.height().saturating_sub(4).min(all + field);
    let title = match reading.about {
        About::Keys(place) => format!("Keys of {}", place.name()),
        About::Why(_) => format!("Why: {}", reading.title),
        _ => reading.title.clone(),
    };
    let mut inside = window::open(canvas, &title, room, height);
    let height = inside.height().saturating_sub(field);
    let find = reading.find.as_ref();
    let cursor = find.and_then(|find| shown(&mut inside, 0, find.text(), find.before()));
    let text = find.map(Line::text).unwrap_or_default();
    if field > 0 && text.is_empty() {
        inside.put(2, 0, "type to find a key", Theme::quiet());
    }
    let facts = found(facts, text);
    let lines: Vec<_> = facts.iter().flat_map(|fact| lines(fact, room, names)).collect();
    reading.top = reading.top.min(lines.len().saturating_sub(height));
    for (line, (name, value)) in lines.iter().skip(reading.top).take(height).enumerate() {
        if value.is_empty() {
            inside.put(0, field + line, name, Theme::strong());
        } else {
            inside.put_in(0, field + line, names, name, Theme::quiet());
            inside.put(names + 2, field + line, value, Theme::plain());
        }
    }
    let is_cut = reading.top + height < lines.len();
    if is_cut && height > 0 {
        let column = inside.width().saturating_sub(2);
        inside.put(column, field + height - 1, "↓", Theme::strong());
    }
    cursor
}

/// Returns the facts that have a text in them, in large letters or small.
fn found(facts: Vec<Fact>, text: &str) -> Vec<Fact> {
    let text = text.trim().to_lowercase();
    let has = |part: &str| part.to_lowercase().contains(&text);
    let found: Vec<_> = facts.into_iter().filter(|(name, value)| has(name) || has(value)).collect();
    match found.is_empty() {
        true => vec![fact(&format!("nothing has {text:?} in it"), "")],
        false => found,
    }
}

/// Returns the lines of a fact, if names have so much room.
fn lines((name, value): &Fact, room: usize, names: usize) -> Vec<Fact> {
    if value.is_empty() {
        return vec![(name.clone(), String::new())];
    }
    let parts = wrapped(value, room.saturating_sub(names + 3));
    let name = |at| if at == 0 { name.clone() } else { String::new() };
    parts.into_iter().enumerate().map(|(at, part)| (name(at), part)).collect()
}

fn fact(name: &str, value: impl Into<String>) -> Fact {
    (name.to_owned(), value.into())
}

fn keys(place: keys::Place) -> Vec<Fact> {
    keys::of(place).map(|binding| fact(binding.keys, binding.what)).collect()
}

fn account(state: &State, seen: &Seen) -> Vec<Fact> {
    let (account, credential) = (&seen.account, &seen.account.credential);
    let mut facts = vec![fact("state", seen.in_full.clone())];
    facts.extend(seen.trouble.as_ref().map(|(why, _)| fact("why", why.clone())));
    facts.push(fact("kind", detail::whose(seen)));
    let tier = account.standing.tier(credential.kind);
    facts.push(fact("place", format!("{} of {} in tier {tier}", seen.place, seen.of)));
    facts.extend(account.quota.is_said().then(|| fact("quota", account.quota.to_string())));
    facts.push(fact("taken next", if account.is_active { "yes" } else { "no" }));
    facts.push(fact("failures", account.standing.failures.to_string()));
    facts.extend(cooldowns(state, seen));
    facts.extend(detail::token(seen, state).map(|token| fact("token", token)));
    // As `credentials show` has it.
    facts.extend(account.windows(state.now).map(|window| {
        let name = crate::output::plain(&window.name);
        fact("left", format!("{name}: {}", allowance::line(window, state.now)))
    }));
    if let Some(response) = account.standing.last_response {
        facts.push(fact("last", format!("{}, {}", response.status, rfc3339(response.at))));
    }
    let renewal = account.last_renewal.as_ref();
    facts.extend(renewal.map(|renewal| fact("renewal", renewal.to_string())));
    facts.push(fact("namespace", crate::output::plain(credential.pool.namespace())));
    facts.push(fact("id", credential.id.to_string()));
    facts.push(fact("added", rfc3339(credential.created_at)));
    facts.push(fact("updated", rfc3339(credential.updated_at)));
    let attributes = credential.attributes.iter();
    facts.extend(
        attributes.map(|(name, value)| fact(&crate::output::plain(name), crate::output::plain(value))),
    );
    facts
}

/// What the pool says of each of its accounts, in the words of `credentials why`; and the key that mends the one that is
/// chosen.
fn why(state: &State, chosen: &Seen) -> Vec<Fact> {
    let told = match state.why.as_ref().and_then(|why| why.told.as_ref()) {
        None => return vec![fact("asking the pool …", "")],
        Some(Err(failed)) => {
            let way_out = failed.way_out.iter().map(|way_out| fact("", format!("try: {way_out}")));
            return std::iter::once(fact("", failed.why.clone())).chain(way_out).collect();
        }
        Some(Ok(told)) => told,
    };
    let mut facts = vec![fact(&told.next, "")];
    facts.extend(told.gateway.iter().map(|answer| fact("", answer.clone())));
    for line in &told.lines {
        let is_chosen = line.id == chosen.id();
        let lead = if is_chosen { "▶ " } else { "  " };
        let label = state.account(line.id).map_or_else(|| line.name.clone(), Seen::label);
        facts.push((format!("{lead}{label}"), line.why.clone()));
        facts.extend(line.way_out.iter().map(|text| fact("", text.clone())));
        if is_chosen && !line.way_out.is_empty() && chosen.trouble.is_some() {
            facts.push(fact("", format!("or the key {}", chosen.mending_keys(state.now))));
        }
    }
    facts
}

fn cooldowns<'a>(state: &'a State, seen: &'a Seen) -> impl Iterator<Item = Fact> + 'a {
    let cooldowns = seen.account.standing.cooldowns.iter();
    cooldowns.filter(|cooldown| cooldown.until > state.now).map(|cooldown| {
        let scope = cooldown.scope.as_ref().map_or("all requests", |scope| scope.as_str());
        let left = countdown(cooldown.until.since(state.now));
        let until = rfc3339(cooldown.until);
        fact("cooldown", format!("{}: {left} left, until {until}", crate::output::plain(scope)))
    })
}

//! Texts to read: the keys, an account, why it is used or not, the settings.

use super::front::room;
use super::paint::{Canvas, Theme, width, wrapped};
use super::{detail, window};
use crate::time::rfc3339;
use crate::tui::keys;
use crate::tui::state::State;
use crate::tui::state::account::{Seen, countdown};
use crate::tui::state::front::{About, Reading};

/// A name and its value. Without a name it goes on with the one above, without a value it is a title.
type Fact = (String, String);

pub(super) fn draw(canvas: &mut Canvas<'_>, state: &State, reading: &mut Reading) {
    let facts = match reading.about {
        About::Keys(place) => keys(place),
        About::Account(id) => state.account(id).map(|seen| account(state, seen)).unwrap_or_default(),
        About::Why(id) => state.account(id).map(|seen| why(state, seen)).unwrap_or_default(),
        About::Settings => state.settings.clone(),
    };
    let room = room(canvas);
    let names = facts.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| width(name));
    let names = names.max().unwrap_or(0).min(room / 3);
    let mut lines: Vec<(String, String)> = Vec::new();
    for (name, value) in facts {
        if value.is_empty() {
            lines.push((name, value));
            continue;
        }
        let mut lead = name;
        for part in wrapped(&value, room.saturating_sub(names + 3)) {
            lines.push((std::mem::take(&mut lead), part));
        }
    }
    let height = canvas.height().saturating_sub(4).min(lines.len());
    let title = match reading.about {
        About::Keys(place) => format!("Keys of {}", place.name()),
        About::Why(_) => format!("Why: {}", reading.title),
        _ => reading.title.clone(),
    };
    let mut inside = window::open(canvas, &title, room, height);
    let height = inside.height();
    reading.top = reading.top.min(lines.len().saturating_sub(height));
    for (line, (name, value)) in lines.iter().skip(reading.top).take(height).enumerate() {
        if value.is_empty() {
            inside.put(0, line, name, Theme::strong());
        } else {
            inside.put_in(0, line, names, name, Theme::quiet());
            inside.put(names + 2, line, value, Theme::plain());
        }
    }
    let is_cut = reading.top + height < lines.len();
    if is_cut && height > 0 {
        let column = inside.width().saturating_sub(2);
        inside.put(column, height - 1, "↓", Theme::strong());
    }
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
    facts.push(fact("place", format!("{} of {} in tier {}", seen.place, seen.of, account.tier)));
    facts.extend(account.quota.is_said().then(|| fact("quota", account.quota.to_string())));
    facts.push(fact("taken next", if account.is_active { "yes" } else { "no" }));
    facts.push(fact("failures", account.standing.failures.to_string()));
    facts.extend(cooldowns(state, seen));
    facts.extend(detail::token(seen, state).map(|token| fact("token", token)));
    facts.extend(seen.windows(state.now).map(|window| {
        let resets = window.resets_at.filter(|at| *at > state.now);
        let resets = resets.map(|at| format!(", resets in {}", countdown(at.since(state.now))));
        let age = crate::tui::state::account::short(state.now.since(window.said_at));
        let (name, left) = (crate::output::plain(&window.name), window.permille / 10);
        fact("left", format!("{name} {left}%{}, said {age} ago", resets.unwrap_or_default()))
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

/// Says of each account of the pool whether requests take it, and why not.
fn why(state: &State, chosen: &Seen) -> Vec<Fact> {
    let mut facts = Vec::new();
    for seen in state.accounts.iter().filter(|seen| seen.pool() == chosen.pool()) {
        let lead = if seen.id() == chosen.id() { "▶ " } else { "  " };
        let name = format!("{lead}{}", seen.label());
        let next = if seen.account.is_active { "taken next; " } else { "" };
        let state_now = seen.condition(state.now);
        let why = match &seen.trouble {
            Some((why, _)) => why.clone(),
            None => state_now.fitted(usize::MAX).to_owned(),
        };
        let tier = format!(" (tier {}, place {})", seen.account.tier, seen.place);
        facts.push((name, format!("{next}{why}{tier}")));
        if seen.id() == chosen.id() {
            facts.extend(cooldowns(state, seen));
            if let Some((_, Some(way_out))) = &seen.trouble {
                let key = seen.mending_keys(state.now);
                facts.push(fact("", format!("the key {key}, or: {way_out}")));
            }
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

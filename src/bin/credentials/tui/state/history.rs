//! What has happened to the accounts: the differences between two looks at the vault.

use std::collections::{HashMap, VecDeque};

use tower_credentials::standing::Health;
use tower_credentials::{CredentialId, Kind, Timestamp};

use super::account::{Level, Seen, countdown};
use crate::output::plain;

/// How many entries are kept.
const MOST: usize = 10_000;

/// Something that happened.
#[derive(Clone)]
pub(in crate::tui) struct Entry {
    pub(in crate::tui) at: Timestamp,
    pub(in crate::tui) id: CredentialId,
    /// The account's name at that time.
    pub(in crate::tui) name: String,
    /// The status of a response.
    pub(in crate::tui) status: Option<u16>,
    pub(in crate::tui) text: String,
    pub(in crate::tui) level: Level,
}

/// What has happened, the latest first.
#[derive(Default)]
pub(in crate::tui) struct History {
    entries: VecDeque<Entry>,
}

impl History {
    pub(in crate::tui) fn add(&mut self, entry: Entry) {
        // Usually it is the latest.
        let at = self.entries.iter().position(|known| known.at <= entry.at);
        self.entries.insert(at.unwrap_or(self.entries.len()), entry);
        self.entries.truncate(MOST);
    }

    /// Adds what differs between two looks.
    pub(in crate::tui) fn compare(&mut self, old: &[Seen], new: &[Seen], now: Timestamp) {
        let before: HashMap<_, _> = old.iter().map(|seen| (seen.id(), seen)).collect();
        let after: HashMap<_, _> = new.iter().map(|seen| (seen.id(), seen)).collect();
        for seen in new {
            let mut note = |text: &str, level| self.add(entry(seen, now, text, level));
            match before.get(&seen.id()) {
                None => note("added", Level::Good),
                Some(old) => differences(old, seen, now, &mut note),
            }
            let last = seen.account.standing.last_response;
            let known = before.get(&seen.id()).map(|old| old.account.standing.last_response);
            if let Some(response) = last.filter(|_| known.is_some_and(|known| known != last)) {
                let level = match response.status {
                    200..400 => Level::Good,
                    429 => Level::Doubtful,
                    _ => Level::Bad,
                };
                let entry = entry(seen, response.at.min(now), "", level);
                self.add(Entry { status: Some(response.status), ..entry });
            }
        }
        for seen in old.iter().filter(|seen| !after.contains_key(&seen.id())) {
            self.add(entry(seen, now, "removed", Level::Quiet));
        }
    }

    /// Returns the entries, the latest first: of one account or of all, all or only those that are no success.
    pub(in crate::tui) fn shown(
        &self,
        only: Option<CredentialId>,
        only_errors: bool,
    ) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| {
            only.is_none_or(|only| entry.id == only)
                && (!only_errors || matches!(entry.level, Level::Bad | Level::Doubtful))
        })
    }

    /// Returns how many responses each of the last 24 hours had, the oldest first, and how many had which error.
    pub(in crate::tui) fn day(&self, id: CredentialId, now: Timestamp) -> Day {
        let mut day = Day::default();
        for entry in self.entries.iter().filter(|entry| entry.id == id) {
            let hours = now.since(entry.at).as_secs() / 3600;
            let (Some(status), 0..24) = (entry.status, hours) else { continue };
            day.hours[23 - usize::try_from(hours).unwrap_or(0)] += 1;
            if !(200..400).contains(&status) {
                *day.errors.entry(status).or_default() += 1;
            }
        }
        day
    }
}

/// The responses of a day.
#[derive(Default)]
pub(in crate::tui) struct Day {
    pub(in crate::tui) hours: [u64; 24],
    pub(in crate::tui) errors: std::collections::BTreeMap<u16, u64>,
}

fn entry(seen: &Seen, at: Timestamp, text: &str, level: Level) -> Entry {
    Entry { at, id: seen.id(), name: seen.name.clone(), status: None, text: text.to_owned(), level }
}

/// Notes what became of an account, but for its responses.
fn differences(old: &Seen, new: &Seen, now: Timestamp, note: &mut impl FnMut(&str, Level)) {
    let (before, after) = (&old.account.standing, &new.account.standing);
    if old.account.credential.label != new.account.credential.label {
        note(&format!("renamed, it was {}", old.label()), Level::Quiet);
    }
    if before.paused != after.paused {
        note(if after.paused { "paused" } else { "resumed" }, Level::Quiet);
    }
    let (was, is) = (old.account.credential.generation, new.account.credential.generation);
    if was < is {
        note(replaced(new), Level::Good);
    }
    let until = |seen: &Seen| seen.account.standing.cooldown(None).map(|cooldown| cooldown.until);
    match (until(old), until(new)) {
        (was, Some(until)) if was != Some(until) && until > now => {
            note(&format!("cooling down, ready in {}", countdown(until.since(now))), Level::Doubtful);
        }
        (Some(was), None) if was > now => note("ready again", Level::Good),
        _ => {}
    }
    if before.health != after.health {
        match &after.health {
            Health::NeedsSignIn { reason, .. } => {
                note(&format!("needs a sign-in: {}", plain(reason)), Level::Bad);
            }
            Health::Dead { reason, .. } => note(&format!("dead: {}", plain(reason)), Level::Bad),
            Health::Spent { reason, .. } => note(&format!("spent: {}", plain(reason)), Level::Bad),
            _ => note("can be used again", Level::Good),
        }
    }
    if new.account.is_active && !old.account.is_active {
        note("is taken next", Level::Good);
    }
}

fn replaced(seen: &Seen) -> &'static str {
    match seen.account.credential.kind {
        Kind::OAuth | Kind::Mcp => "token renewed",
        _ => "key replaced",
    }
}

//! What has happened to the accounts in the last day, as all programs that use the vault have recorded it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tower_credentials::events::{Event, EventKind};
use tower_credentials::{CredentialId, Timestamp};

use super::account::Level;
use crate::commands::history::words;
use crate::output::plain;

/// For how long an entry is shown.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How many entries are kept. The files of a history have room for about so many.
const MOST: usize = 25_000;

/// Something that happened.
#[derive(Clone)]
pub(in crate::tui) struct Entry {
    pub(in crate::tui) at: Timestamp,
    /// The accounts that it is about. Of a rotation there are two.
    ids: [Option<CredentialId>; 2],
    /// The account's name at that time; empty if it is about none.
    pub(in crate::tui) name: String,
    /// The status of responses, and how many there were.
    pub(in crate::tui) status: Option<(u16, u64)>,
    pub(in crate::tui) text: String,
    pub(in crate::tui) level: Level,
    /// Whether the account was removed: then nothing else is known of it any more.
    is_removal: bool,
}

impl Entry {
    pub(in crate::tui) fn of(event: &Event) -> Self {
        let kind = &event.kind;
        let (who, what) = words::of(kind);
        let mut ids = kind.accounts().map(|account| account.id);
        let mut ids = [ids.next(), ids.next()];
        let (status, text, is_removal) = match kind {
            EventKind::Answered { status, requests, .. } => {
                let several = (*requests > 1).then(|| format!("{requests} requests"));
                (Some((status.as_u16(), *requests)), several.unwrap_or_default(), false)
            }
            EventKind::Removed { id, .. } => {
                ids[0] = Some(*id);
                (None, what, true)
            }
            _ => (None, what, false),
        };
        let name = plain(&who.unwrap_or_default());
        Self { at: event.at, ids, name, status, text: plain(&text), level: level(kind), is_removal }
    }

    fn is_about(&self, id: CredentialId) -> bool {
        self.ids.contains(&Some(id))
    }
}

/// How good it is that this has happened.
fn level(kind: &EventKind) -> Level {
    match kind {
        EventKind::Answered { status, .. } => level_of(status.as_u16()),
        EventKind::Recovered { .. } | EventKind::Refreshed { .. } | EventKind::SignedIn { .. } => {
            Level::Good
        }
        EventKind::CooledDown { .. }
        | EventKind::CapLowered { .. }
        | EventKind::Suspected { .. }
        | EventKind::SentOnce { .. }
        | EventKind::Waiting { .. }
        | EventKind::Repeated { .. }
        | EventKind::OlderVault { .. }
        | EventKind::Lost { .. } => Level::Doubtful,
        EventKind::RefreshFailed { .. }
        | EventKind::SecretNotSaved { .. }
        | EventKind::NeedsSignIn { .. }
        | EventKind::Spent { .. }
        | EventKind::SaveFailed { .. }
        | EventKind::Damaged { .. } => Level::Bad,
        _ => Level::Quiet,
    }
}

/// How good a response with this status is.
pub(in crate::tui) fn level_of(status: u16) -> Level {
    match status {
        200..400 => Level::Good,
        429 => Level::Doubtful,
        _ => Level::Bad,
    }
}

/// What was read of the history.
pub(in crate::tui) struct Happened {
    /// Whether this is all that there is, and not only what is new.
    pub(in crate::tui) is_all: bool,
    pub(in crate::tui) events: Vec<Event>,
    /// Why nothing more is to be expected.
    pub(in crate::tui) note: Option<String>,
}

impl Happened {
    /// Leaves out what is too old to be shown.
    pub(in crate::tui) fn of_the_day(mut self, now: Timestamp) -> Self {
        self.events.retain(|event| is_of_the_day(event.at, now));
        self
    }
}

fn is_of_the_day(at: Timestamp, now: Timestamp) -> bool {
    now.since(at) < DAY
}

/// What has happened, the latest first.
#[derive(Default)]
pub(in crate::tui) struct History {
    entries: VecDeque<Entry>,
    /// Whether it was read once.
    pub(in crate::tui) is_read: bool,
    /// Why nothing more is to be expected.
    pub(in crate::tui) note: Option<String>,
}

impl History {
    /// Takes what was read.
    pub(in crate::tui) fn take(&mut self, happened: Happened) {
        let Happened { is_all, events, note } = happened;
        if is_all {
            self.entries.clear();
        }
        (self.is_read, self.note) = (true, note);
        for event in &events {
            self.add(Entry::of(event));
        }
    }

    pub(in crate::tui) fn add(&mut self, entry: Entry) {
        if entry.is_removal {
            // As in the files.
            let gone = entry.ids;
            self.entries.retain(|known| gone.iter().flatten().all(|id| !known.is_about(*id)));
        }
        // Usually it is the latest.
        let at = self.entries.iter().position(|known| known.at <= entry.at);
        self.entries.insert(at.unwrap_or(self.entries.len()), entry);
        self.entries.truncate(MOST);
    }

    /// Time goes on: forgets what is too old.
    pub(in crate::tui) fn tick(&mut self, now: Timestamp) {
        while self.entries.back().is_some_and(|entry| !is_of_the_day(entry.at, now)) {
            self.entries.pop_back();
        }
    }

    /// Returns the entries, the latest first: of one account or of all, all or only those that are no success.
    pub(in crate::tui) fn shown(
        &self,
        only: Option<CredentialId>,
        only_errors: bool,
    ) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| {
            only.is_none_or(|only| entry.is_about(only))
                && (!only_errors || matches!(entry.level, Level::Bad | Level::Doubtful))
        })
    }

    /// Returns how many responses each of the last 24 hours had, the oldest first, and how many had which error.
    pub(in crate::tui) fn day(&self, id: CredentialId, now: Timestamp) -> Day {
        let mut day = Day::default();
        for entry in self.entries.iter().filter(|entry| entry.is_about(id)) {
            let hours = now.since(entry.at).as_secs() / 3600;
            let (Some((status, count)), 0..24) = (entry.status, hours) else { continue };
            day.hours[23 - usize::try_from(hours).unwrap_or(0)] += count;
            if level_of(status) != Level::Good {
                *day.errors.entry(status).or_default() += count;
            }
        }
        day
    }
}

/// The responses of a day.
#[derive(Default)]
pub(in crate::tui) struct Day {
    pub(in crate::tui) hours: [u64; 24],
    pub(in crate::tui) errors: BTreeMap<u16, u64>,
}

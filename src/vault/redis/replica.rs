//! This process's copy of a pool: its standings and its last changes, as far as the log was read.

use std::collections::HashMap;

use super::entry::{Entry, EntryId, Event};
use super::fault::not_understood;
use super::past::Past;
use super::stored::Stored;
use crate::credential::CredentialId;
use crate::standing::{Standings, Touched};
use crate::vault::recent::{RecentChanges, Step};
use crate::vault::seal::Sealed;
use crate::vault::{Changes, Revision, VaultError};

/// The records that this process has seen last, sealed.
pub(super) type Known = HashMap<CredentialId, Stored>;

/// A pool's standings up to an entry of its log.
#[derive(Debug, Default)]
pub(super) struct Replica {
    last: EntryId,
    standings: Standings,
    recent: RecentChanges,
    past: Past,
}

/// Why an entry does not follow the last one.
#[derive(Debug)]
pub(super) enum NotNext {
    /// Entries before it are gone, so the pool must be loaded.
    Gap,
    /// The log is another one: the engine has forgotten.
    Forgotten,
    /// It can't be read.
    Unread(VaultError),
}

impl Replica {
    /// Reads a snapshot: the id of the last entry in it, a colon, and the standings.
    pub(super) fn of_snapshot(text: &str) -> Result<Self, VaultError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let wrong = || not_understood("a pool's snapshot");
        let (last, json) = text.split_once(':').ok_or_else(wrong)?;
        let standings = serde_json::from_str(json).map_err(|_| wrong())?;
        let last = last.parse()?;
        Ok(Self { last, standings, recent: RecentChanges::default(), past: Past::since(last) })
    }

    /// Writes the snapshot.
    pub(super) fn snapshot(&self) -> Result<String, VaultError> {
        let json = serde_json::to_string(&self.standings);
        Ok(format!("{}:{}", self.last, json.map_err(|error| VaultError::Layer(error.into()))?))
    }

    pub(super) fn last(&self) -> EntryId {
        self.last
    }

    pub(super) fn standings(&self) -> &Standings {
        &self.standings
    }

    pub(super) fn past(&self) -> &Past {
        &self.past
    }

    /// Takes over the past of an earlier copy of the same log.
    pub(super) fn follows(&mut self, earlier: Self) {
        self.past = std::mem::take(&mut self.past).after(earlier.past);
    }

    /// Applies an entry if it is the next one. One that was applied already changes nothing.
    pub(super) fn apply(&mut self, entry: &Entry, known: &mut Known) -> Result<(), NotNext> {
        let id = entry.id().map_err(NotNext::Unread)?;
        if id.number <= self.last.number {
            let is_other = id.number == self.last.number && id != self.last;
            return if is_other { Err(NotNext::Forgotten) } else { Ok(()) };
        }
        if id.number != self.last.number + 1 {
            return Err(NotNext::Gap);
        }
        let before = self.last.revision();
        let steps = self.steps(entry.event().map_err(NotNext::Unread)?, known);
        steps.into_iter().for_each(|step| self.recent.push(before, step));
        self.last = id;
        self.past.push(id, entry.batch());
        Ok(())
    }

    /// Applies what an entry says, and returns the changes that this makes.
    fn steps(&mut self, event: Event, known: &mut Known) -> Vec<Step> {
        vec![match event {
            Event::Outcomes(outcomes) => {
                let merge = |outcome| Step::Merged(self.standings.merge(outcome));
                return outcomes.iter().map(merge).collect();
            }
            Event::Added(id, stored) => {
                if !self.standings.order.contains(&id) {
                    self.standings.push(id);
                }
                learn(known, id, stored);
                Step::Added(id)
            }
            Event::Changed(id, stored) => {
                learn(known, id, stored);
                Step::Record(id)
            }
            Event::Moved(id, place) => {
                self.standings.move_to(id, place);
                Step::Reordered
            }
            Event::Removed(id) => {
                self.standings.remove(id);
                known.remove(&id);
                Step::Removed(id)
            }
            Event::Given(given) => {
                let Standings { order, preferred, credentials } = given.standings;
                (self.standings.order, self.standings.preferred) = (order, preferred);
                let touched = credentials.keys().map(|id| Touched {
                    id: *id,
                    sharing: Vec::new(),
                    is_to_back: false,
                    is_reordered: true,
                });
                let steps = touched.map(Step::Merged).chain([Step::Reordered]).collect();
                self.standings.credentials.extend(credentials);
                return steps;
            }
        }]
    }

    /// Returns what has changed since a revision; `None` if that is not known, or a changed record can't be read.
    pub(super) fn changes(&self, since: Revision, known: &Known) -> Option<Changes<Sealed>> {
        let news = self.recent.since(since, self.last.revision())?;
        let mut changes = news.changes(&self.standings, self.last.revision());
        let records = news.records.iter().map(|id| known.get(id)?.record());
        changes.credentials = records.collect::<Option<_>>()?;
        Some(changes)
    }
}

/// Keeps a record that is newer than what is known. A record that can't be read replaces nothing, and makes the known one
/// no newer.
fn learn(known: &mut Known, id: CredentialId, stored: Option<Stored>) {
    match stored {
        Some(stored) if known.get(&id).is_none_or(|before| stored.is_newer_than(before)) => {
            known.insert(id, stored);
        }
        Some(_) => {}
        // What is known is older than what is stored, and must not be shown as if it were not.
        None => {
            known.remove(&id);
        }
    }
}

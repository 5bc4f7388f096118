//! A pool's state by its log: standings and members.

use std::collections::HashMap;
use std::sync::Arc;

use crate::credential::{CredentialId, Kind, PoolKey};
use crate::standing::{Outcome, Standings};
use crate::vault::file::log::{Entry, FORMAT, Line, Snapshot};
use crate::vault::recent::Step;

/// A pool's state: the result of the lines of its log that were read.
#[derive(Debug, Default)]
pub(in crate::vault::file) struct State {
    pub(super) sequence: u64,
    pub(in crate::vault::file) standings: Standings,
    pub(in crate::vault::file) members: HashMap<CredentialId, Member>,
    /// Whether the log has lines about a member that is gone.
    pub(super) has_removed: bool,
}

/// Whether two logs say the same. A compacted log says what it said before, in fewer lines.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        (self.sequence, &self.standings, &self.members)
            == (other.sequence, &other.standings, &other.members)
    }
}

/// A member as the log describes it; fields that the log does not have are unknown.
#[derive(Debug, Default, PartialEq)]
pub(in crate::vault::file) struct Member {
    pub(super) label: Option<Arc<str>>,
    pub(super) kind: Option<Kind>,
}

impl State {
    /// Writes the whole state as one line.
    pub(in crate::vault::file) fn snapshot(&self, key: &PoolKey) -> Line {
        let members = || self.members.iter();
        let snapshot = Snapshot {
            format: FORMAT,
            pool: key.clone(),
            standings: self.standings.clone(),
            labels: members().filter_map(|(id, known)| Some((*id, known.label.clone()?))).collect(),
            kinds: members().filter_map(|(id, known)| Some((*id, known.kind?))).collect(),
        };
        Line { sequence: self.sequence, entry: Entry::Snapshot(snapshot) }
    }

    /// Applies a line. Returns the changes that it makes; `None` for a snapshot, which says the whole state.
    pub(in crate::vault::file) fn apply(&mut self, line: Line) -> Option<Vec<Step>> {
        self.sequence = line.sequence;
        let step = match line.entry {
            Entry::Snapshot(snapshot) => {
                self.standings = snapshot.standings;
                self.standings.complete();
                let (mut labels, kinds) = (snapshot.labels, snapshot.kinds);
                let mut known = |id| Member { label: labels.remove(id), kind: kinds.get(id).copied() };
                self.has_removed = false;
                self.members = self.standings.order.iter().map(|id| (*id, known(id))).collect();
                return None;
            }
            Entry::Outcomes(outcomes) => {
                let merge = |outcome: &Outcome| {
                    let is_new = self.admit(outcome.id, Member::default());
                    let mut touched = self.standings.merge(outcome);
                    touched.is_reordered |= is_new;
                    Step::Merged(touched)
                };
                return Some(outcomes.iter().map(merge).collect());
            }
            Entry::Member { id, label, kind } => {
                match self.admit(id, Member { label: Some(label), kind }) {
                    true => Step::Added(id),
                    false => Step::Record(id),
                }
            }
            Entry::Moved { id, place } => {
                self.admit(id, Member::default());
                self.standings.move_to(id, place);
                Step::Reordered
            }
            Entry::Removed(id) => {
                self.has_removed = true;
                self.members.remove(&id);
                self.standings.remove(id);
                Step::Removed(id)
            }
            Entry::Touched(id) => Step::Record(id),
        };
        Some(vec![step])
    }

    /// Makes it a member if it is not one: the line that made it one may be damaged. Returns whether it was none.
    fn admit(&mut self, id: CredentialId, Member { label, kind }: Member) -> bool {
        let is_new = !self.members.contains_key(&id);
        let known = self.members.entry(id).or_default();
        if label.is_some() {
            known.label = label;
        }
        // A kind never changes.
        known.kind = known.kind.or(kind);
        if is_new {
            self.standings.push(id);
        }
        is_new
    }
}

//! A pool's state by its log: standings and members.

use std::collections::HashMap;
use std::sync::Arc;

use crate::credential::{CredentialId, Kind, PoolKey};
use crate::standing::Standings;
use crate::vault::file::log::{Entry, FORMAT, Line, Snapshot};

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

    pub(in crate::vault::file) fn apply(&mut self, line: Line) {
        self.sequence = line.sequence;
        match line.entry {
            Entry::Snapshot(snapshot) => {
                self.standings = snapshot.standings;
                self.standings.complete();
                let (mut labels, kinds) = (snapshot.labels, snapshot.kinds);
                let mut known = |id| Member { label: labels.remove(id), kind: kinds.get(id).copied() };
                self.has_removed = false;
                self.members = self.standings.order.iter().map(|id| (*id, known(id))).collect();
            }
            Entry::Outcomes(outcomes) => outcomes.iter().for_each(|outcome| {
                self.admit(outcome.id, Member::default());
                self.standings.merge(outcome);
            }),
            Entry::Member { id, label, kind } => self.admit(id, Member { label: Some(label), kind }),
            Entry::Moved { id, place } => {
                self.admit(id, Member::default());
                self.standings.move_to(id, place);
            }
            Entry::Removed(id) => {
                self.has_removed = true;
                self.members.remove(&id);
                self.standings.remove(id);
            }
            Entry::Touched(_) => {}
        }
    }

    /// Makes it a member if it is not one: the line that made it one may be damaged.
    fn admit(&mut self, id: CredentialId, Member { label, kind }: Member) {
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
    }
}

//! Which of a pool's events are kept.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::RandomState;
use http::StatusCode;

use super::EventKind;
use crate::clock::Timestamp;
use crate::credential::CredentialId;
use crate::events::{Account, Event};

/// How often an account's responses with one status are told.
const EVERY: Duration = Duration::from_secs(60);

/// Makes of each request's events what is kept. Its size is bounded by the accounts, and the statuses of their responses.
#[derive(Default)]
pub(super) struct Digest {
    /// Nobody else chooses the keys, so a fast hash does.
    answered: HashMap<(CredentialId, StatusCode), Answered, RandomState>,
}

struct Answered {
    /// When it was told last.
    told: Timestamp,
    /// How many there were since.
    untold: u64,
    account: Account,
}

impl Digest {
    /// Returns the event as it is kept, if it is.
    pub(super) fn take(&mut self, event: &Event) -> Option<Event> {
        let at = event.at;
        match &event.kind {
            EventKind::Attempt { account, status, .. } => {
                let is_due = |known: &Answered| at < known.told || at.since(known.told) >= EVERY;
                let known = self.answered.entry((account.id, *status));
                let is_new = matches!(known, std::collections::hash_map::Entry::Vacant(_));
                let answered =
                    known.or_insert_with(|| Answered { told: at, untold: 0, account: account.clone() });
                answered.untold += 1;
                if !is_new && !is_due(answered) {
                    return None;
                }
                answered.told = at;
                let requests = std::mem::take(&mut answered.untold);
                let kind = EventKind::Answered { account: account.clone(), status: *status, requests };
                Some(Event { at, request: event.request, attempt: event.attempt, kind })
            }
            EventKind::Allowance { .. } | EventKind::Saved { .. } => None,
            _ => Some(event.clone()),
        }
    }

    /// Returns what is left to be told at the end.
    pub(super) fn rest(self, at: Timestamp) -> impl Iterator<Item = Event> {
        let untold = self.answered.into_iter().filter(|(_, answered)| answered.untold > 0);
        untold.map(move |((_, status), Answered { untold, account, .. })| {
            Event::new(at, EventKind::Answered { account, status, requests: untold })
        })
    }
}

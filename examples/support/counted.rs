//! What a pool counts, as the examples about metrics tell it.

use tower_credentials::counters::Counters;

/// Counts, each with the attribute that it has beside those of the pool.
pub type Counts = Vec<(Option<(&'static str, &'static str)>, u64)>;

/// A counter of a pool.
pub struct Counted {
    pub name: &'static str,
    pub help: &'static str,
    pub read: fn(&Counters) -> Counts,
}

pub const COUNTED: [Counted; 4] = [
    Counted {
        name: "requests",
        help: "Callers' requests that were sent",
        read: |counters| vec![(None, counters.requests)],
    },
    Counted {
        name: "attempts",
        help: "How often requests were sent, by what became of that",
        read: |counters| labelled("outcome", counters.attempts_by_outcome()),
    },
    Counted {
        name: "rotations",
        help: "How often a request went on to another account, by reason",
        read: |counters| labelled("reason", counters.rotations_by_reason()),
    },
    Counted {
        name: "refreshes",
        help: "Renewals of secrets, by outcome",
        read: |counters| labelled("outcome", counters.refreshes_by_outcome()),
    },
];

/// These are sums over the accounts. An account's own numbers are there too; if they are told, then by its id, and never by
/// its label, which may be an email address.
fn labelled<const N: usize>(attribute: &'static str, counts: [(&'static str, u64); N]) -> Counts {
    counts.into_iter().map(|(value, count)| (Some((attribute, value)), count)).collect()
}

/// An error if the text lacks one of these lines.
pub fn check(text: &str, lines: &[&str]) -> Result<(), tower_credentials::BoxError> {
    match lines.iter().find(|line| !text.lines().any(|told| told == **line)) {
        None => Ok(()),
        Some(line) => Err(format!("the text lacks {line:?}").into()),
    }
}

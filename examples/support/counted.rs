//! What a pool counts, as the examples about metrics tell it.

use tower_credentials::counters::{Counters, CredentialCounters};

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
        read: |counters| {
            vec![
                (Some(("outcome", "succeeded")), sum(counters, |of| of.succeeded)),
                (Some(("outcome", "limited")), sum(counters, |of| of.limited)),
                (Some(("outcome", "refused")), sum(counters, |of| of.refused)),
                (Some(("outcome", "out_of_use")), sum(counters, |of| of.out_of_use)),
                (Some(("outcome", "other")), sum(counters, |of| of.other)),
                (Some(("outcome", "failed")), sum(counters, |of| of.failed)),
                (Some(("outcome", "cancelled")), sum(counters, |of| of.cancelled)),
            ]
        },
    },
    Counted {
        name: "rotations",
        help: "How often a request went on to another account, by reason",
        read: |counters| {
            vec![
                (Some(("reason", "limited")), sum(counters, |of| of.rotations.limited)),
                (Some(("reason", "refused")), sum(counters, |of| of.rotations.refused)),
                (Some(("reason", "out_of_use")), sum(counters, |of| of.rotations.out_of_use)),
                (Some(("reason", "no_token")), sum(counters, |of| of.rotations.no_token)),
            ]
        },
    },
    Counted {
        name: "refreshes",
        help: "Renewals of secrets, by outcome",
        read: |counters| {
            vec![
                (Some(("outcome", "renewed")), sum(counters, |of| of.refreshes.renewed)),
                (Some(("outcome", "adopted")), sum(counters, |of| of.refreshes.adopted)),
                (Some(("outcome", "rejected")), sum(counters, |of| of.refreshes.rejected)),
                (Some(("outcome", "failed")), sum(counters, |of| of.refreshes.failed)),
            ]
        },
    },
];

/// The sum over the accounts. An account's own numbers are there too; if they are told, then by its id, and never by its
/// label, which may be an email address.
fn sum(counters: &Counters, count: fn(&CredentialCounters) -> u64) -> u64 {
    counters.credentials.iter().map(count).sum()
}

/// An error if the text lacks one of these lines.
pub fn check(text: &str, lines: &[&str]) -> Result<(), tower_credentials::BoxError> {
    match lines.iter().find(|line| !text.lines().any(|told| told == **line)) {
        None => Ok(()),
        Some(line) => Err(format!("the text lacks {line:?}").into()),
    }
}

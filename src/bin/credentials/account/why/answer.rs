//! What the program's gateway answers while no account is ready.

use std::fmt;

use http::StatusCode;
use serde::Serialize;
use tower_credentials::{Metadata, Timestamp};

use crate::naming::name;
use crate::output::plain;
use crate::time::{brief, now, rfc3339};

/// A response that needs no account.
#[derive(Serialize)]
pub(crate) struct Answer {
    status: u16,
    #[serde(flatten)]
    first: Option<First>,
}

/// The account that is ready first.
#[derive(Serialize)]
struct First {
    #[serde(rename = "first")]
    name: String,
    until: String,
    #[serde(skip)]
    left: String,
}

impl Answer {
    /// The answer for this account that is ready first, or for none that a person does not help.
    pub(super) fn of(soonest: Option<(&Metadata, Timestamp)>) -> Self {
        let status = match soonest {
            Some(_) => StatusCode::TOO_MANY_REQUESTS,
            None => StatusCode::SERVICE_UNAVAILABLE,
        };
        let first = soonest.map(|(account, until)| First {
            name: name(account),
            until: rfc3339(until),
            left: brief(until.since(now())),
        });
        Self { status: status.as_u16(), first }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, first } = self;
        match first {
            Some(First { name, until, left }) => write!(
                f,
                "{} is ready first, in {left}, at {until}; until then `credentials exec` and `serve` answer with a {status}",
                plain(name)
            ),
            None => {
                write!(f, "`credentials exec` and `serve` answer with a {status} until a person acts")
            }
        }
    }
}

//! What the example and a host say to each other: a line of JSON each.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// What a host says.
#[derive(Serialize, Deserialize)]
pub enum Said {
    /// It serves at this origin.
    Serves(String),
    /// An account got a 429.
    Limited { account: String, at: u64 },
    /// What it knows of all accounts, in their order. It is said at the beginning and after each change.
    Knows { accounts: Vec<Account>, at: u64 },
    /// It is about to present a refresh token, and waits for [`Told::GoOn`].
    Holds,
    /// It has not got a new token, for this reason.
    RefreshFailed(String),
}

/// What a host knows of an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    pub label: String,
    pub generation: u64,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Ready,
    CoolingDown,
    NeedsSignIn,
}

/// What a host is told.
#[derive(Serialize, Deserialize)]
pub enum Told {
    /// The next refresh token must not be presented before [`GoOn`](Self::GoOn).
    Hold,
    GoOn,
    End,
}

/// Returns the time in microseconds since the Unix epoch. All processes of a machine share this clock.
pub fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    elapsed.as_micros() as u64
}

//! A failed exchange of a token, as a vault keeps it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::FailedRefresh;
use crate::clock::Timestamp;

/// An exchange that failed without a verdict of the vendor's, and since when the token endpoint is left alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failed {
    at: Timestamp,
    /// How long the token endpoint is left alone after that, in milliseconds.
    wait: u64,
    in_a_row: u32,
    /// The reason, in words.
    #[serde(default)]
    reason: String,
}

impl Failed {
    pub(crate) fn new(failed: &FailedRefresh, at: Timestamp) -> Self {
        // An error may quote a whole page.
        const MAX_LEN: usize = 500;
        let shown = failed.reason.chars().filter(|character| !character.is_control());
        // Rounded up as each deadline is, so that a wait is never too short.
        let wait = at.after(failed.wait).since(at).as_millis();
        Self {
            at,
            wait: u64::try_from(wait).unwrap_or(u64::MAX),
            in_a_row: failed.in_a_row,
            reason: shown.take(MAX_LEN).collect(),
        }
    }

    /// Returns what is left of the wait: never more than was stated, and nothing if a wrong clock has put it into the
    /// future.
    pub(crate) fn left(&self, now: Timestamp) -> FailedRefresh {
        let wait = Duration::from_millis(self.wait);
        let left = match self.at.is_misdated(now) {
            true => Duration::ZERO,
            false => self.at.after(wait).since(now).min(wait),
        };
        FailedRefresh { wait: left, in_a_row: self.in_a_row, reason: self.reason.clone() }
    }

    /// Returns when it failed.
    #[cfg(feature = "file")]
    pub(crate) fn at(&self) -> Timestamp {
        self.at
    }

    /// Returns why it failed, in words.
    #[cfg(feature = "file")]
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }
}

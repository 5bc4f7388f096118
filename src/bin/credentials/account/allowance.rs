//! What is left of an account's limits, as its vendor has said last.

use serde::Serialize;
use tower_credentials::Timestamp;
use tower_credentials::rate_limit::Window;

use super::state::Account;
use crate::output;
use crate::time::{ago, brief, rfc3339};

impl Account {
    /// Returns the windows that have not been reset since the vendor has told them.
    pub(crate) fn windows(&self, now: Timestamp) -> impl Iterator<Item = &Window> {
        self.standing.allowance.iter().filter(move |window| window.is_current(now))
    }

    /// Describes them for a column of a table, such as `5h 38%, 7d 71% (12s ago)`. The age is that of the oldest.
    pub(crate) fn describe_left(&self, now: Timestamp) -> String {
        let known = |window: &Window| {
            let left = left(window)?;
            Some((format!("{} {left}", output::plain(&window.name)), window.said_at))
        };
        let (texts, said): (Vec<_>, Vec<_>) = self.windows(now).filter_map(known).unzip();
        match said.into_iter().min() {
            Some(oldest) => format!("{} ({})", texts.join(", "), ago(oldest, now)),
            None => String::new(),
        }
    }
}

/// Describes one window on a line of its own.
pub(crate) fn line(window: &Window, now: Timestamp) -> String {
    let mut line = match (left(window), window.remaining, window.limit) {
        (Some(left), Some(remaining), Some(limit)) => format!("{left} ({remaining} of {limit})"),
        (Some(left), ..) => left,
        (None, ..) => "unknown".to_owned(),
    };
    if let Some(reset) = window.resets_at {
        line.push_str(&format!(", resets in {}", brief(reset.since(now))));
    }
    format!("{line}, said {}", ago(window.said_at, now))
}

/// Says what is left: a part, or else a number.
pub(crate) fn left(window: &Window) -> Option<String> {
    match (window.left, window.remaining) {
        // Rounded down, so that nothing is shown that is not there; but what is left is not shown as nothing.
        (Some(left @ 1..10), _) => Some(format!("0.{left}%")),
        (Some(left), _) => Some(format!("{}%", left / 10)),
        (None, remaining) => remaining.map(|remaining| remaining.to_string()),
    }
}

/// A window in `--json`.
#[derive(Serialize)]
pub(super) struct JsonWindow<'a> {
    name: &'a str,
    /// The part that is left, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at: Option<String>,
    said_at: String,
    /// Whether it has not been reset since.
    current: bool,
}

impl<'a> JsonWindow<'a> {
    pub(super) fn of(window: &'a Window, now: Timestamp) -> Self {
        Self {
            name: &window.name,
            left: window.left.map(|left| f64::from(left) / 1000.0),
            remaining: window.remaining,
            limit: window.limit,
            resets_at: window.resets_at.map(rfc3339),
            said_at: rfc3339(window.said_at),
            current: window.is_current(now),
        }
    }
}

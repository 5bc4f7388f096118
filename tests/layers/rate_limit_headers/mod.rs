//! What headers of real vendors say about limits, and that malformed ones say nothing.

mod allowances;
mod generated;
mod resets;
mod retry_after;

use http::{HeaderMap, HeaderName, HeaderValue};
use tower_credentials::Timestamp;
use tower_credentials::rate_limit::retry_at;

/// Monday, 24 November 2025, 16:00:00 UTC.
const NOW: u64 = 1_764_000_000_000;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const MAX: u64 = 8 * DAY;

type Lines<'a> = &'a [(&'static str, &'a str)];

fn now() -> Timestamp {
    Timestamp::from_millis(NOW)
}

fn headers(lines: Lines<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

/// Milliseconds from now until the account may be asked again.
fn wait(lines: Lines<'_>) -> Option<u64> {
    retry_at(&headers(lines), now()).map(|at| at.as_millis() - NOW)
}

#[track_caller]
fn check_waits(rows: &[(Lines<'_>, Option<u64>)]) {
    let wrong: Vec<_> = rows
        .iter()
        .filter(|(lines, expected)| wait(lines) != *expected)
        .map(|(lines, expected)| format!("{lines:?}: {:?}, expected {expected:?}", wait(lines)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[track_caller]
fn check_values(name: &'static str, rows: &[(&str, Option<u64>)]) {
    for (value, expected) in rows {
        assert_eq!(wait(&[(name, value)]), *expected, "{name}: {value:?}");
    }
}

//! What headers of real vendors say about limits, and what malformed ones don't.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use tower_credentials::Timestamp;
use tower_credentials::rate_limit::{Allowance, MAX_STATED, allowance, retry_at};

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

#[test]
fn retry_after_is_seconds_in_digits_or_a_date() {
    check_values(
        "retry-after",
        &[
            ("0", Some(0)),
            ("1", Some(SECOND)),
            ("30", Some(30 * SECOND)),
            ("007", Some(7 * SECOND)),
            (" 30 ", Some(30 * SECOND)),
            ("1.5", Some(1_500)),
            ("0.25", Some(250)),
            ("0.0001", Some(1)),
            ("0.00000001", Some(1)),
            ("2.0000000", Some(2 * SECOND)),
            ("7999", Some(7_999 * SECOND)),
            ("691200", Some(MAX)),
            ("691201", Some(MAX)),
            ("18446744073709551616", Some(MAX)),
            ("99999999999999999999999999999999999999999999", Some(MAX)),
            ("-1", Some(0)),
            ("-0.5", Some(0)),
            ("-99999999999999999999999999", Some(0)),
            ("+30", None),
            ("", None),
            (" ", None),
            ("-", None),
            ("--1", None),
            ("-+1", None),
            (".5", None),
            ("5.", None),
            (".", None),
            ("1.2.3", None),
            ("1,5", None),
            ("1e3", None),
            ("0x10", None),
            ("inf", None),
            ("NaN", None),
            ("30s", None),
            ("30 seconds", None),
            ("1 2", None),
            ("٣", None),
            ("soon", None),
            ("2025-11-24T16:00:30Z", None),
        ],
    );
}

/// `NOW` is 1,764,000,000 s after the epoch.
#[test]
fn a_retry_after_that_is_too_large_for_a_wait_is_the_moment_that_it_names() {
    for name in ["retry-after", "retry-after-ms"] {
        check_values(
            name,
            &[
                ("1764000030", Some(30 * SECOND)),
                ("1764000030000", Some(30 * SECOND)),
                ("1764000030.5", Some(30 * SECOND + 500)),
                ("1763999999", Some(0)),
                ("1763999999000", Some(0)),
                ("1000000000", Some(0)),
                ("1764691201", Some(MAX)),
                ("1764691201000", Some(MAX)),
            ],
        );
    }
    check_values("retry-after", &[("999999999", Some(MAX))]);
    check_values("retry-after-ms", &[("999999999", Some(MAX)), ("30000", Some(30 * SECOND))]);
}

#[test]
fn all_three_forms_of_an_http_date_are_read() {
    check_values(
        "retry-after",
        &[
            ("Mon, 24 Nov 2025 16:00:30 GMT", Some(30 * SECOND)),
            ("Monday, 24-Nov-25 16:00:30 GMT", Some(30 * SECOND)),
            ("Mon Nov 24 16:00:30 2025", Some(30 * SECOND)),
            ("Wednesday, 26-Nov-25 16:00:00 GMT", Some(2 * DAY)),
            ("Mon Dec  1 16:00:00 2025", Some(7 * DAY)),
            ("Mon, 24 Nov 2025 16:00:00 GMT", Some(0)),
            ("Mon, 24 Nov 2025 15:59:59 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(0)),
            ("Sun Nov  6 08:49:37 1994", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(MAX)),
            ("Mon, 24 Nov 2025 16:00:30 UTC", None),
            ("Mon, 24 Nov 2025 16:00:30 +0000", None),
            ("Mon, 24 Nov 2025 16:00:30", None),
            ("Tue, 24 Nov 2025 16:00:30 GMT", None),
            ("Mon, 31 Nov 2025 16:00:30 GMT", None),
            ("Mon, 24 Nov 2025 25:00:30 GMT", None),
            ("mon, 24 nov 2025 16:00:30 gmt", None),
            ("Thu, 01 Jan 1960 00:00:00 GMT", None),
        ],
    );
}

#[test]
fn retry_after_ms_comes_before_retry_after() {
    check_values(
        "retry-after-ms",
        &[
            ("0", Some(0)),
            ("20", Some(20)),
            ("1500.5", Some(1_501)),
            ("-20", Some(0)),
            ("691200001", Some(MAX)),
            ("99999999999999999999999999", Some(MAX)),
            ("+20", None),
            ("20ms", None),
            ("Mon, 24 Nov 2025 16:00:30 GMT", None),
        ],
    );
    check_waits(&[
        (&[("retry-after", "2"), ("retry-after-ms", "1200")], Some(1_200)),
        (&[("retry-after", "2"), ("retry-after-ms", "+1200")], Some(2_000)),
        (&[("retry-after", "2"), ("retry-after-ms", "")], Some(2_000)),
        (&[("retry-after", "0"), ("retry-after-ms", "x")], Some(0)),
    ]);
}

#[test]
fn of_a_header_sent_twice_the_first_that_can_be_read_counts() {
    check_waits(&[
        (&[("retry-after", "soon"), ("retry-after", "5")], Some(5_000)),
        (&[("retry-after", "6"), ("retry-after", "5")], Some(6_000)),
        (&[("x-ratelimit-reset", "?"), ("x-ratelimit-reset", "5")], Some(5_000)),
    ]);
}

#[test]
fn absolute_times_are_read_against_the_responses_date() {
    const TWO_HOURS_AHEAD: (&str, &str) = ("date", "Mon, 24 Nov 2025 18:00:00 GMT");
    const A_YEAR_BEHIND: (&str, &str) = ("date", "Sun, 24 Nov 2024 16:00:00 GMT");
    const RFC_850: (&str, &str) = ("date", "Monday, 24-Nov-25 18:00:00 GMT");
    check_waits(&[
        (&[TWO_HOURS_AHEAD, ("retry-after", "Mon, 24 Nov 2025 18:00:30 GMT")], Some(30 * SECOND)),
        (&[RFC_850, ("retry-after", "Mon, 24 Nov 2025 18:00:30 GMT")], Some(30 * SECOND)),
        (&[TWO_HOURS_AHEAD, ("retry-after", "Mon, 24 Nov 2025 16:00:30 GMT")], Some(0)),
        (&[A_YEAR_BEHIND, ("retry-after", "Sun, 24 Nov 2024 17:00:00 GMT")], Some(HOUR)),
        (&[A_YEAR_BEHIND, ("retry-after", "Mon, 24 Nov 2025 16:00:30 GMT")], Some(MAX)),
        (&[TWO_HOURS_AHEAD, ("retry-after", "30")], Some(30 * SECOND)),
        (&[TWO_HOURS_AHEAD, ("anthropic-ratelimit-unified-reset", "1764007260")], Some(MINUTE)),
        (&[TWO_HOURS_AHEAD, ("anthropic-ratelimit-tokens-reset", "2025-11-24T18:01:00Z")], Some(MINUTE)),
        (&[TWO_HOURS_AHEAD, ("x-ratelimit-reset", "1764007260")], Some(MINUTE)),
        (&[TWO_HOURS_AHEAD, ("x-ratelimit-reset", "60")], Some(MINUTE)),
        (&[TWO_HOURS_AHEAD, ("x-ratelimit-reset-tokens", "1m0s")], Some(MINUTE)),
        (&[TWO_HOURS_AHEAD, ("ratelimit", r#""a";r=0;t=60"#)], Some(MINUTE)),
        (&[("date", "yesterday"), ("retry-after", "Mon, 24 Nov 2025 16:00:30 GMT")], Some(30 * SECOND)),
    ]);
}

#[test]
fn a_date_that_is_the_local_time_leaves_a_stated_time_as_it_is() {
    let headers = headers(&[
        ("date", "Mon, 24 Nov 2025 16:00:00 GMT"),
        ("retry-after", "Mon, 24 Nov 2025 16:00:30 GMT"),
    ]);
    let stated = Timestamp::from_millis(NOW + 30 * SECOND);
    for late in [0, 1, 700, 1_999] {
        let now = Timestamp::from_millis(NOW + late);
        assert_eq!(retry_at(&headers, now), Some(stated), "{late} ms later");
    }
    let ahead = Timestamp::from_millis(NOW + 2_000);
    assert_eq!(retry_at(&headers, ahead), Some(Timestamp::from_millis(NOW + 32 * SECOND)));
    let behind = Timestamp::from_millis(NOW - 1);
    assert_eq!(retry_at(&headers, behind), Some(Timestamp::from_millis(NOW - 1 + 30 * SECOND)));
}

#[test]
fn anthropics_unified_reset_is_epoch_seconds() {
    check_values(
        "anthropic-ratelimit-unified-reset",
        &[
            ("1764000060", Some(MINUTE)),
            ("1764000060.5", Some(MINUTE + 500)),
            ("1764000060000", Some(MINUTE)),
            ("1764432000", Some(5 * DAY)),
            ("1790006400", Some(MAX)),
            ("1763999999", Some(0)),
            ("60", Some(0)),
            ("0", Some(0)),
            ("-1", Some(0)),
            ("2025-11-24T16:01:00Z", Some(MINUTE)),
            ("+1764000060", None),
            ("tomorrow", None),
            ("", None),
        ],
    );
    check_waits(&[
        (
            &[
                ("anthropic-ratelimit-unified-status", "rejected"),
                ("anthropic-ratelimit-unified-reset", "1764003600"),
            ],
            Some(HOUR),
        ),
        // A short throttle of an account whose subscription windows are open.
        (
            &[
                ("anthropic-ratelimit-unified-status", "allowed"),
                ("anthropic-ratelimit-unified-reset", "1764432000"),
            ],
            None,
        ),
        (
            &[
                ("anthropic-ratelimit-unified-status", "allowed_warning"),
                ("anthropic-ratelimit-unified-reset", "1764432000"),
                ("retry-after", "12"),
            ],
            Some(12 * SECOND),
        ),
        (
            &[
                ("anthropic-ratelimit-unified-status", "rejected"),
                ("anthropic-ratelimit-unified-5h-status", "rejected"),
                ("anthropic-ratelimit-unified-5h-reset", "1764007999"),
                ("anthropic-ratelimit-unified-5h-utilization", "1.02"),
                ("anthropic-ratelimit-unified-7d-reset", "1764432000"),
                ("anthropic-ratelimit-unified-reset", "1764007999"),
                ("anthropic-ratelimit-unified-overage-status", "rejected"),
                ("retry-after", "7999"),
            ],
            Some(7_999 * SECOND),
        ),
        (&[("anthropic-ratelimit-unified-5h-reset", "1764003600")], None),
        (&[("anthropic-ratelimit-unified-overage-reset", "1764003600")], None),
    ]);
}

#[test]
fn anthropics_resets_are_rfc_3339() {
    check_values(
        "anthropic-ratelimit-tokens-reset",
        &[
            ("2025-11-24T16:00:30Z", Some(30 * SECOND)),
            ("2025-11-24t16:00:30z", Some(30 * SECOND)),
            ("2025-11-24T16:00:30.5Z", Some(30_500)),
            ("2025-11-24T16:00:30.123456789Z", Some(30_124)),
            ("2025-11-24T16:00:30.000000001Z", Some(30_001)),
            ("2025-11-24T16:00:30.000Z", Some(30_000)),
            ("2025-11-24T17:00:30+01:00", Some(30 * SECOND)),
            ("2025-11-24T08:00:30-08:00", Some(30 * SECOND)),
            ("2025-11-25T00:15:30+08:15", Some(30 * SECOND)),
            ("2025-11-24T16:00:30-00:00", Some(30 * SECOND)),
            ("2025-11-24T16:00:60Z", Some(MINUTE)),
            ("2025-12-01T00:00:00Z", Some(6 * DAY + 8 * HOUR)),
            ("2025-12-02T16:00:00Z", Some(MAX)),
            ("2026-02-28T00:00:00Z", Some(MAX)),
            ("9999-12-31T23:59:59.999999Z", Some(MAX)),
            ("2025-11-24T15:59:59Z", Some(0)),
            ("2024-02-29T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00Z", Some(0)),
            ("1969-12-31T23:59:59Z", Some(0)),
            ("0000-01-01T00:00:00Z", Some(0)),
            ("2025-02-29T00:00:00Z", None),
            ("1900-02-29T00:00:00Z", None),
            ("2025-11-31T00:00:00Z", None),
            ("2025-13-01T00:00:00Z", None),
            ("2025-00-01T00:00:00Z", None),
            ("2025-11-00T00:00:00Z", None),
            ("2025-11-24T24:00:00Z", None),
            ("2025-11-24T16:60:00Z", None),
            ("2025-11-24T16:00:61Z", None),
            ("2025-11-24T16:00:30", None),
            ("2025-11-24T16:00:30.Z", None),
            ("2025-11-24T16:00:30+0100", None),
            ("2025-11-24T16:00:30+01", None),
            ("2025-11-24T16:00:30+24:00", None),
            ("2025-11-24T16:00:30ZZ", None),
            ("2025-11-24 16:00:30Z", None),
            ("2025-11-24T16:00Z", None),
            ("25-11-24T16:00:30Z", None),
            ("+2025-11-24T16:00:30Z", None),
            ("2025-1-24T16:00:30Z", None),
            ("2025-11-24", None),
            ("20251124T160030Z", None),
            ("1764000030", None),
            ("30", None),
            ("30s", None),
        ],
    );
    check_values("anthropic-ratelimit-requests-reset", &[("2025-11-24T16:00:30Z", Some(30_000))]);
    check_values("anthropic-ratelimit-input-tokens-reset", &[("2025-11-24T16:00:30Z", Some(30_000))]);
    check_values("anthropic-ratelimit-output-tokens-reset", &[("2025-11-24T16:00:30Z", Some(30_000))]);
}

#[test]
fn the_latest_reset_of_what_is_used_up_counts() {
    const REQUESTS: (&str, &str) = ("anthropic-ratelimit-requests-reset", "2025-11-24T16:00:10Z");
    const INPUT: (&str, &str) = ("anthropic-ratelimit-input-tokens-reset", "2025-11-24T16:00:20Z");
    const OUTPUT: (&str, &str) = ("anthropic-ratelimit-output-tokens-reset", "2025-11-24T16:00:30Z");
    check_waits(&[
        (&[REQUESTS, INPUT, OUTPUT], Some(30 * SECOND)),
        (
            &[
                REQUESTS,
                INPUT,
                OUTPUT,
                ("anthropic-ratelimit-requests-remaining", "994"),
                ("anthropic-ratelimit-input-tokens-remaining", "0"),
                ("anthropic-ratelimit-output-tokens-remaining", "14000"),
            ],
            Some(20 * SECOND),
        ),
        (
            &[
                REQUESTS,
                INPUT,
                OUTPUT,
                ("anthropic-ratelimit-requests-remaining", "0"),
                ("anthropic-ratelimit-input-tokens-remaining", "0"),
                ("anthropic-ratelimit-output-tokens-remaining", "14000"),
            ],
            Some(20 * SECOND),
        ),
        // Used up and already reset: ready, whatever the others say.
        (
            &[
                ("anthropic-ratelimit-tokens-reset", "2025-11-24T15:00:00Z"),
                ("anthropic-ratelimit-tokens-remaining", "0"),
                OUTPUT,
                ("anthropic-ratelimit-output-tokens-remaining", "14000"),
            ],
            Some(0),
        ),
        // Nothing is used up, so none of these limits is the one that was hit.
        (
            &[
                REQUESTS,
                OUTPUT,
                ("anthropic-ratelimit-requests-remaining", "994"),
                ("anthropic-ratelimit-output-tokens-remaining", "1"),
            ],
            None,
        ),
        // What is used up comes before what doesn't say what remains.
        (&[REQUESTS, OUTPUT, ("anthropic-ratelimit-requests-remaining", "0")], Some(10 * SECOND)),
        // One that doesn't say what remains.
        (&[REQUESTS, OUTPUT, ("anthropic-ratelimit-output-tokens-remaining", "1")], Some(10 * SECOND)),
        (&[OUTPUT, ("anthropic-ratelimit-output-tokens-remaining", "many")], Some(30 * SECOND)),
        // The next family is asked where this one says nothing.
        (
            &[
                REQUESTS,
                ("anthropic-ratelimit-requests-remaining", "994"),
                ("x-ratelimit-reset-requests", "7s"),
            ],
            Some(7 * SECOND),
        ),
        (&[OUTPUT, ("x-ratelimit-reset-requests", "7s")], Some(30 * SECOND)),
        (&[OUTPUT, ("retry-after", "23")], Some(23 * SECOND)),
    ]);
}

#[test]
fn openais_resets_are_durations_of_go() {
    check_values(
        "x-ratelimit-reset-tokens",
        &[
            ("1s", Some(SECOND)),
            ("6m0s", Some(6 * MINUTE)),
            ("20ms", Some(20)),
            ("1h2m3.5s", Some(HOUR + 2 * MINUTE + 3_500)),
            ("1m26.4s", Some(86_400)),
            ("7.66s", Some(7_660)),
            ("0s", Some(0)),
            ("547ms", Some(547)),
            ("547.3ms", Some(548)),
            ("17us", Some(1)),
            ("17µs", Some(1)),
            ("17μs", Some(1)),
            ("1500000ns", Some(2)),
            ("23h59m59.999s", Some(DAY - 1)),
            ("1d12h", Some(36 * HOUR)),
            ("1.5h", Some(90 * MINUTE)),
            ("9999999999999999999h", Some(MAX)),
            ("-1s", Some(0)),
            ("3", Some(3 * SECOND)),
            ("33011.382", Some(33_011_382)),
            ("0", Some(0)),
            ("1764000060", Some(MINUTE)),
            ("2025-11-24T16:01:00Z", Some(MINUTE)),
            ("+1s", None),
            ("s", None),
            ("1", Some(SECOND)),
            ("1m30", None),
            ("1 s", None),
            ("1m 30s", None),
            ("1.s", None),
            (".5s", None),
            ("1y", None),
            ("1S", None),
            ("1s-1s", None),
            ("PT30S", None),
            ("", None),
        ],
    );
    check_values("x-ratelimit-reset-requests", &[("6m0s", Some(6 * MINUTE)), ("8.64s", Some(8_640))]);
    check_values("x-ratelimit-reset-requests-day", &[("33011.382", Some(33_011_382))]);
    check_values("x-ratelimit-reset-tokens-minute", &[("11.382", Some(11_382))]);
}

#[test]
fn of_several_budgets_the_one_that_is_used_up_counts() {
    check_waits(&[
        (
            &[("x-ratelimit-reset-requests", "1s"), ("x-ratelimit-reset-tokens", "6m0s")],
            Some(6 * MINUTE),
        ),
        (
            &[("x-ratelimit-reset-requests", "6m0s"), ("x-ratelimit-reset-tokens", "1s")],
            Some(6 * MINUTE),
        ),
        (
            &[
                ("x-ratelimit-limit-requests", "10000"),
                ("x-ratelimit-limit-tokens", "200000"),
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-remaining-tokens", "199000"),
                ("x-ratelimit-reset-requests", "8.64s"),
                ("x-ratelimit-reset-tokens", "6m0s"),
            ],
            Some(8_640),
        ),
        (
            &[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-requests", "8.64s"),
                ("x-ratelimit-reset-tokens", "6m0s"),
            ],
            Some(6 * MINUTE),
        ),
        (
            &[
                ("x-ratelimit-remaining-requests", "9999"),
                ("x-ratelimit-remaining-tokens", "3000"),
                ("x-ratelimit-reset-requests", "8.64s"),
                ("x-ratelimit-reset-tokens", "2s"),
            ],
            None,
        ),
        // Cerebras: the minute is spent, the day isn't.
        (
            &[
                ("x-ratelimit-limit-requests-day", "14400"),
                ("x-ratelimit-limit-tokens-minute", "60000"),
                ("x-ratelimit-remaining-requests-day", "14370"),
                ("x-ratelimit-remaining-tokens-minute", "0"),
                ("x-ratelimit-reset-requests-day", "33011.382"),
                ("x-ratelimit-reset-tokens-minute", "11.382"),
            ],
            Some(11_382),
        ),
        // A limit of 0 was never granted.
        (
            &[
                ("x-ratelimit-limit-tokens", "0"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "24h0m0s"),
            ],
            None,
        ),
    ]);
}

#[test]
fn x_ratelimit_reset_is_epoch_seconds_or_a_small_number_of_seconds() {
    check_values(
        "x-ratelimit-reset",
        &[
            ("1764000060", Some(MINUTE)),
            ("1764000060.25", Some(MINUTE + 250)),
            ("1763999999", Some(0)),
            ("1000000000", Some(0)),
            ("1764000060000", Some(MINUTE)),
            ("0", Some(0)),
            ("60", Some(MINUTE)),
            ("59.5", Some(59_500)),
            ("242", Some(242 * SECOND)),
            ("86400", Some(DAY)),
            ("999999999", Some(MAX)),
            ("4102444800", Some(MAX)),
            ("99999999999999999999999", Some(MAX)),
            ("-5", Some(0)),
            ("20ms", Some(20)),
            ("2025-11-24T16:01:00Z", Some(MINUTE)),
            ("Mon, 24 Nov 2025 16:01:00 GMT", Some(MINUTE)),
            ("+60", None),
            ("never", None),
        ],
    );
    check_waits(&[
        // GitHub's primary limit, and its secondary one, which is not about this reset.
        (
            &[
                ("x-ratelimit-limit", "5000"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "1764001800"),
                ("x-ratelimit-used", "5000"),
                ("x-ratelimit-resource", "core"),
            ],
            Some(30 * MINUTE),
        ),
        (
            &[
                ("x-ratelimit-limit", "5000"),
                ("x-ratelimit-remaining", "4999"),
                ("x-ratelimit-reset", "1764001800"),
            ],
            None,
        ),
        (&[("x-ratelimit-remaining", "0.0"), ("x-ratelimit-reset", "242")], Some(242 * SECOND)),
        (&[("x-ratelimit-remaining", "-1"), ("x-ratelimit-reset", "242")], Some(242 * SECOND)),
        (&[("x-ratelimit-reset-requests", "7s"), ("x-ratelimit-reset", "60")], Some(7 * SECOND)),
        (&[("x-ratelimit-reset-requests", "?"), ("x-ratelimit-reset", "60")], Some(MINUTE)),
    ]);
}

#[test]
fn the_ietf_drafts_fields_are_read() {
    check_values(
        "ratelimit",
        &[
            (r#""burst";r=0;t=30"#, Some(30 * SECOND)),
            (r#""burst";t=30;r=0"#, Some(30 * SECOND)),
            (r#""burst"; r=0; t=30"#, Some(30 * SECOND)),
            (r#""burst";r=0;t=0"#, Some(0)),
            (r#""burst";t=30"#, Some(30 * SECOND)),
            (r#""default";r=50;t=30"#, None),
            (r#""burst";r=0"#, None),
            (r#""burst""#, None),
            (r#""burst";r=50;t=30, "day";r=0;t=3600"#, Some(HOUR)),
            (r#""burst";r=0;t=30,"day";r=0;t=3600"#, Some(HOUR)),
            (r#""burst";r=0;t=30 ,	"day";r=5;t=3600"#, Some(30 * SECOND)),
            (r#""a,b;\"c\"";r=0;t=30"#, Some(30 * SECOND)),
            (r#""burst";r=0;t=30;pk=:dHJpYWwxMjEzMjM=:"#, Some(30 * SECOND)),
            (r#""burst";pk=:dHJp;t=9=:;r=0;t=30"#, Some(30 * SECOND)),
            (r#""burst";comment="r=9;t=1";r=0;t=30;x=?1;y=tok/en;z"#, Some(30 * SECOND)),
            (r#""burst";r=5;r=0;t=1;t=30"#, Some(30 * SECOND)),
            ("burst;r=0;t=30", Some(30 * SECOND)),
            (r#""burst";r=0;t=9999999999"#, Some(MAX)),
            (r#""burst";r=0;t=-30"#, None),
            (r#""burst";r=0;t=soon"#, None),
            // A list that ends badly is ignored as a whole.
            (r#""burst";r=0;t=30,"#, None),
            (r#""burst";r=0;t=30, "day"#, None),
            (r#""burst";r=0;t=30 "day";r=0;t=3600"#, None),
            (r#""burst";r=0;t="#, None),
            (r#""burst";R=0;T=30"#, None),
            (r#""burst\"#, None),
            (r#"("burst");r=0;t=30"#, None),
            ("30", None),
            ("", None),
            (";;;", None),
            ("limit=100, remaining=0, reset=30", Some(30 * SECOND)),
            ("limit=100,remaining=0,reset=30", Some(30 * SECOND)),
            ("limit=100, remaining=50, reset=30", None),
            ("limit=100, reset=30", Some(30 * SECOND)),
            ("limit=100, remaining=0, reset=x", None),
        ],
    );
    check_values(
        "ratelimit-reset",
        &[("30", Some(30 * SECOND)), ("1764000060", Some(MINUTE)), ("x", None)],
    );
    check_waits(&[
        (&[("ratelimit", r#""burst";r=0;t=30"#), ("ratelimit", r#""day";r=0;t=3600"#)], Some(HOUR)),
        (&[("ratelimit", r#""burst"#), ("ratelimit", r#""day";r=0;t=3600"#)], Some(HOUR)),
        (
            &[
                ("ratelimit-limit", "100, 100;w=60"),
                ("ratelimit-remaining", "0"),
                ("ratelimit-reset", "30"),
            ],
            Some(30 * SECOND),
        ),
        (&[("ratelimit-remaining", "7"), ("ratelimit-reset", "30")], None),
        (&[("x-ratelimit-reset", "5"), ("ratelimit", r#""burst";r=0;t=30"#)], Some(5 * SECOND)),
        (&[("ratelimit", r#""burst";r=0;t=30"#), ("ratelimit-reset", "5")], Some(30 * SECOND)),
        (&[("ratelimit-policy", r#""burst";q=100;w=60"#)], None),
    ]);
}

#[test]
fn what_is_unknown_is_ignored() {
    assert_eq!(retry_at(&HeaderMap::new(), now()), None);
    assert_eq!(allowance(&HeaderMap::new(), now()), None);
    let unknown: Lines<'_> = &[
        ("content-type", "application/json"),
        ("x-request-id", "req_011CSHoEeqs5C35K2UUqR7Fy"),
        ("date", "Mon, 24 Nov 2025 16:00:00 GMT"),
        ("anthropic-ratelimit-unified-representative-claim", "five_hour"),
        ("anthropic-ratelimit-unified-fallback-percentage", "0.5"),
        ("anthropic-ratelimit-unified-overage-utilization", "1.0"),
        ("anthropic-ratelimit-unified-7d_opus-utilization", "1.0"),
        ("anthropic-ratelimit-unified-7d_opus-reset", "1764003600"),
        ("anthropic-ratelimit-priority-input-tokens-remaining", "0"),
        ("anthropic-ratelimit-priority-input-tokens-reset", "2025-11-24T17:00:00Z"),
        ("anthropic-ratelimit-tokens", "0"),
        ("anthropic-ratelimit-", "0"),
        ("x-ratelimit-remaining-images", "0"),
        ("x-ratelimit-reset-images", "1h0m0s"),
        ("x-ratelimit-", "0"),
        ("x-ratelimit-resetting", "5"),
        ("x-ratelimit-bucket", "abcd"),
        ("ratelimits", "5"),
        ("ratelimit-policy", r#""burst";q=100;w=60"#),
        ("rate-limit-reset", "5"),
        ("retry-after-seconds", "5"),
    ];
    assert_eq!(wait(unknown), None);
    assert_eq!(allowance(&headers(unknown), now()), None);
}

#[test]
fn bytes_that_are_no_text_are_ignored() {
    for name in ["retry-after", "retry-after-ms", "x-ratelimit-reset", "ratelimit", "date"] {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(b"\xff\xfe30").unwrap());
        assert_eq!(retry_at(&headers, now()), None, "{name}");
        assert_eq!(allowance(&headers, now()), None, "{name}");
    }
}

/// Headroom, and the milliseconds until the soonest reset and the last of what is used up.
type Left = (Option<u16>, Option<u64>, Option<u64>);

fn left(lines: Lines<'_>) -> Option<Left> {
    let ahead = |at: Timestamp| at.as_millis() - NOW;
    let Allowance { headroom, resets_at, used_up_until, .. } = allowance(&headers(lines), now())?;
    Some((headroom, resets_at.map(ahead), used_up_until.map(ahead)))
}

#[test]
fn the_limits_of_a_good_response_are_summed_up() {
    let rows: &[(Lines<'_>, Option<Left>)] = &[
        (
            &[
                ("x-ratelimit-limit-requests", "10000"),
                ("x-ratelimit-limit-tokens", "200000"),
                ("x-ratelimit-remaining-requests", "9999"),
                ("x-ratelimit-remaining-tokens", "199000"),
                ("x-ratelimit-reset-requests", "8.64s"),
                ("x-ratelimit-reset-tokens", "300ms"),
            ],
            Some((Some(995), Some(300), None)),
        ),
        (
            &[
                ("x-ratelimit-limit-requests", "60"),
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "1s"),
                ("x-ratelimit-limit-tokens", "150000"),
                ("x-ratelimit-remaining-tokens", "149984"),
                ("x-ratelimit-reset-tokens", "6m0s"),
            ],
            Some((Some(0), Some(SECOND), Some(SECOND))),
        ),
        (
            &[
                ("anthropic-ratelimit-requests-limit", "4000"),
                ("anthropic-ratelimit-requests-remaining", "3999"),
                ("anthropic-ratelimit-requests-reset", "2025-11-24T16:00:00Z"),
                ("anthropic-ratelimit-tokens-limit", "2400000"),
                ("anthropic-ratelimit-tokens-remaining", "600000"),
                ("anthropic-ratelimit-tokens-reset", "2025-11-24T16:00:45Z"),
                ("anthropic-ratelimit-input-tokens-limit", "2000000"),
                ("anthropic-ratelimit-input-tokens-remaining", "2000000"),
                ("anthropic-ratelimit-input-tokens-reset", "2025-11-24T16:00:00Z"),
                ("anthropic-ratelimit-output-tokens-limit", "400000"),
                ("anthropic-ratelimit-output-tokens-remaining", "399000"),
                ("anthropic-ratelimit-output-tokens-reset", "2025-11-24T16:00:01Z"),
            ],
            Some((Some(250), Some(SECOND), None)),
        ),
        // The last of those that are used up.
        (
            &[
                ("anthropic-ratelimit-requests-limit", "50"),
                ("anthropic-ratelimit-requests-remaining", "0"),
                ("anthropic-ratelimit-requests-reset", "2025-11-24T16:00:10Z"),
                ("anthropic-ratelimit-tokens-limit", "50000"),
                ("anthropic-ratelimit-tokens-remaining", "0"),
                ("anthropic-ratelimit-tokens-reset", "2025-11-24T16:00:45Z"),
            ],
            Some((Some(0), Some(10 * SECOND), Some(45 * SECOND))),
        ),
        // Used up, but reset since.
        (
            &[
                ("anthropic-ratelimit-requests-remaining", "0"),
                ("anthropic-ratelimit-requests-limit", "50"),
                ("anthropic-ratelimit-requests-reset", "2025-11-24T15:59:59Z"),
            ],
            Some((Some(0), None, None)),
        ),
        (
            &[
                ("anthropic-ratelimit-unified-status", "allowed"),
                ("anthropic-ratelimit-unified-5h-status", "allowed"),
                ("anthropic-ratelimit-unified-5h-reset", "1764003600"),
                ("anthropic-ratelimit-unified-5h-utilization", "0.42"),
                ("anthropic-ratelimit-unified-7d-status", "allowed"),
                ("anthropic-ratelimit-unified-7d-reset", "1764432000"),
                ("anthropic-ratelimit-unified-7d-utilization", "0.737"),
                ("anthropic-ratelimit-unified-representative-claim", "five_hour"),
                ("anthropic-ratelimit-unified-reset", "1764003600"),
                ("anthropic-ratelimit-unified-overage-utilization", "0.9"),
            ],
            Some((Some(263), Some(HOUR), None)),
        ),
        // A full window of a subscription that goes on as paid overage.
        (
            &[
                ("anthropic-ratelimit-unified-5h-utilization", "1.02"),
                ("anthropic-ratelimit-unified-5h-reset", "1764003600"),
            ],
            Some((Some(0), Some(HOUR), None)),
        ),
        (&[("anthropic-ratelimit-unified-5h-utilization", "0.0")], Some((Some(1_000), None, None))),
        (&[("anthropic-ratelimit-unified-5h-utilization", "0.9999")], Some((Some(1), None, None))),
        (&[("anthropic-ratelimit-unified-5h-utilization", "a lot")], None),
        // GitHub.
        (
            &[
                ("x-ratelimit-limit", "5000"),
                ("x-ratelimit-remaining", "4987"),
                ("x-ratelimit-reset", "1764001800"),
                ("x-ratelimit-used", "13"),
                ("x-ratelimit-resource", "core"),
            ],
            Some((Some(998), Some(30 * MINUTE), None)),
        ),
        (
            &[
                ("x-ratelimit-limit", "5000"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "1764001800"),
            ],
            Some((Some(0), Some(30 * MINUTE), Some(30 * MINUTE))),
        ),
        // Reddit, Discord.
        (
            &[
                ("x-ratelimit-used", "2"),
                ("x-ratelimit-remaining", "98.0"),
                ("x-ratelimit-reset", "242"),
            ],
            Some((None, Some(242 * SECOND), None)),
        ),
        (
            &[
                ("x-ratelimit-limit", "5"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "1764000001.123"),
            ],
            Some((Some(0), Some(1_123), Some(1_123))),
        ),
        // Cerebras.
        (
            &[
                ("x-ratelimit-limit-requests-day", "14400"),
                ("x-ratelimit-limit-tokens-minute", "60000"),
                ("x-ratelimit-remaining-requests-day", "14370"),
                ("x-ratelimit-remaining-tokens-minute", "15000"),
                ("x-ratelimit-reset-requests-day", "33011.382"),
                ("x-ratelimit-reset-tokens-minute", "11.382"),
            ],
            Some((Some(250), Some(11_382), None)),
        ),
        // The drafts.
        (
            &[
                ("ratelimit-policy", r#""default";q=100;w=60, "daily";q=1000;w=86400"#),
                ("ratelimit", r#""default";r=50;t=30, "daily";r=100;t=3600"#),
            ],
            Some((Some(100), Some(30 * SECOND), None)),
        ),
        (
            &[
                ("ratelimit-policy", r#""default";q=100;w=60"#),
                ("ratelimit-policy", r#""daily";q=1000;w=86400"#),
                ("ratelimit", r#""daily";r=0;t=3600"#),
            ],
            Some((Some(0), Some(HOUR), Some(HOUR))),
        ),
        (&[("ratelimit", r#""default";r=50;t=30"#)], Some((None, Some(30 * SECOND), None))),
        (&[("ratelimit-policy", r#""other";q=100;w=60"#), ("ratelimit", r#""default";r=50"#)], None),
        (&[("ratelimit", "limit=100, remaining=25, reset=5")], Some((Some(250), Some(5_000), None))),
        (
            &[
                ("ratelimit-limit", "100, 100;w=60"),
                ("ratelimit-remaining", "25"),
                ("ratelimit-reset", "5"),
            ],
            Some((Some(250), Some(5_000), None)),
        ),
        // Neither rounds down to nothing, nor goes beyond everything.
        (
            &[("x-ratelimit-limit", "1000000"), ("x-ratelimit-remaining", "1")],
            Some((Some(1), None, None)),
        ),
        (
            &[("x-ratelimit-limit", "10"), ("x-ratelimit-remaining", "11")],
            Some((Some(1_000), None, None)),
        ),
        (
            &[("x-ratelimit-limit", "99999999999999999999"), ("x-ratelimit-remaining", "0")],
            Some((Some(0), None, None)),
        ),
        // Not granted, not limited, not said.
        (
            &[
                ("x-ratelimit-limit-tokens", "0"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "24h0m0s"),
            ],
            None,
        ),
        (&[("x-ratelimit-limit", "-1"), ("x-ratelimit-remaining", "-1")], None),
        (&[("x-ratelimit-limit", "10")], None),
        (&[("x-ratelimit-remaining", "10")], None),
        // Ahead, but not believed so far.
        (
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "4102444800")],
            Some((None, Some(MAX), Some(MAX))),
        ),
        // The local clock is wrong.
        (
            &[
                ("date", "Mon, 24 Nov 2025 18:00:00 GMT"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "1764007260"),
            ],
            Some((None, Some(MINUTE), Some(MINUTE))),
        ),
        // Not for good responses.
        (&[("retry-after", "30"), ("retry-after-ms", "30000")], None),
    ];
    let wrong: Vec<_> = rows
        .iter()
        .filter(|(lines, expected)| left(lines) != *expected)
        .map(|(lines, expected)| format!("{lines:?}: {:?}, expected {expected:?}", left(lines)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_long_list_of_policies_costs_no_square() {
    let list = |param: &str| vec![format!(r#""p";{param}"#); 20_000].join(",");
    let mut headers = HeaderMap::new();
    headers.insert("ratelimit", HeaderValue::from_str(&list("r=1;t=5")).unwrap());
    headers.insert("ratelimit-policy", HeaderValue::from_str(&list("q=4;w=5")).unwrap());
    let started = std::time::Instant::now();
    assert_eq!(allowance(&headers, now()).unwrap().headroom, Some(250));
    assert!(started.elapsed().as_secs() < 5);
}

#[test]
fn times_saturate() {
    let headers = headers(&[("retry-after", "30"), ("x-ratelimit-reset", "30")]);
    let end = Timestamp::from_millis(u64::MAX);
    assert_eq!(retry_at(&headers, end), Some(end));
    assert_eq!(allowance(&headers, end).unwrap().resets_at, Some(end));
}

const NAMES: [&str; 24] = [
    "retry-after",
    "retry-after-ms",
    "date",
    "anthropic-ratelimit-unified-reset",
    "anthropic-ratelimit-unified-status",
    "anthropic-ratelimit-unified-5h-reset",
    "anthropic-ratelimit-unified-7d-utilization",
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-input-tokens-reset",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
    "x-ratelimit-reset-requests-day",
    "ratelimit",
    "ratelimit-policy",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "content-type",
];

/// Arbitrary bytes, and texts that come close to what is read.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let texts = prop_oneof![
        "[0-9]{1,25}",
        "-?[0-9]{1,12}(\\.[0-9]{0,9})?",
        "-?([0-9]{1,20}(\\.[0-9]{1,9})?(ns|us|ms|s|m|h|d)){1,5}",
        "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,12})?(Z|[+-][0-2][0-9]:[0-6][0-9])",
        "(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3][0-9] (Jan|Feb|Jun|Nov|Dec) [0-9]{4} [0-2][0-9]:[0-6][0-9]:[0-6][0-9] GMT",
        "(Monday|Tuesday|Wednesday|Sunday), [0-3][0-9]-(Jan|Feb|Dec)-[0-9]{2} [0-2][0-9]:[0-6][0-9]:[0-6][0-9] GMT",
        "(Mon|Tue|Wed|Sun) (Jan|Feb|Dec) [ 0-3][0-9] [0-2][0-9]:[0-6][0-9]:[0-6][0-9] [0-9]{4}",
        "(\"[ab\\\\]{0,2}\"(;[rtqx]=?-?[0-9a:\"]{0,9}){0,4},? ?){1,4}",
        "((limit|remaining|reset)=[0-9]{0,4},? ?){1,4}",
    ];
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![4 => texts.prop_map(String::into_bytes), 1 => bytes]
}

fn header_maps() -> impl Strategy<Value = HeaderMap> {
    let line = (prop::sample::select(&NAMES[..]), values());
    prop::collection::vec(line, 0..12).prop_map(|lines| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(name, value);
            }
        }
        headers
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_096, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_time_is_past_or_beyond_the_maximum(
        headers in header_maps(),
        now in prop_oneof![Just(NOW), Just(0), Just(u64::MAX), any::<u64>()],
    ) {
        let now = Timestamp::from_millis(now);
        let latest = now.after(MAX_STATED);
        if let Some(at) = retry_at(&headers, now) {
            prop_assert!(now <= at && at <= latest, "{at:?}");
        }
        if let Some(allowance) = allowance(&headers, now) {
            prop_assert!(allowance != Allowance::default());
            prop_assert!(allowance.headroom.is_none_or(|permille| permille <= 1_000));
            for at in [allowance.resets_at, allowance.used_up_until].into_iter().flatten() {
                prop_assert!(now <= at && at <= latest, "{at:?}");
            }
        }
    }

    #[test]
    fn a_relative_time_does_not_depend_on_the_date(
        seconds in 0_u64..700_000,
        date in values(),
        name in prop::sample::select(&["retry-after", "x-ratelimit-reset", "ratelimit-reset"][..]),
    ) {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from(seconds));
        if let Ok(date) = HeaderValue::from_bytes(&date) {
            headers.insert("date", date);
        }
        let expected = NOW + (seconds * SECOND).min(MAX);
        prop_assert_eq!(retry_at(&headers, now()), Some(Timestamp::from_millis(expected)));
    }

    #[test]
    fn an_rfc_3339_time_is_the_same_as_the_http_date(second in 0_u64..253_402_300_799) {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(second);
        let date = httpdate::fmt_http_date(time);
        let month = 1 + ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
            .iter()
            .position(|month| *month == &date[8..11])
            .unwrap();
        let rfc3339 = format!("{}-{month:02}-{}T{}Z", &date[12..16], &date[5..7], &date[17..25]);
        // Read a second before, so that the result shows the very time.
        let now = Timestamp::from_millis((second * 1_000).saturating_sub(1_000));
        for (name, value) in [("retry-after", &date), ("anthropic-ratelimit-tokens-reset", &rfc3339)] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            prop_assert_eq!(retry_at(&headers, now), Some(Timestamp::from_millis(second * 1_000)));
        }
    }
}

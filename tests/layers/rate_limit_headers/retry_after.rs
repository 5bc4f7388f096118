//! `retry-after`, `retry-after-ms`, and the `date` that absolute times are read against.

use tower_credentials::Timestamp;
use tower_credentials::rate_limit::retry_at;

use super::*;

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
fn a_retry_after_too_large_for_a_wait_is_a_time_since_the_epoch() {
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
fn of_a_repeated_header_the_first_readable_value_counts() {
    check_waits(&[
        (&[("retry-after", "soon"), ("retry-after", "5")], Some(5_000)),
        (&[("retry-after", "6"), ("retry-after", "5")], Some(6_000)),
        (&[("x-ratelimit-reset", "?"), ("x-ratelimit-reset", "5")], Some(5_000)),
    ]);
}

#[test]
fn absolute_times_are_relative_to_the_responses_date() {
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
fn a_date_equal_to_the_local_time_leaves_a_stated_time_unchanged() {
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

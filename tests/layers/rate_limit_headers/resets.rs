//! The reset headers of vendors and of the IETF's drafts.

use super::*;

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
        // A used-up limit comes before one that does not say what remains.
        (&[REQUESTS, OUTPUT, ("anthropic-ratelimit-requests-remaining", "0")], Some(10 * SECOND)),
        // A limit that does not say what remains.
        (&[REQUESTS, OUTPUT, ("anthropic-ratelimit-output-tokens-remaining", "1")], Some(10 * SECOND)),
        (&[OUTPUT, ("anthropic-ratelimit-output-tokens-remaining", "many")], Some(30 * SECOND)),
        // The next family of headers counts if this one says nothing.
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
fn openais_resets_are_go_durations() {
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
            // A list with a malformed end is ignored as a whole.
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

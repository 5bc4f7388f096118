//! How much of its limits an account has left, by its response.

use http::{HeaderMap, HeaderValue};
use tower_credentials::Timestamp;
use tower_credentials::rate_limit::{Allowance, allowance};

use super::*;

/// The headroom, and the milliseconds until the soonest reset and until the last reset of a used-up limit.
type Left = (Option<u16>, Option<u64>, Option<u64>);

fn left(lines: Lines<'_>) -> Option<Left> {
    let ahead = |at: Timestamp| at.as_millis() - NOW;
    let Allowance { headroom, resets_at, used_up_until, .. } = allowance(&headers(lines), now())?;
    Some((headroom, resets_at.map(ahead), used_up_until.map(ahead)))
}

#[test]
fn the_allowance_sums_up_the_limits_of_a_good_response() {
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
        // The last reset of those that are used up.
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
        // A full window of a subscription that continues as paid overage.
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
        // Does not round down to zero, and does not exceed the whole.
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
        // Not granted, not limited, not stated.
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
        // So far ahead that it is capped.
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
        // `retry-after` means nothing on a good response.
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
fn a_long_list_of_policies_takes_linear_time() {
    let list = |param: &str| vec![format!(r#""p";{param}"#); 20_000].join(",");
    let mut headers = HeaderMap::new();
    headers.insert("ratelimit", HeaderValue::from_str(&list("r=1;t=5")).unwrap());
    headers.insert("ratelimit-policy", HeaderValue::from_str(&list("q=4;w=5")).unwrap());
    let started = std::time::Instant::now();
    assert_eq!(allowance(&headers, now()).unwrap().headroom, Some(250));
    assert!(started.elapsed().as_secs() < 5);
}

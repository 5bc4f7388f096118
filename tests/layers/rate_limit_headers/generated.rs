//! Unknown headers, and generated ones with arbitrary and nearly right values.

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use tower_credentials::Timestamp;
use tower_credentials::rate_limit::{Allowance, MAX_STATED, allowance, retry_at};

use super::*;

#[test]
fn unknown_headers_are_ignored() {
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
fn values_that_are_not_text_are_ignored() {
    for name in ["retry-after", "retry-after-ms", "x-ratelimit-reset", "ratelimit", "date"] {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(b"\xff\xfe30").unwrap());
        assert_eq!(retry_at(&headers, now()), None, "{name}");
        assert_eq!(allowance(&headers, now()), None, "{name}");
    }
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

/// Arbitrary bytes, and texts that are nearly valid.
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
        // Read one second earlier, so that the result is the exact time.
        let now = Timestamp::from_millis((second * 1_000).saturating_sub(1_000));
        for (name, value) in [("retry-after", &date), ("anthropic-ratelimit-tokens-reset", &rfc3339)] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            prop_assert_eq!(retry_at(&headers, now), Some(Timestamp::from_millis(second * 1_000)));
        }
    }
}

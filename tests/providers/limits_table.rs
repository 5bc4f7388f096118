//! What vendors' responses say about an account and about when to use it again: a table of cases, and what must hold
//! for any body.

#![cfg(feature = "providers")]

use http::{HeaderMap, HeaderName, StatusCode};
use proptest::prelude::*;
use tower_credentials::Timestamp;
use tower_credentials::provider::{
    Anthropic, Assessment, Copilot, Cursor, Google, OpenAi, Provider, Qwen, ResponseView, Verdict,
};
use tower_credentials::rate_limit::MAX_STATED;

/// Mon, 24 Nov 2025 16:00:00 GMT.
const NOW: u64 = 1_764_000_000_000;

const TABLE: &str = include_str!("limits_table.tsv");

fn vendors() -> [Box<dyn Provider>; 6] {
    [
        Box::new(Anthropic::new()),
        Box::new(OpenAi::new()),
        Box::new(Google::new()),
        Box::new(Copilot::new()),
        Box::new(Qwen::new()),
        Box::new(Cursor::new()),
    ]
}

fn read(vendor: &dyn Provider, status: u16, headers: &HeaderMap, body: &[u8]) -> Assessment {
    let status = StatusCode::from_u16(status).unwrap();
    // The part of it that a layer would read.
    let body = &body[..body.len().min(vendor.body_prefix(status))];
    vendor.read(&ResponseView::new(status, headers, Timestamp::from_millis(NOW)).body(body))
}

/// Returns an assessment in the table's words, except for the text of a reason.
fn told(finding: &Assessment) -> (Option<u64>, String) {
    let wait = finding.retry_at.map(|moment| moment.as_millis() - NOW);
    let verdict = match &finding.verdict {
        None => "-".to_owned(),
        Some(Verdict::InsufficientScope) => "scope".to_owned(),
        Some(Verdict::Stopped { reason }) => format!("stopped {reason}"),
        Some(Verdict::Limited) => "limited".to_owned(),
        Some(Verdict::NotTheAccount) => "foreign".to_owned(),
        Some(Verdict::ThisRequest) => "request".to_owned(),
        Some(Verdict::Dead { reason }) => format!("dead {reason}"),
        Some(Verdict::Spent { reason, until: None }) => format!("spent {reason}"),
        Some(other) => panic!("{other:?}"),
    };
    (wait, verdict)
}

fn check(line: &str) -> Result<(), String> {
    let [vendor, status, headers, body, wait, verdict] = line.split('\t').collect::<Vec<_>>()[..] else {
        return Err("not six fields".to_owned());
    };
    let vendors = vendors();
    let vendor = vendors.iter().find(|known| known.name() == vendor).ok_or("no such vendor")?;
    let mut map = HeaderMap::new();
    for header in headers.split(" & ").filter(|header| *header != "-") {
        let (name, value) = header.split_once(": ").unwrap_or((header.trim_end_matches(':'), ""));
        map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let body = if body == "-" { "" } else { body };
    let expected = (wait != "-").then(|| wait.parse().unwrap());
    let (actual, said) = told(&read(&**vendor, status.parse().unwrap(), &map, body.as_bytes()));
    if actual != expected {
        return Err(format!("waits {actual:?}, not {expected:?}"));
    }
    let is_right = match verdict.split_once(' ') {
        Some((kind, word)) => {
            said.split_once(' ').is_some_and(|(said, why)| said == kind && why.contains(word))
        }
        None => said == verdict,
    };
    if is_right { Ok(()) } else { Err(format!("says {said}, not {verdict}")) }
}

#[test]
fn every_response_of_the_table_has_the_expected_assessment() {
    let cases: Vec<_> = TABLE.lines().filter(|line| !line.starts_with('#')).collect();
    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|line| check(line).err().map(|error| format!("{error}: {line}")))
        .collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), cases.len());
    assert_eq!(cases.len(), COUNT);
}

const COUNT: usize = 551;

#[test]
fn a_verdict_quotes_no_words_of_a_body() {
    let headers = HeaderMap::new();
    let body = r#"{"error":{"message":"planted sk-1","type":"permission_error","code":"token_invalidated",
        "details":[{"reason":"TOS_VIOLATION","metadata":{"x":"planted"}}]},"message":"planted"}"#;
    let mut verdicts = 0;
    for vendor in vendors() {
        let finding = read(&*vendor, 403, &headers, body.as_bytes());
        verdicts += usize::from(finding.verdict.is_some());
        assert!(!format!("{finding:?}").contains("planted"), "{finding:?}");
    }
    assert_eq!(verdicts, 2);
}

#[test]
fn bodies_are_read_only_if_a_rule_needs_them() {
    let asks = |vendor: &dyn Provider| {
        let statuses = [200, 204, 301, 400, 401, 402, 403, 404, 408, 429, 500, 502, 503, 529];
        let wants = |status: &u16| vendor.body_prefix(StatusCode::from_u16(*status).unwrap()) > 0;
        statuses.into_iter().filter(wants).collect::<Vec<_>>()
    };
    const FIVE: &[u16] = &[400, 401, 402, 403, 429];
    let expected: [&[u16]; 6] = [FIVE, FIVE, &[400, 401, 403, 429], FIVE, &[400, 401, 403, 429], &[]];
    for (vendor, expected) in vendors().iter().zip(expected) {
        assert_eq!(asks(&**vendor), expected, "{}", vendor.name());
        assert!(vendor.body_prefix(StatusCode::UNAUTHORIZED) <= 64 * 1024);
    }
}

#[test]
fn fields_beyond_the_prefix_are_not_needed() {
    let headers = HeaderMap::new();
    let long = "x".repeat(20_000);
    let after = format!(r#"{{"error":{{"code":"token_invalidated","message":"{long}"}}}}"#);
    let before = format!(r#"{{"error":{{"message":"{long}","code":"token_invalidated"}}}}"#);
    assert!(read(&OpenAi::new(), 401, &headers, after.as_bytes()).verdict.is_some());
    assert!(read(&OpenAi::new(), 401, &headers, before.as_bytes()).verdict.is_none());
}

#[test]
fn bodies_that_are_not_text_are_read_as_far_as_they_are_text() {
    let headers = HeaderMap::new();
    for body in
        [&b"\xff\xfe\x00"[..], b"\x1f\x8b\x08\x00", b"{\"error\":{\"code\":\"\xff\"}}", b"\0\0\0\0"]
    {
        for vendor in vendors() {
            let finding = read(&*vendor, 401, &headers, body);
            assert_eq!(told(&finding), (None, "-".to_owned()), "{body:?}");
        }
    }
    let cut = b"{\"error\":{\"code\":\"token_invalidated\",\"message\":\"\xc3";
    assert!(read(&OpenAi::new(), 401, &headers, cut).verdict.is_some());
}

/// Any JSON that has meaningful field names among its keys.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let key = prop_oneof![
        Just("error".to_owned()),
        Just("details".to_owned()),
        Just("code".to_owned()),
        Just("retryDelay".to_owned()),
        Just("resets_at".to_owned()),
        Just("resets_in_seconds".to_owned()),
        "[a-z]{0,3}",
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "[0-9.]{0,6}s?".prop_map(Into::into),
        ".{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::hash_map(key.clone(), inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn statuses() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![400, 401, 402, 403, 429, 500])
}

proptest! {
    #[test]
    fn no_body_makes_a_panic_or_a_time_out_of_bounds(
        body in prop::collection::vec(any::<u8>(), 0..300),
        status in statuses(),
    ) {
        for vendor in vendors() {
            let finding = read(&*vendor, status, &HeaderMap::new(), &body);
            let most = Timestamp::from_millis(NOW).after(MAX_STATED);
            prop_assert!(finding.retry_at.is_none_or(|at| at.as_millis() >= NOW && at <= most));
        }
    }

    #[test]
    fn no_challenge_makes_a_panic(challenge in "[ -~]{0,40}") {
        let mut headers = HeaderMap::new();
        headers.insert("www-authenticate", challenge.parse().unwrap());
        let finding = read(&Cursor::new(), 403, &headers, b"");
        prop_assert!(finding.verdict.is_none() || challenge.contains("insufficient_scope"));
    }

    #[test]
    fn truncated_json_has_the_fields_of_the_whole_or_none(
        value in json(),
        status in statuses(),
        cut in any::<prop::sample::Index>(),
    ) {
        let text = value.to_string();
        let beginning = &text.as_bytes()[..cut.index(text.len() + 1)];
        for vendor in [&OpenAi::new() as &dyn Provider, &Qwen::new(), &Copilot::new(), &Anthropic::new()] {
            let whole = read(vendor, status, &HeaderMap::new(), text.as_bytes());
            let part = read(vendor, status, &HeaderMap::new(), beginning);
            // A later field may be missed, but a truncated one is never mistaken for another.
            prop_assert!(part.verdict.is_none() || part.verdict == whole.verdict);
            prop_assert!(part.retry_at.is_none() || whole.retry_at.is_some());
        }
    }

    #[test]
    fn the_wait_is_exact_to_the_millisecond(
        seconds in 0_u32..691_200,
        thousandths in 0_u32..1000,
    ) {
        let headers = HeaderMap::new();
        let wait = u64::from(seconds) * 1000 + u64::from(thousandths);
        let body = format!(r#"{{"error":{{"details":[{{"retryDelay":"{seconds}.{thousandths:03}s"}}]}}}}"#);
        prop_assert_eq!(told(&read(&Google::new(), 429, &headers, body.as_bytes())).0, Some(wait));
        let body = format!(r#"{{"error":{{"resets_in_seconds":{seconds}}}}}"#);
        let wait = u64::from(seconds) * 1000;
        prop_assert_eq!(told(&read(&OpenAi::new(), 429, &headers, body.as_bytes())).0, Some(wait));
    }
}

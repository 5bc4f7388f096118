//! What is left of each account's limits is kept as the vendor has said it, and never guessed.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tower_credentials::rate_limit::{Window, windows};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{CredentialsLayer, Pin, Pool, Timestamp};

use crate::support::{
    Canned, HandClock, Journal, Stack, Upstream, ask, builder, key, keys, post, seconds, stack,
    status_of,
};

const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

/// A window: its name, what is left in thousandths, what remains of which limit, and when it resets, in seconds from
/// now.
type Row<'a> = (&'a str, Option<u16>, Option<u64>, Option<u64>, Option<u64>);

fn said(lines: &[(&'static str, &str)]) -> Vec<Window> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    windows(&headers, NOW)
}

#[track_caller]
fn check(lines: &[(&'static str, &str)], expected: &[Row<'_>]) {
    let said = said(lines);
    let rows: Vec<Row<'_>> = said
        .iter()
        .map(|window| {
            assert_eq!(window.said_at, NOW);
            let reset = window.resets_at.map(|reset| reset.since(NOW).as_secs());
            (&*window.name, window.left, window.remaining, window.limit, reset)
        })
        .collect();
    assert_eq!(rows, expected, "{lines:?}");
}

#[test]
fn each_vendors_windows_are_read_by_their_names() {
    check(
        &[
            ("anthropic-ratelimit-unified-5h-utilization", "0.62"),
            ("anthropic-ratelimit-unified-5h-reset", "1764007860"),
            ("anthropic-ratelimit-unified-7d-utilization", "0.29"),
            ("anthropic-ratelimit-unified-7d-reset", "1764273600"),
            ("anthropic-ratelimit-unified-7d_opus-utilization", "0.91"),
            ("anthropic-ratelimit-unified-status", "allowed"),
            ("anthropic-ratelimit-unified-reset", "1764007860"),
        ],
        &[
            ("5h", Some(380), None, None, Some(7_860)),
            ("7d", Some(710), None, None, Some(273_600)),
            ("7d_opus", Some(90), None, None, None),
        ],
    );
    check(
        &[
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "49"),
            ("anthropic-ratelimit-requests-reset", "2025-11-24T16:00:30Z"),
            ("anthropic-ratelimit-input-tokens-limit", "40000"),
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
        ],
        &[
            ("requests", Some(980), Some(49), Some(50), Some(30)),
            ("input-tokens", Some(0), Some(0), Some(40_000), None),
        ],
    );
    check(
        &[
            ("x-ratelimit-limit-tokens", "150000"),
            ("x-ratelimit-remaining-tokens", "149984"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ],
        &[("tokens", Some(1_000), Some(149_984), Some(150_000), Some(360))],
    );
    check(
        &[
            ("x-codex-primary-used-percent", "12.5"),
            ("x-codex-primary-window-minutes", "300"),
            ("x-codex-primary-reset-after-seconds", "900"),
            ("x-codex-secondary-used-percent", "100"),
            ("x-codex-secondary-window-minutes", "10080"),
            ("x-codex-secondary-reset-at", "1764000060"),
        ],
        &[("5h", Some(875), None, None, Some(900)), ("7d", Some(0), None, None, Some(60))],
    );
    check(
        &[
            ("x-ratelimit-limit", "5000"),
            ("x-ratelimit-remaining", "4999"),
            ("x-ratelimit-reset", "1764000600"),
        ],
        &[("quota", Some(1_000), Some(4_999), Some(5_000), Some(600))],
    );
    check(
        &[
            ("ratelimit", "\"burst\";r=3;t=30, \"day\";r=10"),
            ("ratelimit-policy", "\"burst\";q=10, \"day\";q=1000"),
        ],
        &[
            ("burst", Some(300), Some(3), Some(10), Some(30)),
            ("day", Some(10), Some(10), Some(1_000), None),
        ],
    );
    check(
        &[("ratelimit", "limit=100, remaining=50, reset=30")],
        &[("quota", Some(500), Some(50), Some(100), Some(30))],
    );
}

#[test]
fn what_a_vendor_does_not_say_is_not_guessed() {
    check(&[], &[]);
    // A limit alone, and a reset alone, say nothing of what is left.
    check(&[("x-ratelimit-limit-tokens", "150000")], &[]);
    check(&[("anthropic-ratelimit-unified-7d_opus-reset", "1764273600")], &[]);
    // What remains of an unknown limit has no part.
    check(&[("x-ratelimit-remaining-tokens", "7")], &[("tokens", None, Some(7), None, None)]);
    // A limit that was never granted.
    check(&[("x-ratelimit-limit-tokens", "0"), ("x-ratelimit-remaining-tokens", "0")], &[]);
    // A reset that is past was the last one; the next is unknown.
    check(
        &[("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", "1763999999")],
        &[("quota", None, Some(7), None, None)],
    );
    for value in ["", "a lot", "-1", "1e3", "NaN"] {
        check(&[("anthropic-ratelimit-unified-5h-utilization", value)], &[]);
        check(&[("x-codex-primary-used-percent", value)], &[]);
    }
    // More than all is all.
    check(
        &[("anthropic-ratelimit-unified-5h-utilization", "1.07")],
        &[("5h", Some(0), None, None, None)],
    );
}

#[test]
fn a_response_names_no_more_windows_than_are_kept_and_none_without_a_readable_name() {
    let many: Vec<_> = (0..100).map(|number| format!("\"w{number}\";r=1")).collect();
    assert_eq!(said(&[("ratelimit", &many.join(", "))]).len(), 16);
    let long = format!("\"{}\";r=1", "x".repeat(41));
    check(&[("ratelimit", &long)], &[]);
    check(&[("ratelimit", "\"two words\";r=1")], &[]);
}

async fn pool(vault: &MemoryVault, clock: &HandClock) -> Pool {
    builder(vault.clone()).clock(clock.clock()).open().await.unwrap()
}

fn over(pool: &Pool, upstream: &Upstream) -> Stack {
    stack(CredentialsLayer::new(pool.clone()), upstream.clone())
}

fn tokens(status: u16, remaining: &str) -> Canned {
    Canned::status(status)
        .header("x-ratelimit-limit-tokens", "1000")
        .header("x-ratelimit-remaining-tokens", remaining)
        .header("x-ratelimit-reset-tokens", "60s")
}

fn left(pool: &Pool, label: &str) -> Vec<(String, Option<u16>)> {
    let windows = status_of(pool, label).standing.allowance;
    windows.into_iter().map(|window| (window.name.to_string(), window.left)).collect()
}

#[tokio::test(start_paused = true)]
async fn every_response_says_what_is_left_whatever_its_status() {
    let vault = keys(["a", "b"]).await;
    let (clock, events) = (HandClock::new(), Journal::new());
    let pool = builder(vault).clock(clock.clock()).on_event(events.observer()).open().await.unwrap();
    let upstream = Upstream::new()
        .answers("a", [tokens(200, "900"), tokens(404, "800"), tokens(429, "0")])
        .answers("b", [tokens(200, "1000")]);
    let stack = over(&pool, &upstream);
    for (expected, events_before) in [(900, 1), (800, 2)] {
        ask(&stack, post()).await;
        assert_eq!(left(&pool, "a"), [("tokens".to_owned(), Some(expected))]);
        assert_eq!(events.count("Allowance"), events_before);
    }
    ask(&stack, post()).await;
    assert_eq!(left(&pool, "a"), [("tokens".to_owned(), Some(0))]);
    assert_eq!(left(&pool, "b"), [("tokens".to_owned(), Some(1_000))]);
}

#[tokio::test(start_paused = true)]
async fn windows_are_kept_by_name_and_the_later_word_counts() {
    let clock = HandClock::new();
    let pool = pool(&keys(["a"]).await, &clock).await;
    let upstream = Upstream::new().answers(
        "a",
        [
            tokens(200, "500").header("x-ratelimit-remaining-requests", "7"),
            Canned::ok().header("x-ratelimit-remaining-requests", "6"),
            Canned::ok(),
        ],
    );
    let stack = over(&pool, &upstream);
    let first = pool.now();
    for _ in 0..3 {
        ask(&stack, post()).await;
        clock.advance(seconds(20));
    }
    let windows = status_of(&pool, "a").standing.allowance;
    let window = |name: &str| windows.iter().find(|window| &*window.name == name).unwrap();
    assert_eq!((window("tokens").left, window("tokens").said_at), (Some(500), first));
    assert_eq!(window("requests").remaining, Some(6));
    assert_eq!(window("requests").said_at, first.after(seconds(20)));
    assert!(window("tokens").is_current(first.after(seconds(59))));
    assert!(!window("tokens").is_current(first.after(seconds(60))), "it has been reset since");
}

#[tokio::test(start_paused = true)]
async fn an_allowance_costs_no_write_of_its_own_and_other_processes_get_it_with_the_next() {
    let (vault, clock) = (keys(["a", "b"]).await, HandClock::new());
    let (ours, theirs) = (pool(&vault, &clock).await, pool(&vault, &clock).await);
    let upstream = Upstream::new().answers("a", [tokens(200, "400"), tokens(429, "0")]);
    let stack = over(&ours, &upstream);
    let stored = async |label: &str| {
        let pool = vault.load_pool(key()).await.unwrap();
        let id = pool.credentials.iter().find(|known| &*known.metadata.label == label);
        let id = id.unwrap().metadata.id;
        pool.standings.credentials.get(&id).map(|known| known.allowance.clone()).unwrap_or_default()
    };
    ask(&stack, post()).await;
    assert_eq!(stored("a").await, [], "a success is worth no write");
    ours.save().await.unwrap();
    theirs.sync().await.unwrap();
    assert_eq!(left(&theirs, "a"), left(&ours, "a"));
    assert_eq!(left(&theirs, "a"), [("tokens".to_owned(), Some(400))]);
    // The cooldown is saved at once, and what is left with it.
    ask(&stack, post()).await;
    theirs.sync().await.unwrap();
    assert_eq!(left(&theirs, "a"), [("tokens".to_owned(), Some(0))]);
    // What is known here is later than what is loaded.
    clock.advance(seconds(100));
    upstream.set("a", [tokens(200, "999")]);
    let mut request = post();
    request.extensions_mut().insert(Pin::label("a"));
    ask(&stack, request).await;
    ours.sync().await.unwrap();
    assert_eq!(left(&ours, "a"), [("tokens".to_owned(), Some(999))]);
}

#[tokio::test(start_paused = true)]
async fn a_reset_takes_back_a_cooldown_and_not_what_the_vendor_has_said() {
    let clock = HandClock::new();
    let pool = pool(&keys(["a", "b"]).await, &clock).await;
    let upstream = Upstream::new().answers("a", [tokens(429, "0")]);
    ask(&over(&pool, &upstream), post()).await;
    let id = status_of(&pool, "a").credential.id;
    pool.reset(id).await.unwrap();
    assert_eq!(status_of(&pool, "a").ready_in(pool.now()), Duration::ZERO);
    assert_eq!(left(&pool, "a"), [("tokens".to_owned(), Some(0))]);
}

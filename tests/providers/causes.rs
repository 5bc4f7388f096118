//! Of each response that puts an account out of reach, the pool keeps the status, and what has stated the time.

#![cfg(feature = "providers")]

use std::time::{Duration, UNIX_EPOCH};

use http::Request;
use http_body_util::Full;
use tower::ServiceExt;
use tower_credentials::provider::Provider;
use tower_credentials::standing::{Cause, Reason};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::responses_table::provider;
use crate::support::{Canned, ORIGIN as OTHER, Upstream, stack, status_of};

const ORIGIN: &str = "https://api.example.com";

/// A provider, a status, headers, a body, and what is kept of the response.
type Row = (&'static str, u16, &'static [(&'static str, &'static str)], &'static str, &'static str);

const USAGE: &str = r#"{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits. You will regain access on 2027-01-20 at 00:00 UTC."}}"#;
const CREDIT: &str = r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#;
const QUOTA: &str =
    r#"{"error":{"code":429,"details":[{"retryDelay":"34s"},{"metadata":{"quotaResetDelay":"90s"}}]}}"#;

/// The time is 2027-01-15 08:00:00 UTC, 1800000000 seconds after the epoch.
const ROWS: &[Row] = &[
    (
        "generic",
        429,
        &[("retry-after-ms", "1500"), ("retry-after", "2")],
        "",
        "Limited 429 header retry-after-ms",
    ),
    (
        "generic",
        429,
        &[("retry-after-ms", "soon"), ("retry-after", "2")],
        "",
        "Limited 429 header retry-after",
    ),
    (
        "generic",
        402,
        &[("retry-after", "Fri, 15 Jan 2027 08:01:00 GMT")],
        "",
        "Limited 402 header retry-after",
    ),
    ("generic", 429, &[], "", "Limited 429"),
    ("generic", 403, &[("retry-after", "5")], "", "Limited 403 header retry-after"),
    (
        "generic",
        403,
        &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1800000060")],
        "",
        "Limited 403 header x-ratelimit-reset",
    ),
    (
        "anthropic",
        429,
        &[
            ("anthropic-ratelimit-unified-status", "rejected"),
            ("anthropic-ratelimit-unified-reset", "1800000060"),
        ],
        "{}",
        "Limited 429 header anthropic-ratelimit-unified-reset",
    ),
    (
        "anthropic",
        429,
        &[
            ("anthropic-ratelimit-requests-remaining", "9"),
            ("anthropic-ratelimit-requests-reset", "2027-01-15T09:00:00Z"),
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", "2027-01-15T08:01:00Z"),
        ],
        "{}",
        "Limited 429 header anthropic-ratelimit-input-tokens-reset",
    ),
    (
        "openai",
        429,
        &[
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "20ms"),
            ("x-ratelimit-remaining-tokens-day", "0"),
            ("x-ratelimit-reset-tokens-day", "6m0s"),
        ],
        "{}",
        "Limited 429 header x-ratelimit-reset-tokens-day",
    ),
    ("generic", 429, &[("x-ratelimit-reset", "60")], "", "Limited 429 header x-ratelimit-reset"),
    ("generic", 429, &[("ratelimit", "\"burst\";r=0;t=30")], "", "Limited 429 header ratelimit"),
    (
        "generic",
        429,
        &[("ratelimit", "limit=10, remaining=0, reset=30")],
        "",
        "Limited 429 header ratelimit",
    ),
    ("generic", 429, &[("ratelimit-reset", "30")], "", "Limited 429 header ratelimit-reset"),
    (
        "openai",
        429,
        &[("retry-after", "5")],
        r#"{"error":{"type":"usage_limit_reached","resets_in_seconds":60}}"#,
        "Limited 429 field error.resets_in_seconds",
    ),
    (
        "openai",
        429,
        &[("retry-after", "90")],
        r#"{"error":{"type":"usage_limit_reached","resets_in_seconds":60}}"#,
        "Limited 429 header retry-after",
    ),
    (
        "openai",
        429,
        &[
            ("x-codex-primary-used-percent", "100"),
            ("x-codex-primary-reset-after-seconds", "60"),
            ("x-codex-secondary-used-percent", "100"),
            ("x-codex-secondary-reset-at", "1800000600"),
        ],
        "{}",
        "Limited 429 header x-codex-secondary-reset-at",
    ),
    ("google", 429, &[], QUOTA, "Limited 429 field error.details.metadata.quotaResetDelay"),
    ("github-copilot", 429, &[], "{}", "Limited 429"),
    ("anthropic", 400, &[], USAGE, "Spent 400 field error.message"),
    ("anthropic", 400, &[], CREDIT, "out of use 400"),
    ("openai", 401, &[], r#"{"error":{"code":"account_deactivated"}}"#, "out of use 401"),
    ("google", 400, &[], r#"{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}"#, "out of use 400"),
    (
        "generic",
        200,
        &[
            ("content-type", "application/grpc"),
            ("grpc-status", "8"),
            ("grpc-retry-pushback-ms", "1500"),
        ],
        "",
        "Limited 200 header grpc-retry-pushback-ms",
    ),
    (
        "generic",
        201,
        &[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "60s")],
        "",
        "UsedUp 201 header x-ratelimit-reset-tokens",
    ),
    ("generic", 401, &[], "", "Refused 401"),
    ("generic", 403, &[], "", "Refused 403"),
];

/// What the pool keeps of a response to the account `a`. Another one, `b`, is always well.
async fn kept(name: &str, canned: Canned) -> String {
    let provider = std::sync::Arc::<dyn Provider>::from(provider(name));
    let vault = MemoryVault::new();
    for label in ["a", "b"] {
        let tokens = OAuthTokens::new(label);
        let credential = Credential::new(PoolKey::new(provider.name()), label, tokens);
        vault.put(credential).await.unwrap();
    }
    let clock = Clock::from_fn(|| UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let pool = Pool::builder(provider, vault.clone()).clock(clock).open().await.unwrap();
    let layers = (CredentialsLayer::new(pool.clone()), ErrorBodyLayer::new(pool.clone()));
    let service = stack(layers, Upstream::new().answers("a", [canned]));
    let request = Request::post(format!("{ORIGIN}/v1/x")).body(Full::from("a question")).unwrap();
    service.oneshot(request).await.unwrap();
    pool.save().await.unwrap();
    // As another process reads it.
    let stored = vault.load_pool(pool.key().clone()).await.unwrap().standings;
    let standing = &stored.credentials[&status_of(&pool, "a").credential.id];
    assert_eq!(standing, &status_of(&pool, "a").standing);
    let tell = |what: &str, cause: &Cause| {
        assert_eq!(cause.at, pool.now());
        let by = cause.stated_by.as_ref().map(|by| by.to_string().replace("the ", " "));
        format!("{what} {}{}", cause.status, by.unwrap_or_default())
    };
    match (&standing.cooldowns[..], standing.health.cause()) {
        ([cooldown], None) => {
            let reason: Reason = cooldown.reason;
            tell(&format!("{reason:?}"), cooldown.cause.as_ref().unwrap())
        }
        ([], Some(cause)) => tell("out of use", cause),
        _ => format!("{standing:?}"),
    }
}

#[tokio::test]
async fn each_cooldown_and_each_verdict_keeps_the_status_and_what_states_its_time() {
    let mut wrong = Vec::new();
    for (name, status, headers, body, expected) in ROWS {
        let mut canned = Canned::status(*status).body(*body);
        for (header, value) in *headers {
            canned = canned.header(header, value);
        }
        let kept = kept(name, canned).await;
        if kept != *expected {
            wrong.push(format!("{name} {status} {headers:?}: {kept}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A limit right after a stated time is longer than the next stated one, which is then not what counts.
#[tokio::test]
async fn a_stated_time_that_is_not_believed_is_not_named() {
    let vault = crate::support::keys(["a"]).await;
    let clock = Clock::from_fn(|| UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let pool = crate::support::builder(vault).clock(clock).open().await.unwrap();
    let upstream = Upstream::new().answers("a", [Canned::limited(0)]);
    let service = stack(CredentialsLayer::new(pool.clone()), upstream);
    let mut kept = Vec::new();
    for _ in 0..2 {
        let request = Request::post(format!("{OTHER}/v1/x")).body(Full::from("a question")).unwrap();
        service.clone().oneshot(request).await.unwrap();
        let standing = status_of(&pool, "a").standing;
        kept.push(standing.cooldown(None).unwrap().cause.clone().unwrap().stated_by.is_some());
    }
    assert_eq!(kept, [true, false]);
}

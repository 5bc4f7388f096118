//! Trailers-only responses of gRPC: a refusal in the headers of an HTTP 200.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use tower_credentials::*;

use crate::support::*;

/// A trailers-only response with this status.
fn only(status: &str) -> Canned {
    Canned::ok().header("content-type", "application/grpc").header("grpc-status", status)
}

/// A `google.rpc.Status` with a `Help`, and a `RetryInfo` with this delay.
fn details(delay: &[u8]) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    };
    let any = |kind: &[u8], value: &[u8]| field(3, &[field(1, kind), field(2, value)].concat());
    let info = field(1, delay);
    [
        vec![8, 8],
        field(2, b"slow down"),
        any(b"type.googleapis.com/google.rpc.Help", b"\x0a\x02hi"),
        any(b"type.googleapis.com/google.rpc.RetryInfo", &info),
    ]
    .concat()
}

async fn after(response: Canned) -> (Pool, Vec<String>, usize) {
    let clock = HandClock::new();
    let pool = builder(accounts(["a", "b"]).await).clock(clock.clock()).open().await.unwrap();
    let upstream = Upstream::new().answers("a-1", [response]);
    let calls = Journal::new();
    let layers = CredentialsLayer::new(pool.clone()).refresher(renewing(&calls));
    assert_eq!(ask(&stack(layers, upstream.clone()), post()).await.0, 200);
    (pool, upstream.tokens(), calls.all().len())
}

#[tokio::test]
async fn resource_exhausted_is_a_limit_for_the_time_that_it_names() {
    for (response, wait) in [
        (only("8").header("grpc-retry-pushback-ms", "1500"), 1500),
        (only("8").header("retry-after", "7"), 7000),
        (only("8").header("grpc-status-details-bin", &STANDARD.encode(details(b"\x08\x0a"))), 10_000),
        (
            only("8").header("grpc-status-details-bin", &STANDARD_NO_PAD.encode(details(b"\x08\x0a"))),
            10_000,
        ),
        (
            only("8").header(
                "grpc-status-details-bin",
                &STANDARD.encode(details(b"\x10\x80\xca\xb5\xee\x01")),
            ),
            500,
        ),
    ] {
        let (pool, tokens, renewed) = after(response).await;
        assert_eq!((tokens, renewed), (vec!["a-1".to_owned(), "b-1".to_owned()], 0));
        assert_eq!(cools(&pool, "a").as_millis(), wait);
    }
}

#[tokio::test]
async fn an_unreadable_time_is_guessed() {
    let cut = details(b"\x08\x0a");
    for details in ["", "%", "CA", &STANDARD.encode(&cut[..cut.len() - 1]), &STANDARD.encode([0xff; 40])]
    {
        let (pool, tokens, _) = after(only("8").header("grpc-status-details-bin", details)).await;
        assert_eq!(tokens, ["a-1", "b-1"]);
        assert!(cools(&pool, "a") >= seconds(30), "{details}");
    }
    let (pool, ..) = after(only("8").header("grpc-retry-pushback-ms", "-1")).await;
    assert!(cools(&pool, "a") >= seconds(30));
}

#[tokio::test]
async fn unauthenticated_and_permission_denied_count_as_401_and_403() {
    for status in ["16", "7"] {
        let (_, tokens, renewed) = after(only(status)).await;
        assert_eq!((tokens, renewed), (vec!["a-1".to_owned(), "a-2".to_owned()], 1), "{status}");
    }
}

#[tokio::test]
async fn any_other_status_records_nothing_and_ends_no_cooldown() {
    for status in ["1", "2", "3", "5", "13", "14", "99", "x"] {
        let (pool, tokens, renewed) = after(only(status)).await;
        assert_eq!((tokens, renewed), (vec!["a-1".to_owned()], 0), "{status}");
        assert_eq!(learnt(&status_of(&pool, "a").standing), standing::Standing::default());
    }
}

#[tokio::test]
async fn a_response_that_is_not_trailers_only_counts_by_its_http_status() {
    for response in [
        only("0"),
        Canned::ok().header("content-type", "application/grpc+proto"),
        Canned::ok().header("content-type", "application/json").header("grpc-status", "8"),
        Canned::ok().header("grpc-status", "16"),
    ] {
        let (_, tokens, renewed) = after(response).await;
        assert_eq!((tokens.len(), renewed), (1, 0));
    }
    let (_, tokens, _) = after(
        Canned::ok().header("content-type", "application/grpc-web+proto").header("grpc-status", "8"),
    )
    .await;
    assert_eq!(tokens.len(), 2);
}

//! Errors that the layers act on: they become responses like those without a stream.

use http::header;
use tower::ServiceExt;
use tower_credentials::provider::{Anthropic, GenericProvider, Google, OpenAi, Provider, ResponseRule};
use tower_credentials::standing::Health;
use tower_credentials::*;

use super::*;

/// One vendor's error, as an event of its streams, and as a response of its own.
struct Case {
    pool: Pool,
    stream: String,
    status: u16,
    body: &'static str,
}

async fn cases() -> Vec<Case> {
    async fn case<P: Provider>(provider: P, stream: String, status: u16, body: &'static str) -> Case {
        Case { pool: pool_of(provider).await, stream, status, body }
    }
    let anthropic = || Anthropic::new().origin(ORIGIN).unwrap();
    let openai = || OpenAi::new().origin(ORIGIN).unwrap();
    let google = || Google::new().origin(ORIGIN).unwrap();
    let created = event("response.created", r#"{"type":"response.created","response":{"error":null}}"#);
    let failed = |error: &str| {
        let data = format!(r#"{{"type":"response.failed","response":{{"id":"r","error":{error}}}}}"#);
        format!("{created}{}", event("response.failed", &data))
    };
    const USED_UP: &str = r#"{"error":{"code":"usage_limit_reached","resets_in_seconds":7200}}"#;
    const EXHAUSTED: &str =
        r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"77s"}]}}"#;
    vec![
        case(anthropic(), failing(LIMIT), 429, LIMIT).await,
        case(
            openai(),
            failed(r#"{"code":"usage_limit_reached","resets_in_seconds":7200}"#),
            429,
            USED_UP,
        )
        .await,
        case(openai(), format!("data: {USED_UP}\n\n"), 429, USED_UP).await,
        case(
            openai(),
            failed(r#"{"code":"insufficient_quota","message":"You exceeded it"}"#),
            429,
            r#"{"error":{"code":"insufficient_quota","message":"You exceeded it"}}"#,
        )
        .await,
        case(
            openai(),
            format!("{created}{}", event("error", r#"{"type":"error","code":"rate_limit_exceeded","message":"m","param":null,"sequence_number":2}"#)),
            429,
            r#"{"error":{"code":"rate_limit_exceeded","message":"m","param":null}}"#,
        )
        .await,
        case(google(), format!("data: {EXHAUSTED}\r\n\r\n"), 429, EXHAUSTED).await,
    ]
}

/// What a pool has learned about an account, and how it has counted.
fn known(pool: &Pool, label: &str) -> String {
    let status = status_of(pool, label);
    let counters = pool.counters().credentials;
    let counters = counters.into_iter().find(|counters| counters.id == status.credential.id).unwrap();
    let outcomes = [counters.attempts, counters.succeeded, counters.limited, counters.out_of_use];
    format!("{:?} {outcomes:?} {:?}", learnt(&status.standing), counters.rotations)
}

#[tokio::test]
async fn an_error_before_any_content_is_counted_like_the_same_error_without_a_stream() {
    // Stated, since a guessed wait has a random part.
    let stated = |canned: Canned| canned.header("retry-after", "60");
    for (plain, streamed) in cases().await.into_iter().zip(cases().await) {
        let error = stated(Canned::status(plain.status))
            .header("content-type", "application/json")
            .body(plain.body);
        let mut known_of = Vec::new();
        for (pool, first) in [(plain.pool, error), (streamed.pool, stated(streams(streamed.stream)))] {
            let upstream = Upstream::new().answers("a", [first]).answers("b", [streams(good())]);
            let reads = over(FirstEventLayer::new(pool.clone()), boxed(&upstream));
            let reads = stack((), ErrorBodyLayer::new(pool.clone()).layer(reads).and_then(gathered));
            let service = STACKS[0](&pool, reads);
            assert_eq!(ask(&service, post()).await, (200, good()), "{}", plain.body);
            assert_eq!(upstream.tokens(), ["a", "b"]);
            known_of.push((known(&pool, "a"), known(&pool, "b")));
        }
        assert_eq!(known_of[0], known_of[1], "{}", plain.body);
    }
}

#[tokio::test]
async fn a_limit_before_any_content_is_an_error_response_if_no_account_is_left() {
    for case in cases().await {
        let upstream = Upstream::new();
        for label in ["a", "b"] {
            let stream = streams(case.stream.clone()).header("request-id", label);
            upstream.set(label, [stream.header("content-length", &case.stream.len().to_string())]);
        }
        let service = STACKS[0](&case.pool, under(&case.pool, &upstream));
        let response = service.oneshot(post()).await.unwrap();
        assert_eq!(response.status(), case.status);
        let comes_back = !case.body.contains("insufficient_quota");
        assert_eq!(response.extensions().get::<NextReady>().is_some(), comes_back);
        let headers = response.headers();
        assert_eq!(headers["request-id"], "b");
        assert_eq!(headers[header::CONTENT_TYPE], "application/json");
        assert_eq!(headers[header::CONTENT_LENGTH], case.body.len().to_string());
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), case.body);
    }
}

#[tokio::test]
async fn an_overload_rotates_where_the_pool_calls_it_a_limit() {
    let cooldowns = exact().limited_statuses(|status| status == 529);
    let provider = Anthropic::new().named("x").origin(ORIGIN).unwrap();
    let build = Pool::builder(provider, accounts(["a", "b"]).await).cooldowns(cooldowns);
    let pool = build.open().await.unwrap();
    let upstream =
        Upstream::new().answers("a-1", [streams(failing(OVERLOAD))]).answers("b-1", [streams(good())]);
    let service = STACKS[0](&pool, under(&pool, &upstream));
    assert_eq!(ask(&service, post()).await, (200, good()));
    assert_eq!(upstream.tokens(), ["a-1", "b-1"]);
    assert!(cools(&pool, "a") >= seconds(30));
}

/// A vendor's stream that fails for a reason of the vendor's own, and the response that it becomes.
fn servers_own(openai: bool, code: &str) -> (String, String) {
    if openai {
        let error = format!(r#"{{"code":"{code}","message":"m"}}"#);
        let data = format!(r#"{{"type":"response.failed","response":{{"error":{error}}}}}"#);
        (event("response.failed", &data), format!(r#"{{"error":{error}}}"#))
    } else {
        let error = format!(r#"{{"type":"error","error":{{"type":"{code}","message":"m"}}}}"#);
        (failing(&error), error)
    }
}

async fn sends_overloads_on<const N: usize>(openai: bool, labels: [&str; N]) -> Pool {
    let vault = accounts(labels).await;
    let pool = match openai {
        true => Pool::builder(OpenAi::new().named("x").origin(ORIGIN).unwrap(), vault),
        false => Pool::builder(Anthropic::new().named("x").origin(ORIGIN).unwrap(), vault),
    };
    pool.cooldowns(exact()).rotate_overloads(true).open().await.unwrap()
}

#[tokio::test]
async fn an_overload_goes_on_with_the_next_account_and_parks_none_if_the_pool_says_so() {
    for (openai, code, status) in [
        (false, "overloaded_error", 529),
        (false, "api_error", 500),
        (true, "server_is_overloaded", 503),
        (true, "server_error", 500),
    ] {
        let (stream, body) = servers_own(openai, code);
        let pool = sends_overloads_on(openai, ["a", "b", "c"]).await;
        let upstream = Upstream::new()
            .answers("a-1", [streams(stream.clone()), streams(good())])
            .answers("b-1", [streams(stream.clone())])
            .answers("c-1", [streams(good())]);
        let service = STACKS[0](&pool, under(&pool, &upstream));
        assert_eq!(ask(&service, post()).await, (200, good()), "{code}");
        // The first is asked first again.
        assert_eq!(ask(&service, post()).await, (200, good()), "{code}");
        assert_eq!(upstream.tokens(), ["a-1", "b-1", "c-1", "a-1"], "{code}");
        assert!(["a", "b", "c"].iter().all(|label| cools(&pool, label).is_zero()));
        let counters = pool.counters();
        let rotations: u64 = counters.credentials.iter().map(|of| of.rotations.overloaded).sum();
        assert_eq!((rotations, counters.rotations), (2, 2));

        // If there is no other, the caller gets an error that an SDK repeats.
        let pool = sends_overloads_on(openai, ["a"]).await;
        let upstream = Upstream::new().answers("a-1", [streams(stream)]);
        let service = STACKS[0](&pool, under(&pool, &upstream));
        assert_eq!(ask(&service, post()).await, (status, body));
    }
}

#[tokio::test]
async fn an_error_that_may_be_the_requests_own_stays_in_its_stream_whatever_the_pool_says() {
    for (openai, code) in
        [(false, "invalid_request_error"), (true, "nobody_knows"), (true, "invalid_prompt")]
    {
        let (stream, _) = servers_own(openai, code);
        let pool = sends_overloads_on(openai, ["a", "b"]).await;
        let upstream = Upstream::new().answers("a-1", [streams(stream.clone())]);
        let service = STACKS[0](&pool, under(&pool, &upstream));
        assert_eq!(ask(&service, post()).await, (200, stream), "{code}");
        assert_eq!(upstream.tokens(), ["a-1"]);
    }
}

#[tokio::test]
async fn a_rule_says_what_an_error_in_words_of_its_own_means() {
    let busy = ResponseRule::on([500]).body("error.type", "busy").limited().until("error.free_in");
    let provider = GenericProvider::bearer("x").origin(ORIGIN).unwrap().response(busy);
    let pool = pool_of(provider).await;
    let error =
        |kind: &str| event("message", &format!(r#"{{"error":{{"type":"{kind}","free_in":90}}}}"#));
    let upstream = Upstream::new()
        .answers("a", [streams(error("busy"))])
        .answers("b", [streams(error("unheard_of"))]);
    let service = STACKS[0](&pool, under(&pool, &upstream));
    assert_eq!(ask(&service, post()).await, (200, error("unheard_of")));
    assert_eq!((cools(&pool, "a"), cools(&pool, "b")), (seconds(90), seconds(0)));
}

#[tokio::test]
async fn a_refusal_before_any_content_renews_the_token() {
    let pool = builder(accounts(["a", "b"]).await).open().await.unwrap();
    let refused = r#"{"type":"error","error":{"type":"authentication_error","message":"expired"}}"#;
    let upstream =
        Upstream::new().answers("a-1", [streams(failing(refused))]).answers("a-2", [streams(good())]);
    let calls = Journal::new();
    let service = stack(four(&pool, &renewing(&calls)), under(&pool, &upstream));
    assert_eq!(ask(&service, post()).await, (200, good()));
    assert_eq!((upstream.tokens(), calls.all()), (vec!["a-1".into(), "a-2".into()], vec!["a".into()]));
}

#[tokio::test]
async fn an_account_that_its_vendor_has_stopped_is_not_followed_by_the_next_one() {
    let pool = pool_of(OpenAi::new().origin(ORIGIN).unwrap()).await;
    let error = r#"{"error":{"code":"token_invalidated"}}"#;
    let upstream = Upstream::new().answers("a", [streams(format!("data: {error}\n\n"))]);
    let service = STACKS[0](&pool, under(&pool, &upstream));
    assert_eq!(ask(&service, post()).await, (401, error.to_owned()));
    assert_eq!(upstream.tokens(), ["a"]);
    assert!(matches!(status_of(&pool, "a").standing.health, Health::NeedsSignIn { .. }));
}

//! The promises of the proposal that this crate implements, each a test; over sockets where the wire
//! matters. The numbers are those of the list of promises.

#![cfg(feature = "file")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::Barrier;
use tower::{Layer, ServiceExt};
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::Reason;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

/// The four layers over a hyper client and an upstream on a socket.
struct Rig {
    pool: Pool,
    server: Server,
    upstream: Upstream,
    service: Stack<Incoming>,
    refreshes: Journal<String>,
    clock: HandClock,
    events: Journal<String>,
}

async fn rig(vault: MemoryVault, upstream: Upstream) -> Rig {
    let server = Server::start(&upstream).await;
    let (clock, refreshes, events) = (HandClock::new(), Journal::new(), Journal::new());
    let pool =
        server.builder(vault).clock(clock.clock()).on_event(events.observer()).open().await.unwrap();
    let service = stack(four(&pool, &renewing(&refreshes)), client());
    Rig { pool, server, upstream, service, refreshes, clock, events }
}

impl Rig {
    async fn ask(&self) -> (u16, String) {
        ask(&self.service, self.server.post()).await
    }
}

// 1

#[tokio::test]
async fn a_429_with_retry_after_cools_the_credential_and_the_next_answers_the_same_request() {
    let rig = rig(keys(["a", "b"]).await, Upstream::new().answers("a", [Canned::limited(30)])).await;

    assert_eq!(rig.ask().await, (200, "b".into()));

    assert_eq!(rig.upstream.tokens(), ["a", "b"]);
    let seen = rig.upstream.seen.all();
    assert_eq!((&seen[0].method, &seen[0].uri), (&seen[1].method, &seen[1].uri));
    assert_eq!(seen[1].body, "a question");
    assert_eq!(cools(&rig.pool, "a"), seconds(30));
    assert_eq!(order(&rig.pool), ["b", "a"], "it went to the back");
    let connections = rig.server.connections.load(Ordering::SeqCst);
    assert_eq!(connections, 1, "the refused answer's connection was used again");
}

#[tokio::test]
async fn a_credential_answers_again_when_its_retry_after_is_over() {
    let upstream = Upstream::new().answers("a", [Canned::limited(30), Canned::ok().body("a")]);
    let rig = rig(keys(["a"]).await, upstream).await;
    assert_eq!(rig.ask().await.0, 429);
    rig.clock.advance(seconds(30));
    assert_eq!(rig.ask().await, (200, "a".into()));
    assert_eq!(cools(&rig.pool, "a"), Duration::ZERO);
    assert_eq!(status_of(&rig.pool, "a").standing.failures, 0, "a success forgives");
}

// 2

#[tokio::test]
async fn of_several_accounts_of_a_provider_the_right_records_secret_is_updated() {
    let vault = accounts(["a", "b", "c"]).await;
    let upstream = Upstream::new()
        .answers("a-1", [Canned::limited(30)])
        .answers("b-1", [Canned::status(401)])
        .answers("b-2", [Canned::ok()]);
    let rig = rig(vault.clone(), upstream).await;
    assert_eq!(rig.ask().await.0, 200);
    let stored = vault.load_pool(key()).await.unwrap().credentials;
    let token = |label: &str| {
        let record = stored.iter().find(|record| &*record.metadata.label == label).unwrap();
        (record.secret.token().expose().to_owned(), record.metadata.generation.get())
    };
    assert_eq!(token("a"), ("a-1".into(), 1));
    assert_eq!(token("b"), ("b-2".into(), 2));
    assert_eq!(token("c"), ("c-1".into(), 1));
}

// 3

async fn is_refreshed_once_and_answers(status: u16) {
    let vault = accounts(["a", "b"]).await;
    let upstream = Upstream::new().answers("a-1", [Canned::status(status)]);
    let rig = rig(vault.clone(), upstream).await;
    assert_eq!(rig.ask().await, (200, "a-2".into()));
    assert_eq!(rig.upstream.tokens(), ["a-1", "a-2"]);
    assert_eq!(rig.upstream.seen.all()[1].body, "a question");
    assert_eq!(rig.refreshes.all(), ["a"]);
    let id = status_of(&rig.pool, "a").credential.id;
    assert_eq!(vault.get(id).await.unwrap().secret.token().expose(), "a-2", "it is saved");
    assert_eq!(rig.pool.counters().refreshes, 1);
    assert_eq!(order(&rig.pool), ["a", "b"]);
}

#[tokio::test]
async fn a_401_forces_one_refresh_and_the_same_credential_answers() {
    is_refreshed_once_and_answers(401).await;
}

#[tokio::test]
async fn a_403_forces_one_refresh_and_the_same_credential_answers() {
    is_refreshed_once_and_answers(403).await;
}

// 4

#[tokio::test]
async fn after_a_refresh_that_does_not_help_the_next_answers_and_the_failed_one_cools_for_5_minutes() {
    let upstream =
        Upstream::new().answers("a-1", [Canned::status(401)]).answers("a-2", [Canned::status(401)]);
    let rig = rig(accounts(["a", "b"]).await, upstream).await;
    assert_eq!(rig.ask().await, (200, "b-1".into()));
    assert_eq!(rig.upstream.tokens(), ["a-1", "a-2", "b-1"]);
    assert_eq!(rig.refreshes.all(), ["a"]);
    assert_eq!(cools(&rig.pool, "a"), seconds(300));
    assert_eq!(status_of(&rig.pool, "a").standing.cooldowns[0].reason, Reason::Refused);
    assert_eq!(order(&rig.pool), ["b", "a"]);
}

#[tokio::test]
async fn after_a_refresh_that_fails_the_next_answers_and_the_failed_one_cools_for_5_minutes() {
    let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
    let rig = rig(accounts(["a", "b"]).await, upstream).await;
    let broken = Refresher::new(|_| async { Err::<Secret, BoxError>("no network".into()) });
    let service = stack(four(&rig.pool, &broken), client());
    assert_eq!(ask(&service, rig.server.post()).await, (200, "b-1".into()));
    assert_eq!(cools(&rig.pool, "a"), seconds(300));
    assert_eq!(status_of(&rig.pool, "a").standing.health, standing::Health::Good, "it may pass");
}

// 5

#[tokio::test]
async fn a_402_rotates() {
    let rig = rig(keys(["a", "b"]).await, Upstream::new().answers("a", [Canned::status(402)])).await;
    assert_eq!(rig.ask().await, (200, "b".into()));
    assert!(cools(&rig.pool, "a") >= seconds(30));
}

#[tokio::test]
async fn a_402_does_not_rotate_where_the_policy_says_so() {
    let upstream = Upstream::new().answers("a", [Canned::status(402)]);
    let server = Server::start(&upstream).await;
    let only_429 = exact().limited_statuses(|status| status == 429);
    let pool = server.builder(keys(["a", "b"]).await).cooldowns(only_429).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), client());
    assert_eq!(ask(&service, server.post()).await.0, 402);
    assert_eq!(upstream.tokens(), ["a"]);
    assert_eq!(cools(&pool, "a"), Duration::ZERO);
}

// 6

#[tokio::test]
async fn the_active_credential_is_kept_until_it_is_limited() {
    let ok = Canned::ok;
    let upstream = Upstream::new().answers("a", [ok(), ok(), ok(), Canned::limited(30), ok()]);
    let rig = rig(keys(["a", "b", "c"]).await, upstream).await;
    for _ in 0..5 {
        assert_eq!(rig.ask().await.0, 200);
    }
    assert_eq!(rig.upstream.tokens(), ["a", "a", "a", "a", "b", "b"]);
    rig.clock.advance(seconds(31));
    rig.ask().await;
    assert_eq!(rig.upstream.tokens()[6], "b", "one that is ready again waits for its turn");
}

// 7

#[tokio::test]
async fn a_body_that_cannot_be_sent_again_is_sent_once_and_the_next_request_takes_the_next() {
    let upstream = Upstream::new().answers("a", [Canned::limited(30).body("too much")]);
    let server = Server::start(&upstream).await;
    let pool = server.builder(keys(["a", "b"]).await).open().await.unwrap();
    let client: hyper_util::client::legacy::Client<_, SendOnce<Full<Bytes>>> =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let service = four(&pool, &no_refresh()).layer(client);
    let request = || server.post().map(SendOnce::new);
    let response = service.clone().oneshot(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert_eq!(body, "too much");
    assert_eq!(upstream.tokens(), ["a"]);
    assert_eq!(service.oneshot(request()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(upstream.tokens(), ["a", "b"]);
}

// 8

#[tokio::test]
async fn when_every_credential_is_used_up_the_last_response_is_returned_whole() {
    let long = "the last word ".repeat(100_000);
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(30).body("first")])
        .answers("b", [Canned::status(402).body("second")])
        .answers("c", [Canned::limited(20).header("x-request-id", "7").body(long.clone())]);
    let rig = rig(keys(["a", "b", "c"]).await, upstream).await;
    let response = rig.service.clone().oneshot(rig.server.post()).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["x-request-id"], "7");
    let next = response.extensions().get::<NextReady>().expect("it says when to ask again");
    assert_eq!(next.at().since(rig.pool.now()), seconds(20));
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert_eq!(body.len(), long.len());
    assert_eq!(rig.upstream.tokens(), ["a", "b", "c"]);
    for label in ["a", "b", "c"] {
        assert_eq!(status_of(&rig.pool, label).standing.failures, 1, "of {label}");
    }
}

// 9

#[tokio::test]
async fn a_network_error_is_tried_again_once_with_the_same_credential_and_does_not_rotate() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let events = Journal::new();
    let provider = GenericProvider::bearer("x").origin(&format!("http://{closed}")).unwrap();
    let pool = Pool::builder(provider, keys(["a", "b"]).await)
        .on_event(events.observer())
        .open()
        .await
        .unwrap();
    let service: Stack<Incoming> = stack(four(&pool, &no_refresh()), client());
    let request = Request::post(format!("http://{closed}/")).body(Full::from("hi")).unwrap();
    let error = service.oneshot(request).await.unwrap_err();
    assert!(is_connect_error(&error), "the client's own error comes out: {error:?}");
    let counters = pool.counters();
    assert_eq!((counters.attempts, counters.rotations), (2, 0));
    assert_eq!(events.count("Repeated"), 1);
    assert!(events.all()[0].contains("label: \"a\""));
    assert_eq!(order(&pool), ["a", "b"]);
    assert!(pool.status().iter().all(|status| status.standing == standing::Standing::default()));
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_connection_is_made_at_the_second_try_is_answered() {
    let refused = Canned::fails(std::io::ErrorKind::ConnectionRefused);
    let upstream = Upstream::new().answers("a", [refused, Canned::ok()]);
    let pool = builder(keys(["a", "b"]).await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens(), ["a", "a"]);
}

// 10

#[tokio::test]
async fn a_retry_after_that_is_a_date_sets_the_cooldown_to_that_very_time() {
    let date = httpdate::fmt_http_date(SystemTime::now() + seconds(4000));
    let meant = Timestamp::from(httpdate::parse_http_date(&date).unwrap());
    let upstream = Upstream::new().answers("a", [Canned::status(429).header("retry-after", &date)]);
    let server = Server::start(&upstream).await;
    let pool = server.builder(keys(["a"]).await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), client());
    assert_eq!(ask(&service, server.post()).await.0, 429);
    assert_eq!(pool.status()[0].standing.cooldowns[0].until, meant);
}

// 11

#[tokio::test]
async fn a_pinned_request_is_not_rotated() {
    let rig =
        rig(keys(["a", "b", "c"]).await, Upstream::new().answers("b", [Canned::limited(30)])).await;
    let pinned = || {
        let mut request = rig.server.post();
        request.extensions_mut().insert(Pin::label("b"));
        request
    };
    assert_eq!(ask(&rig.service, pinned()).await.0, 429);
    assert_eq!(ask(&rig.service, pinned()).await.0, 429, "it is used whatever its cooldown");
    assert_eq!(rig.upstream.tokens(), ["b", "b"]);
    assert_eq!(rig.ask().await, (200, "a".into()), "others are not pinned");
}

#[tokio::test]
async fn a_pinned_request_is_still_refreshed() {
    let upstream = Upstream::new().answers("b-1", [Canned::status(401)]);
    let rig = rig(accounts(["a", "b"]).await, upstream).await;
    let mut request = rig.server.post();
    request.extensions_mut().insert(Pin::id(status_of(&rig.pool, "b").credential.id));
    assert_eq!(ask(&rig.service, request).await, (200, "b-2".into()));
}

#[tokio::test]
async fn a_pin_to_nobody_is_an_error_and_nothing_is_sent() {
    let rig = rig(keys(["a"]).await, Upstream::new()).await;
    let mut request = rig.server.post();
    request.extensions_mut().insert(Pin::label("nobody"));
    let error = rig.service.clone().oneshot(request).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::UnknownPin { .. })), "{error:?}");
    assert!(rig.upstream.seen.all().is_empty());
}

// 13

#[tokio::test]
async fn order_and_cooldowns_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let key_ = VaultKey::generate();
    let upstream =
        Upstream::new().answers("a", [Canned::limited(3000)]).answers("b", [Canned::status(402)]);
    let server = Server::start(&upstream).await;
    let clock = HandClock::new();
    let before = {
        let vault = FileVault::open(directory.path(), &key_).await.unwrap();
        for label in ["a", "b", "c"] {
            vault.put(Credential::new(key(), label, Secret::api_key(label))).await.unwrap();
        }
        let pool = server.builder(vault).clock(clock.clock()).open().await.unwrap();
        let service = stack(four(&pool, &no_refresh()), client());
        assert_eq!(ask(&service, server.post()).await, (200, "c".into()));
        pool.status()
    };
    let vault = FileVault::open(directory.path(), &key_).await.unwrap();
    let pool = server.builder(vault).clock(clock.clock()).open().await.unwrap();
    assert_eq!(order(&pool), ["c", "a", "b"]);
    for (before, after) in before.iter().zip(pool.status()) {
        assert_eq!(learnt(&before.standing), learnt(&after.standing));
    }
    assert_eq!(cools(&pool, "a"), seconds(3000));
    let service = stack(four(&pool, &no_refresh()), client());
    assert_eq!(ask(&service, server.post()).await, (200, "c".into()));
    assert_eq!(upstream.tokens(), ["a", "b", "c", "c"], "no attempt is wasted");
}

#[tokio::test]
async fn a_scopes_cooldown_survives_a_restart() {
    let vault = keys(["a", "b"]).await;
    let upstream = Upstream::new().answers("a", [Canned::limited(3000), Canned::ok()]);
    let clock = HandClock::new();
    let of_model = || {
        let mut request = post();
        request.extensions_mut().insert(standing::Scope::new("big"));
        request
    };
    let pool = builder(vault.clone()).clock(clock.clock()).open().await.unwrap();
    ask(&stack(four(&pool, &no_refresh()), upstream.clone()), of_model()).await;
    let pool = builder(vault).clock(clock.clock()).open().await.unwrap();
    ask(&stack(four(&pool, &no_refresh()), upstream.clone()), of_model()).await;
    assert_eq!(upstream.tokens(), ["a", "b", "b"]);
}

#[tokio::test]
async fn a_pools_cooldowns_are_seen_by_another_pool_of_the_same_vault() {
    let vault = keys(["a", "b"]).await;
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    let first = builder(vault.clone()).open().await.unwrap();
    let second = builder(vault).open().await.unwrap();
    ask(&stack(four(&first, &no_refresh()), upstream.clone()), post()).await;
    second.sync().await.unwrap();
    assert_eq!(order(&second), ["b", "a"]);
    ask(&stack(four(&second, &no_refresh()), upstream.clone()), post()).await;
    assert_eq!(upstream.tokens(), ["a", "b", "b"]);
}

// 15

#[tokio::test]
async fn two_requests_at_once_that_both_get_a_429_move_the_credential_once() {
    let both = Arc::new(Barrier::new(2));
    let limited = Canned::limited(30).after(move || {
        let both = both.clone();
        async move {
            both.wait().await;
        }
    });
    let rig = rig(keys(["a", "b"]).await, Upstream::new().answers("a", [limited])).await;
    let (one, two) = tokio::join!(rig.ask(), rig.ask());
    assert_eq!((one.0, two.0), (200, 200));
    assert_eq!(rig.upstream.count("a"), 2);
    assert_eq!(status_of(&rig.pool, "a").standing.failures, 1);
    assert_eq!(order(&rig.pool), ["b", "a"]);
    assert_eq!(cools(&rig.pool, "a"), seconds(30));
    assert_eq!(rig.events.count("CooledDown"), 1);
}

// 16

async fn mixed() -> MemoryVault {
    let vault = keys(["key"]).await;
    vault.put(account("sub")).await.unwrap();
    vault
}

async fn first_token(vault: MemoryVault, mode: Mode) -> Vec<String> {
    let upstream = Upstream::new();
    let pool = builder(vault).mode(mode).open().await.unwrap();
    ask(&stack(four(&pool, &no_refresh()), upstream.clone()), post()).await;
    upstream.tokens()
}

#[tokio::test]
async fn mode_auto_takes_accounts_if_there_are_any_else_keys() {
    assert_eq!(first_token(mixed().await, Mode::Auto).await, ["sub-1"]);
    assert_eq!(first_token(keys(["key"]).await, Mode::Auto).await, ["key"]);
}

#[tokio::test]
async fn mode_api_takes_keys_only() {
    assert_eq!(first_token(mixed().await, Mode::Api).await, ["key"]);
    let pool = builder(accounts(["sub"]).await).mode(Mode::Api).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), Upstream::new());
    let error = service.oneshot(post()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::NoCredential { .. })), "{error:?}");
}

#[tokio::test]
async fn mode_subscription_is_an_early_error_without_an_account() {
    assert_eq!(first_token(mixed().await, Mode::Subscription).await, ["sub-1"]);
    let error = builder(keys(["key"]).await).mode(Mode::Subscription).open().await.unwrap_err();
    assert!(matches!(error, Error::NoCredential { .. }), "{error:?}");
    assert!(error.to_string().contains("OAuth account"), "{error}");
}

#[tokio::test]
async fn mode_auto_never_rotates_from_an_account_to_a_key() {
    let upstream = Upstream::new().answers("sub-1", [Canned::limited(30)]);
    let pool = builder(mixed().await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 429);
    assert_eq!(upstream.tokens(), ["sub-1"]);
}

// 20

#[tokio::test]
async fn the_callers_own_credentials_never_leave_beside_ours() {
    let rig = rig(keys(["a", "b"]).await, Upstream::new().answers("a", [Canned::limited(30)])).await;
    let mut request = rig.server.post();
    for name in ["authorization", "x-api-key", "api-key", "x-goog-api-key"] {
        request.headers_mut().append(name, "Bearer callers-own".parse().unwrap());
        request.headers_mut().append(name, "callers-second".parse().unwrap());
    }
    request.headers_mut().insert("x-trace", "kept".parse().unwrap());
    assert_eq!(ask(&rig.service, request).await.0, 200);
    let seen = rig.upstream.seen.all();
    assert_eq!(seen.len(), 2);
    for (seen, token) in seen.iter().zip(["Bearer a", "Bearer b"]) {
        assert!(!format!("{seen:?}").contains("callers-"), "{seen:?}");
        assert_eq!(seen.headers.get_all("authorization").iter().collect::<Vec<_>>(), [token]);
        assert_eq!(seen.headers["x-trace"], "kept");
    }
}

// 25

#[tokio::test]
async fn retry_after_ms_comes_before_retry_after_with_fractions_clamped_and_never_negative() {
    let cases: [(&[(&'static str, &str)], u64); 8] = [
        (&[("retry-after-ms", "1500"), ("retry-after", "60")], 1_500),
        (&[("retry-after-ms", "1500.2"), ("retry-after", "60")], 1_501),
        (&[("retry-after", "0.25")], 250),
        (&[("retry-after", "-5")], 0),
        (&[("retry-after-ms", "-1")], 0),
        (&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], 0),
        (&[("retry-after", "99999999999")], 8 * 24 * 3600 * 1000),
        (&[("retry-after-ms", "soon"), ("retry-after", "2")], 2_000),
    ];
    for (headers, expected) in cases {
        let response = headers
            .iter()
            .fold(Canned::status(429), |response, (name, value)| response.header(name, value));
        let rig = rig(keys(["a", "b"]).await, Upstream::new().answers("a", [response])).await;
        assert_eq!(rig.ask().await, (200, "b".into()));
        assert_eq!(cools(&rig.pool, "a"), Duration::from_millis(expected), "{headers:?}");
        assert_eq!(order(&rig.pool), ["b", "a"], "{headers:?}");
    }
}

//! Limits and verdicts on an account in the body of a response, and what follows from them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin as Pinned;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tokio::sync::mpsc;
use tower::{ServiceExt, service_fn};
use tower_credentials::provider::{
    Assessment, GenericProvider, Provider, ResponseView as Said, Verdict,
};
use tower_credentials::standing::Health;
use tower_credentials::*;

use crate::support::*;

/// A vendor that says `wait N` and `stop WHY` in the first 32 bytes of its errors' bodies.
struct Talkative(GenericProvider);

impl Provider for Talkative {
    as_the_generic_one!();

    fn body_prefix(&self, status: StatusCode) -> usize {
        if matches!(status.as_u16(), 401 | 403 | 429) { 32 } else { 0 }
    }

    fn read(&self, response: &Said<'_>) -> Assessment {
        assert!(response.body.len() <= 32);
        let body = String::from_utf8_lossy(response.body);
        let found = Assessment::in_headers(response);
        match body.split_once(' ') {
            Some(("wait", time)) => {
                found.or_retry_at(time.trim().parse().ok().map(|time| response.now.after(seconds(time))))
            }
            Some(("stop", reason)) => found.verdict(Verdict::Stopped { reason: reason.to_owned() }),
            _ => found,
        }
    }
}

async fn pool(labels: [&str; 3]) -> Pool {
    let provider = Talkative(GenericProvider::bearer("x").origin(ORIGIN).unwrap());
    let clock = HandClock::new();
    Pool::builder(provider, accounts(labels).await)
        .cooldowns(exact())
        .clock(clock.clock())
        .open()
        .await
        .unwrap()
}

/// The layers in several orders, above the one that reads bodies.
fn stacks(
    pool: &Pool,
    refresher: &Refresher,
    upstream: &Upstream,
) -> Vec<Stack<PeekedBody<Full<Bytes>>>> {
    let reads = ErrorBodyLayer::new(pool.clone());
    let (rotate, refresh, auth, persist) = four(pool, refresher);
    let all = CredentialsLayer::new(pool.clone()).refresher(refresher.clone());
    vec![
        stack(
            (rotate.clone(), refresh.clone(), auth.clone(), persist.clone(), reads.clone()),
            upstream.clone(),
        ),
        stack((persist, auth, refresh, rotate, reads.clone()), upstream.clone()),
        stack((all, reads), upstream.clone()),
    ]
}

const ORDERINGS: usize = 3;

#[tokio::test]
async fn a_limit_named_only_in_the_body_counts_and_the_body_stays_whole() {
    for order in 0..ORDERINGS {
        let pool = pool(["a", "b", "c"]).await;
        let long = format!("wait 7200{}", " ".repeat(100_000));
        let upstream = Upstream::new()
            .answers("a-1", [Canned::status(429).body("wait 5")])
            .answers("b-1", [Canned::status(429).body(long.clone())])
            .answers("c-1", [Canned::status(429).body("nothing")]);
        let (status, body) = ask(&stacks(&pool, &no_refresh(), &upstream)[order], post()).await;
        assert_eq!((status, body.as_str()), (429, "nothing"));
        assert_eq!(cools(&pool, "a"), seconds(5));
        assert_eq!(cools(&pool, "b"), seconds(7200));
        assert!(cools(&pool, "c") >= seconds(30));
        assert_eq!(upstream.tokens(), ["a-1", "b-1", "c-1"]);
    }
}

#[tokio::test]
async fn the_last_response_is_returned_whole_though_its_beginning_was_read() {
    let pool = pool(["a", "b", "c"]).await;
    let long: String = (0..20_000).map(|number| format!("{number} ")).collect();
    let response = || Canned::status(429).body(long.clone());
    let upstream = ["a", "b", "c"]
        .iter()
        .fold(Upstream::new(), |upstream, label| upstream.answers(&format!("{label}-1"), [response()]));
    for stack in stacks(&pool, &no_refresh(), &upstream) {
        assert_eq!(ask(&stack, post()).await, (429, long.clone()));
    }
}

#[tokio::test]
async fn a_stopped_account_is_not_refreshed_and_no_other_is_sent_to_the_vendor_at_once() {
    for order in 0..ORDERINGS {
        for status in [401, 403, 429] {
            let pool = pool(["a", "b", "c"]).await;
            let calls = Journal::new();
            let upstream =
                Upstream::new().answers("a-1", [Canned::status(status).body("stop invalidated a-1")]);
            let stack = &stacks(&pool, &renewing(&calls), &upstream)[order];
            let response = ask(stack, post()).await;
            assert_eq!(response, (status, "stop invalidated a-1".to_owned()));
            assert_eq!(upstream.tokens(), ["a-1"]);
            assert!(calls.all().is_empty(), "no refresh");
            let stopped = status_of(&pool, "a").standing.health;
            assert!(matches!(stopped, Health::NeedsSignIn { .. }), "{stopped:?}");
            // The next request uses another account.
            assert_eq!(ask(stack, post()).await.0, 200);
            assert_eq!(upstream.tokens(), ["a-1", "b-1"]);
        }
    }
}

#[tokio::test]
async fn a_stop_is_saved_and_reported_without_the_token() {
    let events = Journal::new();
    let vault = accounts(["planted", "b"]).await;
    let provider = || Talkative(GenericProvider::bearer("x").origin(ORIGIN).unwrap());
    let pool =
        Pool::builder(provider(), vault.clone()).on_event(events.observer()).open().await.unwrap();
    let upstream =
        Upstream::new().answers("planted-1", [Canned::status(401).body("stop for planted-1")]);
    ask(&stacks(&pool, &no_refresh(), &upstream)[0], post()).await;
    assert_eq!(events.count("NeedsSignIn"), 1);
    let restarted = Pool::builder(provider(), vault).open().await.unwrap();
    match status_of(&restarted, "planted").standing.health {
        Health::NeedsSignIn { reason, .. } => assert_eq!(reason, "for …"),
        health => panic!("{health:?}"),
    }
}

#[tokio::test]
async fn a_stop_of_an_older_secret_says_nothing_about_the_new_one() {
    let pool = pool(["a", "b", "c"]).await;
    let gate = Arc::new(tokio::sync::Notify::new());
    let waits = gate.clone();
    let upstream = Upstream::new().answers(
        "a-1",
        [
            Canned::status(401).body("stop late").after(move || {
                let gate = waits.clone();
                async move { gate.notified().await }
            }),
            Canned::status(401),
        ],
    );
    let calls = Journal::new();
    let stack = &stacks(&pool, &renewing(&calls), &upstream)[0];
    let slow = tokio::spawn(ask(stack, post()));
    upstream.seen.reaches(1).await;
    assert_eq!(ask(stack, post()).await.0, 200);
    assert_eq!(calls.all().len(), 1);
    gate.notify_one();
    assert_eq!(slow.await.unwrap().0, 401);
    assert_eq!(status_of(&pool, "a").standing.health, Health::Good);
}

#[tokio::test]
async fn a_token_without_permission_is_not_refreshed_or_cooled_down_and_another_is_tried() {
    let challenge = "Bearer realm=\"x\", error=\"insufficient_scope\", scope=\"write\"";
    for order in 0..ORDERINGS {
        for status in [401, 403] {
            let pool = pool(["a", "b", "c"]).await;
            let calls = Journal::new();
            let response = Canned::status(status).header("www-authenticate", challenge);
            let upstream = Upstream::new().answers("a-1", [response]);
            let stack = &stacks(&pool, &renewing(&calls), &upstream)[order];
            assert_eq!(ask(stack, post()).await.0, 200);
            assert_eq!(upstream.tokens(), ["a-1", "b-1"]);
            assert!(calls.all().is_empty());
            assert_eq!(learnt(&status_of(&pool, "a").standing), standing::Standing::default());
        }
    }
}

#[tokio::test]
async fn without_the_layer_a_body_is_not_read_and_the_limit_is_guessed() {
    let pool = pool(["a", "b", "c"]).await;
    let upstream = Upstream::new().answers("a-1", [Canned::status(429).body("wait 7200")]);
    ask(&stack(four(&pool, &no_refresh()), upstream), post()).await;
    assert!((seconds(30)..=seconds(33)).contains(&cools(&pool, "a")), "{:?}", cools(&pool, "a"));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_body_is_waited_for_half_a_second_and_keeps_its_trailers_and_errors() {
    let pool = pool(["a", "b", "c"]).await;
    let (sender, receiver) = mpsc::unbounded_channel();
    let body = Arc::new(Mutex::new(Some(Trickle(receiver))));
    let upstream = service_fn(move |_: Asked| {
        let body = body.lock().unwrap().take().unwrap();
        let response = http::Response::builder().status(429).body(body);
        std::future::ready(response.map_err(BoxError::from))
    });
    sender.send(Ok(Frame::data(Bytes::from("wait 9")))).unwrap();
    let began = tokio::time::Instant::now();
    let layers = (AuthHeaderLayer::new(pool.clone()), ErrorBodyLayer::new(pool.clone()));
    let service = tower::Layer::layer(&layers, upstream);
    let response = service.oneshot(post()).await.unwrap();
    assert_eq!(began.elapsed(), std::time::Duration::from_millis(500));
    assert_eq!(cools(&pool, "a"), seconds(9));
    sender.send(Ok(Frame::data(Bytes::from(" and more")))).unwrap();
    sender.send(Err("cut off")).unwrap();
    let mut body = response.into_body();
    for expected in ["wait 9", " and more"] {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), expected);
    }
    assert_eq!(body.frame().await.unwrap().unwrap_err(), "cut off");
}

/// A body that yields what a test sends.
struct Trickle(mpsc::UnboundedReceiver<Result<Frame<Bytes>, &'static str>>);

impl Body for Trickle {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pinned<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        self.0.poll_recv(cx)
    }
}

#[tokio::test]
async fn a_body_is_not_polled_after_its_end() {
    let pool = pool(["a", "b", "c"]).await;
    let upstream = service_fn(|_: Asked| {
        let body = Strict(VecDeque::from(["wait ", "9"].map(Bytes::from)), false);
        let response = http::Response::builder().status(429).body(body);
        std::future::ready(response.map_err(BoxError::from))
    });
    let service = tower::Layer::layer(&ErrorBodyLayer::new(pool), upstream);
    let mut body = service.oneshot(post()).await.unwrap().into_body();
    for expected in ["wait ", "9"] {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), expected);
    }
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.is_end_stream());
    for _ in 0..2 {
        assert!(body.frame().await.is_none());
    }
}

/// A body like many streams: it must not be polled after its end, and does not know its length.
struct Strict(VecDeque<Bytes>, bool);

impl Body for Strict {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pinned<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        assert!(!self.1, "polled after its end");
        let piece = self.0.pop_front();
        self.1 = piece.is_none();
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[tokio::test]
async fn an_endless_body_of_empty_pieces_is_not_read_forever() {
    let pool = pool(["a", "b", "c"]).await;
    let upstream = service_fn(|_: Asked| {
        let response = http::Response::builder().status(429).body(Endless);
        std::future::ready(response.map_err(BoxError::from))
    });
    let service = tower::Layer::layer(&ErrorBodyLayer::new(pool), upstream);
    let mut body = service.oneshot(post()).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().unwrap().into_data().unwrap().is_empty());
}

/// A body that yields empty pieces forever.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pinned<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::new()))))
    }
}

#[test]
fn a_challenge_with_an_unclosed_quotation_is_read_once() {
    let endless = [b"\"".as_slice(), &b"\\\"".repeat(200_000)].concat();
    let mut headers = http::HeaderMap::new();
    headers.append("www-authenticate", http::HeaderValue::from_bytes(&endless).unwrap());
    let now = Clock::default().now();
    let refused = Said::new(StatusCode::UNAUTHORIZED, &headers, now);
    assert_eq!(Assessment::in_headers(&refused).verdict, None);
    let bearer = http::HeaderValue::from_static("Bearer error=\"insufficient_scope\"");
    headers.append("www-authenticate", bearer);
    let refused = Said::new(StatusCode::UNAUTHORIZED, &headers, now);
    assert_eq!(Assessment::in_headers(&refused).verdict, Some(Verdict::InsufficientScope));
}

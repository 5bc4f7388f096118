//! What went wrong in the original and elsewhere with rotation, cooldowns and saving, each a test that
//! it does not here.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::{Barrier, Notify};
use tower::ServiceExt;
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::{Change, Cooldown, Health, Outcome, Reason, Standing};
use tower_credentials::vault::VaultExt;
use tower_credentials::*;

use crate::support::*;

/// Waits until this is notified.
fn until(
    notify: &Arc<Notify>,
) -> impl Fn() -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + use<> {
    let notify = notify.clone();
    move || {
        let notify = notify.clone();
        Box::pin(async move { notify.notified().await })
    }
}

fn pinned(label: &str) -> Asked {
    let mut request = post();
    request.extensions_mut().insert(Pin::label(label));
    request
}

// Cooldowns

#[tokio::test]
async fn a_slow_200_that_began_before_a_429_does_not_clear_the_fresh_cooldown() {
    let release = Arc::new(Notify::new());
    let upstream =
        Upstream::new().answers("a", [Canned::ok().after(until(&release)), Canned::limited(30)]);
    let vault = keys(["a", "b"]).await;
    let pool = builder(vault.clone()).clock(HandClock::new().clock()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let slow = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(1).await;
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
    release.notify_one();
    assert_eq!(slow.await.unwrap().0, 200);
    assert_eq!(cools(&pool, "a"), seconds(30));
    let stored = vault.load_pool(key()).await.unwrap().standings;
    assert_eq!(stored.credentials[&status_of(&pool, "a").credential.id].failures, 1);
}

#[tokio::test]
async fn a_200_that_began_after_a_429_clears_the_cooldown() {
    let upstream = Upstream::new().answers("a", [Canned::limited(30), Canned::ok()]);
    let vault = keys(["a", "b"]).await;
    let events = Journal::new();
    let pool = builder(vault.clone()).on_event(events.observer()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream);
    ask(&service, post()).await;
    assert_ne!(cools(&pool, "a"), Duration::ZERO);
    assert_eq!(ask(&service, pinned("a")).await.0, 200);
    assert_eq!(learnt(&status_of(&pool, "a").standing), Standing::default());
    assert_eq!(events.count("Recovered"), 1);
    let id = status_of(&pool, "a").credential.id;
    let stored = vault.load_pool(key()).await.unwrap().standings;
    assert_eq!(learnt(&stored.credentials[&id]), Standing::default(), "in the vault, too");
}

#[tokio::test]
async fn a_slow_200_does_not_clear_a_cooldown_that_another_process_has_set_meanwhile() {
    let release = Arc::new(Notify::new());
    let upstream = Upstream::new().answers("a", [Canned::ok().after(until(&release))]);
    let vault = keys(["a", "b"]).await;
    let clock = HandClock::new();
    let pool = builder(vault.clone()).clock(clock.clock()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let slow = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(1).await;
    let id = status_of(&pool, "a").credential.id;
    vault.record(key(), vec![cooled(id, pool.now(), 30)]).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(cools(&pool, "a"), seconds(30));
    release.notify_one();
    slow.await.unwrap();
    assert_eq!(cools(&pool, "a"), seconds(30));
}

/// What another process would record.
fn cooled(id: CredentialId, now: Timestamp, seconds_: u64) -> Outcome {
    let until = now.after(seconds(seconds_));
    let cooldown = Cooldown {
        until,
        set_at: now,
        reason: Reason::Limited,
        scope: None,
        generation: None,
        cause: None,
    };
    Outcome { id, change: Change::CooledDown { cooldown, failure: true, to_back: true } }
}

#[tokio::test]
async fn a_later_shorter_deadline_never_shortens_a_longer_one() {
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(3000), Canned::limited(10), Canned::limited(4000)]);
    let vault = keys(["a", "b"]).await;
    let pool = builder(vault.clone()).clock(HandClock::new().clock()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream);
    ask(&service, post()).await;
    let mut request = pinned("a");
    assert_eq!(ask(&service, request).await.0, 429);
    assert_eq!(cools(&pool, "a"), seconds(3000));
    let id = status_of(&pool, "a").credential.id;
    let saved = || async { vault.load_pool(key()).await.unwrap().standings.credentials[&id].clone() };
    assert_eq!(saved().await.cooldowns[0].until.since(pool.now()), seconds(3000));
    request = pinned("a");
    ask(&service, request).await;
    assert_eq!(cools(&pool, "a"), seconds(4000), "a longer one prolongs");
    pool.reset(id).await.unwrap();
    assert_eq!(cools(&pool, "a"), Duration::ZERO, "a person may shorten it");
    assert_eq!(learnt(&saved().await), Standing::default());
}

#[tokio::test]
async fn of_429s_at_once_the_longest_deadline_counts_whatever_their_order() {
    for (first, second) in [(10, 3000), (3000, 10)] {
        let (one, two) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let upstream = Upstream::new().answers(
            "a",
            [Canned::limited(first).after(until(&one)), Canned::limited(second).after(until(&two))],
        );
        let pool = builder(keys(["a"]).await).clock(HandClock::new().clock()).open().await.unwrap();
        let service = stack(four(&pool, &no_refresh()), upstream.clone());
        let send = || tokio::spawn(ask(&service, post()));
        let asked = send();
        upstream.seen.reaches(1).await;
        let also = send();
        upstream.seen.reaches(2).await;
        one.notify_one();
        assert_eq!(asked.await.unwrap().0, 429);
        two.notify_one();
        assert_eq!(also.await.unwrap().0, 429);
        assert_eq!(cools(&pool, "a"), seconds(3000));
        assert_eq!(status_of(&pool, "a").standing.failures, 1);
    }
}

#[tokio::test]
async fn an_unavailable_upstream_parks_no_account() {
    for status in [500, 502, 503, 529] {
        let response = Canned::status(status).header("retry-after", "60");
        let upstream = Upstream::new().answers("a", [response]);
        let spy = Planned::new(&keys(["a", "b"]).await, |_, _| Plan::Pass);
        let pool = builder(spy.clone()).open().await.unwrap();
        let service = stack(four(&pool, &no_refresh()), upstream.clone());
        assert_eq!(ask(&service, post()).await.0, status);
        assert_eq!(upstream.tokens(), ["a"]);
        assert!(pool.status().iter().all(|status| learnt(&status.standing) == Standing::default()));
        assert_eq!(order(&pool), ["a", "b"]);
        assert_eq!(spy.count("record"), 0);
    }
}

#[tokio::test]
async fn a_503_rotates_where_the_policy_says_so() {
    let upstream = Upstream::new().answers("a", [Canned::status(503).header("retry-after", "60")]);
    let cooldowns = Cooldowns::default().limited_statuses(|status| status == 429 || status == 503);
    let clock = HandClock::new().clock();
    let pool = builder(keys(["a", "b"]).await).clock(clock).cooldowns(cooldowns).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream);
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
    assert_eq!(cools(&pool, "a"), seconds(60));
}

#[tokio::test]
async fn a_verdict_that_a_token_is_dead_stops_the_credential_at_once_and_visibly() {
    let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
    let vault = accounts(["a", "b"]).await;
    let (events, clock) = (Journal::new(), HandClock::new());
    let pool =
        builder(vault.clone()).clock(clock.clock()).on_event(events.observer()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, post()).await, (200, "b-1".into()));
    let health = status_of(&pool, "a").standing.health;
    assert!(matches!(&health, Health::NeedsSignIn { reason, .. } if reason == "revoked"), "{health:?}");
    assert_eq!(events.count("NeedsSignIn"), 1);
    clock.advance(seconds(100_000));
    upstream.set("b-1", [Canned::limited(30)]);
    assert_eq!(ask(&service, post()).await.0, 429, "it is not even a last resort");
    assert_eq!(upstream.tokens(), ["a-1", "b-1", "b-1"]);

    let reopened = builder(vault).clock(clock.clock()).open().await.unwrap();
    assert_eq!(status_of(&reopened, "a").standing.health, health, "it is saved");
    let error = stack(four(&reopened, &no_refresh()), upstream.clone()).oneshot(pinned("a")).await;
    let error = error.unwrap_err();
    let pin =
        |error: &Error| matches!(error, Error::NeedsSignIn { pin: Some(pin), .. } if pin == "\"a\"");
    assert!(error.downcast_ref().is_some_and(pin), "{error:?}");
    // The other is well.
    assert!(!error.to_string().contains("every"), "{error}");
    assert!(error.to_string().contains("sign in to it again"), "{error}");
}

#[tokio::test]
async fn when_all_need_a_new_sign_in_that_is_the_error() {
    let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
    let pool = builder(accounts(["a"]).await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 401, "the response that taught it is returned");
    let error = service.oneshot(post()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::NeedsSignIn { pin: None, .. })), "{error:?}");
    assert_eq!(upstream.tokens(), ["a-1"]);
}

#[tokio::test]
async fn when_all_cool_down_50_requests_at_once_do_not_pile_on_one_account() {
    let labels = ["a", "b", "c", "d", "e"];
    let all = Arc::new(Barrier::new(50));
    let upstream = labels.iter().fold(Upstream::new(), |upstream, label| {
        let all = all.clone();
        let together = Canned::limited(60).after(move || {
            let all = all.clone();
            async move {
                all.wait().await;
            }
        });
        upstream.answers(label, [Canned::limited(60), together])
    });
    let pool = builder(keys(labels).await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 429);
    assert_eq!(upstream.tokens(), labels);
    let requests: Vec<_> = (0..50).map(|_| tokio::spawn(ask(&service, post()))).collect();
    for request in requests {
        assert_eq!(request.await.unwrap().0, 429);
    }
    assert_eq!(upstream.tokens().len(), 55, "one attempt for each");
    for label in labels {
        assert_eq!(upstream.count(label), 11, "of {label}");
    }
}

// Saving

#[tokio::test]
async fn a_success_writes_nothing() {
    let spy = Planned::new(&keys(["a", "b"]).await, |_, _| Plan::Pass);
    let pool = builder(spy.clone()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), Upstream::new());
    let before = spy.calls.all();
    for _ in 0..10 {
        assert_eq!(ask(&service, post()).await.0, 200);
    }
    assert_eq!(spy.calls.all(), before, "nor reads");
}

#[tokio::test]
async fn a_cooldown_write_touches_no_secret() {
    let spy = Planned::new(&keys(["a", "b"]).await, |_, _| Plan::Pass);
    let pool = builder(spy.clone()).open().await.unwrap();
    let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
    ask(&stack(four(&pool, &no_refresh()), upstream), post()).await;
    assert_eq!(spy.calls.all(), ["load", "record"]);
}

async fn is_saved(vault: &vault::MemoryVault, pool: &Pool, label: &str) -> bool {
    let standings = vault.load_pool(key()).await.unwrap().standings;
    standings.credentials.get(&status_of(pool, label).credential.id)
        == Some(&status_of(pool, label).standing)
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_fails_fails_no_response_an_event_tells_and_it_is_saved_in_the_end() {
    let vault = keys(["a", "b"]).await;
    let spy = Planned::new(&vault, |kind, before| match kind {
        "record" if before < 5 => Plan::Fail,
        _ => Plan::Pass,
    });
    let events = Journal::new();
    let pool =
        builder(spy.clone()).clock(tokio_clock()).on_event(events.observer()).open().await.unwrap();
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    let service = stack(four(&pool, &no_refresh()), upstream);
    let start = tokio::time::Instant::now();
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
    assert_eq!(start.elapsed(), Duration::ZERO, "it is not waited for");
    assert_eq!(events.count("SaveFailed"), 1);
    assert!(!is_saved(&vault, &pool, "a").await);
    assert_eq!(ask(&service, post()).await.0, 200);

    events.has("Saved").await;
    assert!(is_saved(&vault, &pool, "a").await);
    assert_eq!((spy.count("record"), events.count("SaveFailed")), (6, 5));
    assert!(start.elapsed() > seconds(1), "the tries have been further and further apart");
    pool.save().await.unwrap();
    assert_eq!(spy.count("record"), 6, "nothing is left to be saved");
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_hangs_holds_up_no_response_for_long_and_an_event_tells() {
    let vault = keys(["a", "b", "c"]).await;
    let release = Arc::new(Notify::new());
    let hold = release.clone();
    let spy = Planned::new(&vault, move |kind, before| match kind {
        "record" if before == 0 => Plan::Hold(hold.clone()),
        _ => Plan::Pass,
    });
    let events = Journal::new();
    let pool =
        builder(spy.clone()).clock(tokio_clock()).on_event(events.observer()).open().await.unwrap();
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(3000)])
        .answers("b", [Canned::ok(), Canned::limited(3000)]);
    let service = stack(four(&pool, &no_refresh()), upstream);
    let start = tokio::time::Instant::now();
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(start.elapsed(), seconds(1));
    assert_eq!(events.count("SaveFailed"), 1);
    assert_eq!(ask(&service, post()).await, (200, "c".into()), "another outcome while it hangs");
    assert_eq!(start.elapsed(), seconds(1), "from now on nobody waits");

    release.notify_one();
    events.until(|events| events.iter().filter(|event| event.starts_with("Saved")).count() == 2).await;
    assert!(is_saved(&vault, &pool, "a").await && is_saved(&vault, &pool, "b").await);
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_hangs_for_ever_is_survived_by_a_timeout_around_it() {
    let vault = keys(["a", "b"]).await;
    let spy = Planned::new(&vault, |kind, before| match kind {
        "record" if before == 0 => Plan::Hang,
        _ => Plan::Pass,
    });
    let guarded = tower::timeout::Timeout::new(spy, seconds(5));
    let events = Journal::new();
    let pool = builder(guarded).clock(tokio_clock()).on_event(events.observer()).open().await.unwrap();
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    let service = stack(four(&pool, &no_refresh()), upstream);
    assert_eq!(ask(&service, post()).await.0, 200);
    events.has("Saved").await;
    assert!(is_saved(&vault, &pool, "a").await);
}

#[tokio::test]
async fn what_was_learnt_before_a_network_error_is_saved_whatever_the_order_of_layers() {
    let upstream = || {
        Upstream::new()
            .answers("a", [Canned::limited(3000)])
            .answers("b", [Canned::fails(ErrorKind::ConnectionReset)])
    };
    type Stacked = fn(&Pool, Upstream) -> Stack;
    let orders: [(&str, Stacked); 3] = [
        ("persist inside", |pool, upstream| stack(four(pool, &no_refresh()), upstream)),
        ("persist outside", |pool, upstream| {
            let (rotate, refresh, auth, persist) = four(pool, &no_refresh());
            stack((persist, rotate, refresh, auth), upstream)
        }),
        ("as one", |pool, upstream| stack(CredentialsLayer::new(pool.clone()), upstream)),
    ];
    for (order, stacked) in orders {
        let vault = keys(["a", "b"]).await;
        let events = Journal::new();
        let pool = builder(vault.clone()).on_event(events.observer()).open().await.unwrap();
        stacked(&pool, upstream()).oneshot(post()).await.unwrap_err();
        // What is saved is saved by a task that has been started by now.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        assert!(is_saved(&vault, &pool, "a").await, "{order}");
    }
}

#[tokio::test]
async fn a_sync_that_was_overtaken_by_a_save_does_not_forget_the_cooldown() {
    let vault = keys(["a", "b"]).await;
    let release = Arc::new(Notify::new());
    let hold = release.clone();
    let spy = Planned::new(&vault, move |kind, before| match kind {
        "load" if before == 1 => Plan::Hold(hold.clone()),
        _ => Plan::Pass,
    });
    let pool = builder(spy.clone()).open().await.unwrap();
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    let service = stack(four(&pool, &no_refresh()), upstream);
    // Another process renames b, so that there is something to read.
    vault.relabel(status_of(&pool, "b").credential.id, "bee").await.unwrap();
    let syncing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.sync().await.unwrap() }
    });
    spy.calls.until(|calls| calls.iter().filter(|call| **call == "load").count() == 2).await;
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
    assert!(is_saved(&vault, &pool, "a").await);
    release.notify_one();
    syncing.await.unwrap();
    assert_ne!(cools(&pool, "a"), Duration::ZERO);
}

// Network errors

/// A server that accepts, reads a whole request and closes the connection; how often it did.
async fn rude_server() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    use tokio::io::AsyncReadExt;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let requests = count.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"a question") {
                if stream.read_buf(&mut read).await.unwrap() == 0 {
                    break;
                }
            }
            requests.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, count)
}

#[tokio::test]
async fn a_post_is_not_sent_again_after_an_error_that_came_after_it_may_have_been_sent() {
    let (address, count) = rude_server().await;
    let origin = format!("http://{address}");
    let provider = GenericProvider::bearer("x").origin(&origin).unwrap();
    let pool = Pool::builder(provider, keys(["a", "b"]).await).open().await.unwrap();
    let service: Stack<Incoming> = stack(four(&pool, &no_refresh()), client());
    let request = || Request::post(&origin).body(Full::from("a question")).unwrap();
    let error = service.oneshot(request()).await.unwrap_err();
    assert!(!is_connect_error(&error), "{error:?}");
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!((pool.counters().attempts, pool.counters().rotations), (1, 0));

    // Unless the caller says that it may be.
    let (rotate, ..) = four(&pool, &no_refresh());
    let rotate = rotate.network(NetworkRetry::default().times(2).when(|_| true));
    let service: Stack<Incoming> = stack((rotate, AuthHeaderLayer::new(pool.clone())), client());
    service.oneshot(request()).await.unwrap_err();
    assert_eq!(count.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_post_is_sent_again_after_a_refused_connection() {
    // The first connection goes to a port that nobody listens on, the second one to the server.
    let upstream = Upstream::new();
    let server = Server::start(&upstream).await;
    let pool = server.builder(keys(["a", "b"]).await).open().await.unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (connects, open) = (Arc::new(AtomicUsize::new(0)), server.address);
    let tries = connects.clone();
    let connector = tower::service_fn(move |_: http::Uri| {
        let address = if tries.fetch_add(1, Ordering::SeqCst) == 0 { closed } else { open };
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        })
    });
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build::<_, Full<bytes::Bytes>>(connector);
    let service: Stack<Incoming> = stack(four(&pool, &no_refresh()), client);
    assert_eq!(ask(&service, server.post()).await, (200, "a".into()));
    assert_eq!(connects.load(Ordering::SeqCst), 2);
    assert_eq!(upstream.seen.all()[0].body, "a question");
}

// How many attempts

#[tokio::test]
async fn one_request_costs_at_most_an_attempt_for_each_credential_one_for_each_refresh_and_the_repeats()
{
    let labels = ["a", "b", "c"];
    let upstream = labels.iter().fold(Upstream::new(), |upstream, label| {
        upstream
            .answers(&format!("{label}-1"), [Canned::status(401)])
            .answers(&format!("{label}-2"), [Canned::limited(30)])
    });
    let refused = [Canned::fails(ErrorKind::ConnectionRefused), Canned::status(401)];
    let upstream = upstream.answers("a-1", refused);
    let pool = builder(accounts(labels).await).open().await.unwrap();
    let refreshes = Journal::new();
    let service = stack(four(&pool, &renewing(&refreshes)), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 429);
    assert_eq!(upstream.tokens(), ["a-1", "a-1", "a-2", "b-1", "b-2", "c-1", "c-2"]);
    assert_eq!(refreshes.all(), labels);
    let counters = pool.counters();
    assert_eq!(
        (counters.requests, counters.attempts, counters.rotations, counters.refreshes),
        (1, 7, 2, 3)
    );
}

#[tokio::test]
async fn every_credential_is_tried_in_one_request_whatever_the_others_refreshes_cost() {
    let labels = ["a", "b", "c", "d"];
    let upstream = ["a", "b", "c"].iter().fold(Upstream::new(), |upstream, label| {
        upstream
            .answers(&format!("{label}-1"), [Canned::status(401)])
            .answers(&format!("{label}-2"), [Canned::status(401)])
    });
    let pool = builder(accounts(labels).await).open().await.unwrap();
    let service = stack(four(&pool, &renewing(&Journal::new())), upstream.clone());
    assert_eq!(ask(&service, post()).await, (200, "d-1".into()));
    let tried: HashSet<_> = upstream.tokens().into_iter().collect();
    assert_eq!(tried.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_first_request_is_repeated_no_more_often_than_a_later_one() {
    for stacked in ORDERS {
        let pool = builder(keys(["a", "b"]).await).open().await.unwrap();
        let refused = Canned::fails(std::io::ErrorKind::ConnectionRefused);
        let upstream = Upstream::new().answers("a", [refused]);
        let service = stacked(&pool, upstream.clone());
        for attempts in [2, 4] {
            service.clone().oneshot(post()).await.unwrap_err();
            assert_eq!(upstream.count("a"), attempts);
        }
    }
}

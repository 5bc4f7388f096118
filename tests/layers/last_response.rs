//! When each account last answered, and how: told for every response, and saved without a request that waits
//! for it, or a write more than one a minute.

#![cfg(feature = "file")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::Notify;
use tower::ServiceExt;
use tower_credentials::standing::{Change, LastResponse, Outcome, Standing};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

const MINUTE: Duration = Duration::from_secs(60);

/// The status of its latest response, and how long ago that was.
fn last(pool: &Pool, label: &str) -> Option<(u16, Duration)> {
    let response = status_of(pool, label).standing.last_response?;
    Some((response.status, pool.now().since(response.at)))
}

/// The status that the vault has.
async fn saved(vault: &MemoryVault, label: &str) -> Option<u16> {
    let stored = vault.load_pool(key()).await.unwrap();
    let of_label = |stored: &&Credential| &*stored.metadata.label == label;
    let id = stored.credentials.iter().find(of_label).unwrap().metadata.id;
    Some(stored.standings.credentials.get(&id)?.last_response?.status)
}

fn answered(id: CredentialId, at: u64, status: u16) -> Outcome {
    let at = Timestamp::from_millis(at);
    Outcome { id, change: Change::Answered(LastResponse { at, status }) }
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

// What is told

#[tokio::test(start_paused = true)]
async fn every_attempts_status_counts_in_every_order_of_the_layers() {
    for order in ORDERS {
        let upstream = Upstream::new()
            .answers("a", [Canned::limited(10), Canned::ok()])
            .answers("b", [Canned::status(401), Canned::status(503), Canned::status(204)]);
        let pool = builder(keys(["a", "b", "c", "d"]).await).clock(tokio_clock()).open().await.unwrap();
        let service = order(&pool, upstream);
        assert_eq!(["a", "b", "c", "d"].map(|label| last(&pool, label)), [None; 4]);
        assert_eq!(ask(&service, post()).await.1, "c");
        let at_once = |status| Some((status, Duration::ZERO));
        assert_eq!(last(&pool, "a"), at_once(429));
        assert_eq!(last(&pool, "b"), at_once(401));
        assert_eq!(last(&pool, "c"), at_once(200));
        assert_eq!(last(&pool, "d"), None);
        pass(seconds(7)).await;
        assert_eq!(last(&pool, "a"), Some((429, seconds(7))));
        for expected in [503, 204] {
            let mut pinned = post();
            pinned.extensions_mut().insert(Pin::label("b"));
            assert_eq!(ask(&service, pinned).await.0, expected);
            assert_eq!(last(&pool, "b"), at_once(expected));
        }
        assert_eq!(last(&pool, "a"), Some((429, seconds(7))));
    }
}

#[tokio::test(start_paused = true)]
async fn the_response_to_a_renewed_token_comes_after_the_refusal() {
    let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
    let pool = builder(accounts(["a", "b"]).await).clock(tokio_clock()).open().await.unwrap();
    let service = stack(four(&pool, &renewing(&Journal::new())), upstream.clone());
    assert_eq!(ask(&service, post()).await.1, "a-2");
    assert_eq!(last(&pool, "a"), Some((200, Duration::ZERO)));
    upstream.set("a-2", [Canned::status(418)]);
    ask(&service, post()).await;
    assert_eq!(last(&pool, "a"), Some((418, Duration::ZERO)), "of a later generation, too");
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_network_leaves_it() {
    for order in ORDERS {
        let refused = || Canned::fails(std::io::ErrorKind::ConnectionRefused);
        let upstream = Upstream::new().answers("a", [Canned::ok(), refused()]);
        let pool = builder(keys(["a"]).await).clock(tokio_clock()).open().await.unwrap();
        let service = order(&pool, upstream);
        ask(&service, post()).await;
        pass(seconds(5)).await;
        service.clone().oneshot(post()).await.unwrap_err();
        // The second try comes after a pause.
        let (status, ago) = last(&pool, "a").unwrap();
        assert_eq!(status, 200);
        assert!(ago >= seconds(5), "{ago:?}");
    }
}

#[tokio::test]
async fn by_the_systems_clock_it_is_when_the_response_came_or_when_it_was_looked_at() {
    let pool = builder(keys(["a"]).await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), Upstream::new());
    let before = pool.now();
    ask(&service, post()).await;
    let first = status_of(&pool, "a").standing.last_response.unwrap();
    assert!((before..=pool.now()).contains(&first.at), "{first:?}");
    assert_eq!(status_of(&pool, "a").standing.last_response, Some(first), "it does not move");
}

#[tokio::test(start_paused = true)]
async fn a_reset_leaves_it_and_a_success_of_another_account_does() {
    let vault = keys(["a", "b"]).await;
    let upstream = Upstream::new().answers("a", [Canned::limited(10)]);
    let pool = builder(vault.clone()).clock(tokio_clock()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream);
    ask(&service, post()).await;
    pool.reset(status_of(&pool, "a").credential.id).await.unwrap();
    assert_eq!(last(&pool, "a"), Some((429, Duration::ZERO)));
    assert_eq!(saved(&vault, "a").await, Some(429));
    assert_eq!(learnt(&status_of(&pool, "a").standing), Standing::default());
}

// What is saved, and when

#[tokio::test(start_paused = true)]
async fn good_responses_are_saved_once_a_minute_and_by_no_request() {
    for order in ORDERS {
        let vault = keys(["a", "b"]).await;
        let spy = Planned::new(&vault, |_, _| Plan::Pass);
        let pool = builder(spy.clone()).clock(tokio_clock()).open().await.unwrap();
        let service = order(&pool, Upstream::new());
        pass(Duration::from_millis(500)).await;
        for minute in 1..=3 {
            for _ in 0..59 {
                ask(&service, post()).await;
                pass(seconds(1)).await;
                assert_eq!(spy.count("record"), minute - 1);
            }
            pass(seconds(1)).await;
            assert_eq!(spy.count("record"), minute);
            assert_eq!(saved(&vault, "a").await, Some(200));
        }
        pass(MINUTE * 10).await;
        assert_eq!(spy.count("record"), 3, "nothing was asked, nothing is saved");
        assert_eq!(saved(&vault, "b").await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn how_often_is_the_programs_to_say() {
    for (every, expected) in [(Some(seconds(5)), 20), (Some(seconds(1)), 100), (None, 0)] {
        let spy = Planned::new(&keys(["a"]).await, |_, _| Plan::Pass);
        let open = builder(spy.clone()).clock(tokio_clock()).save_last_responses_every(every);
        let pool = open.open().await.unwrap();
        let service = stack(four(&pool, &no_refresh()), Upstream::new());
        pass(Duration::from_millis(500)).await;
        for _ in 0..100 {
            ask(&service, post()).await;
            pass(seconds(1)).await;
        }
        assert_eq!(spy.count("record"), expected, "{every:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_whose_stacks_never_save_stays_unsaved_but_for_a_call_of_save() {
    let vault = keys(["a"]).await;
    let spy = Planned::new(&vault, |_, _| Plan::Pass);
    let pool = builder(spy.clone()).clock(tokio_clock()).open().await.unwrap();
    let (rotate, refresh, auth, _) = four(&pool, &no_refresh());
    let service: Stack = stack((rotate, refresh, auth), Upstream::new());
    ask(&service, post()).await;
    pass(MINUTE * 10).await;
    assert_eq!(spy.count("record"), 0);
    for _ in 0..2 {
        pool.save().await.unwrap();
        assert_eq!(spy.count("record"), 1, "once is enough");
    }
    assert_eq!(saved(&vault, "a").await, Some(200));
}

#[tokio::test(start_paused = true)]
async fn it_goes_along_with_what_else_is_saved() {
    let vault = keys(["a", "b"]).await;
    let spy = Planned::new(&vault, |_, _| Plan::Pass);
    let upstream = Upstream::new().answers("a", [Canned::ok(), Canned::limited(10)]);
    let pool = builder(spy.clone()).clock(tokio_clock()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream);
    ask(&service, post()).await;
    assert_eq!(spy.count("record"), 0);
    ask(&service, post()).await;
    assert_eq!(spy.count("record"), 1);
    assert_eq!(saved(&vault, "a").await, Some(429));
    pool.pause(status_of(&pool, "a").credential.id).await.unwrap();
    assert_eq!(spy.count("record"), 2);
    assert_eq!(saved(&vault, "b").await, Some(200));
    pass(MINUTE * 2).await;
    assert_eq!(spy.count("record"), 2, "all of it was saved");
}

#[tokio::test(start_paused = true)]
async fn no_request_waits_for_it_and_a_vault_that_fails_is_asked_again() {
    let vault = keys(["a"]).await;
    let release = Arc::new(Notify::new());
    let hold = release.clone();
    let spy = Planned::new(&vault, move |kind, before| match kind {
        "record" if before == 0 => Plan::Fail,
        "record" => Plan::Hold(hold.clone()),
        _ => Plan::Pass,
    });
    let pool = builder(spy.clone()).clock(tokio_clock()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), Upstream::new());
    ask(&service, post()).await;
    pass(MINUTE).await;
    spy.calls.until(|calls| calls.iter().filter(|call| **call == "record").count() == 2).await;
    let before = pool.now();
    ask(&service, post()).await;
    assert_eq!(pool.now(), before, "though it is being saved just now");
    release.notify_one();
    pass(MINUTE).await;
    release.notify_one();
    pool.save().await.unwrap();
    assert_eq!(saved(&vault, "a").await, Some(200));
    pass(MINUTE * 10).await;
    assert_eq!(spy.count("record"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_sync_while_it_is_being_saved_takes_over_what_others_have_changed() {
    let vault = keys(["a"]).await;
    let release = Arc::new(Notify::new());
    let hold = release.clone();
    let spy = Planned::new(&vault, move |kind, _| match kind {
        "record" => Plan::Hold(hold.clone()),
        _ => Plan::Pass,
    });
    let pool = builder(spy.clone()).clock(tokio_clock()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), Upstream::new());
    ask(&service, post()).await;
    pass(MINUTE - seconds(1)).await;
    spy.calls.until(|calls| calls.contains(&"record")).await;
    vault.put(account("b")).await.unwrap();
    release.notify_one();
    pool.sync().await.unwrap();
    assert_eq!(pool.status().len(), 2);
}

/// Counts how often a task would run.
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn another_pools_responses_wake_no_request_that_waits() {
    let vault = keys(["a"]).await;
    let release = Arc::new(Notify::new());
    let held = release.clone();
    let slow = Canned::ok().after(move || {
        let held = held.clone();
        async move { held.notified().await }
    });
    let upstream = Upstream::new().answers("a", [slow, Canned::ok()]);
    let open = builder(vault.clone()).clock(tokio_clock()).sync_every(None);
    let pool = open.max_in_flight(std::num::NonZeroU32::MIN).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let first = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(1).await;

    let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
    let waker = wakes.clone().into();
    let mut waiting = Box::pin(ask(&service, post()));
    let mut poll = || waiting.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(poll().is_pending());
    let id = status_of(&pool, "a").credential.id;
    vault.record(key(), vec![answered(id, pool.now().as_millis() + 1, 299)]).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(last(&pool, "a").unwrap().0, 299, "it was taken over");
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
    release.notify_one();
    first.await.unwrap();
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    assert!(matches!(poll(), Poll::Ready((200, _))));
}

// Several processes

#[tokio::test(start_paused = true)]
async fn of_two_pools_responses_the_later_one_stays_whoever_saves_first() {
    for later_saves_first in [false, true] {
        let vault = keys(["a"]).await;
        let clock = tokio_clock();
        let open = async |status| {
            let open = builder(vault.clone()).clock(clock.clone()).sync_every(None);
            let pool = open.open().await.unwrap();
            let upstream = Upstream::new().answers("a", [Canned::status(status)]);
            (pool.clone(), stack(four(&pool, &no_refresh()), upstream))
        };
        let (early, early_service) = open(201).await;
        let (late, late_service) = open(202).await;
        ask(&early_service, post()).await;
        pass(seconds(1)).await;
        ask(&late_service, post()).await;
        let order = if later_saves_first { [&late, &early] } else { [&early, &late] };
        for pool in order {
            pool.save().await.unwrap();
        }
        assert_eq!(saved(&vault, "a").await, Some(202));
        for pool in [&early, &late] {
            pool.sync().await.unwrap();
            assert_eq!(last(pool, "a"), Some((202, Duration::ZERO)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_from_the_future_hides_no_other() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    // The vault keeps one that may yet come true; the pool passes over both.
    for (ahead, kept) in [(MINUTE * 5, 418), (DAY - MINUTE, 418), (DAY * 3650, 200)] {
        let vault = keys(["a"]).await;
        let spy = Planned::new(&vault, |_, _| Plan::Pass);
        let pool = builder(spy.clone()).clock(tokio_clock()).open().await.unwrap();
        let id = status_of(&pool, "a").credential.id;
        let misdated = answered(id, pool.now().after(ahead).as_millis(), 418);
        vault.record(key(), vec![misdated]).await.unwrap();
        pool.sync().await.unwrap();
        assert_eq!(last(&pool, "a"), None);
        ask(&stack(four(&pool, &no_refresh()), Upstream::new()), post()).await;
        assert_eq!(last(&pool, "a"), Some((200, Duration::ZERO)));
        pass(MINUTE * 3).await;
        pool.sync().await.unwrap();
        assert_eq!(last(&pool, "a"), Some((200, MINUTE * 3)));
        assert_eq!(saved(&vault, "a").await, Some(kept));
        assert_eq!(spy.count("record"), 1, "it is saved once, whatever becomes of it");
    }
}

#[tokio::test]
async fn a_pool_whose_clock_was_set_right_tells_of_what_comes_after() {
    let vault = keys(["a"]).await;
    let spy = Planned::new(&vault, |_, _| Plan::Pass);
    let ahead = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_ahead = ahead.clone();
    let clock = Clock::from_fn(move || {
        let years = u64::from(is_ahead.load(Ordering::SeqCst)) * 10;
        std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000 + years * 365 * 24 * 60 * 60)
    });
    let pool = builder(spy.clone()).clock(clock).sync_every(None).open().await.unwrap();
    let upstream = Upstream::new().answers("a", [Canned::status(418), Canned::ok()]);
    let service = stack(four(&pool, &no_refresh()), upstream);
    ask(&service, post()).await;
    pool.save().await.unwrap();
    assert_eq!(saved(&vault, "a").await, Some(418));
    ahead.store(false, Ordering::SeqCst);
    pool.save().await.unwrap();
    assert_eq!(spy.count("record"), 1, "one from the future is not saved again");
    ask(&service, post()).await;
    assert_eq!(last(&pool, "a"), Some((200, Duration::ZERO)));
    pool.save().await.unwrap();
    assert_eq!((saved(&vault, "a").await, spy.count("record")), (Some(200), 2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, failure_persistence: None, ..Default::default() })]

    #[test]
    fn responses_merge_to_the_latest_in_any_order_and_any_number(
        responses in prop::collection::vec((0_u64..20, 100_u16..600), 1..20),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let id = CredentialId::random();
        let outcomes: Vec<_> =
            responses.iter().map(|(at, status)| answered(id, *at, *status)).collect();
        let merged = |outcomes: &mut dyn Iterator<Item = &Outcome>| {
            let mut standing = Standing::default();
            outcomes.for_each(|outcome| standing.merge(&outcome.change));
            standing
        };
        let expected = merged(&mut outcomes.iter());
        let latest = responses.iter().map(|(at, _)| *at).max().unwrap();
        prop_assert_eq!(expected.last_response.unwrap().at.as_millis(), latest);
        prop_assert_eq!(learnt(&expected), Standing::default());
        prop_assert_eq!(&merged(&mut outcomes.iter().rev()), &expected);
        let repeated = again.iter().map(|index| index.get(&outcomes));
        prop_assert_eq!(&merged(&mut repeated.chain(&outcomes)), &expected);
    }
}

#[tokio::test]
async fn a_directory_keeps_the_last_one_only_and_does_not_grow() {
    let directory = tempfile::tempdir().unwrap();
    let key_ = VaultKey::generate();
    let open = async || FileVault::open(directory.path(), &key_).await.unwrap();
    let vault = open().await;
    let credential = Credential::new(key(), "a", Secret::api_key("a"));
    let id = vault.put(credential).await.unwrap().id;
    let other = open().await;
    let length = || {
        let files = std::fs::read_dir(directory.path().join("pools")).unwrap();
        let lengths = files.map(|file| file.unwrap().metadata().unwrap().len());
        lengths.sum::<u64>()
    };
    let mut longest = 0;
    for at in 1..=2_000 {
        let vault = if at % 2 == 0 { &vault } else { &other };
        vault.record(key(), vec![answered(id, at, 200)]).await.unwrap();
        longest = longest.max(length());
    }
    // A log is compacted from 64 KiB on.
    assert!((60_000..70_000).contains(&longest), "{longest}");
    vault.record(key(), vec![answered(id, 1_500, 500)]).await.unwrap();
    for vault in [vault, other, open().await] {
        let standing = vault.load_pool(key()).await.unwrap().standings.credentials[&id].clone();
        let last_response = LastResponse { at: Timestamp::from_millis(2_000), status: 200 };
        assert_eq!(standing, Standing { last_response: Some(last_response), ..Standing::default() });
    }
}

#[tokio::test]
async fn two_openings_of_one_directory_know_of_each_others_responses() {
    let directory = tempfile::tempdir().unwrap();
    let key_ = VaultKey::generate();
    let clock = HandClock::new();
    let open = async || {
        let vault = FileVault::open(directory.path(), &key_).await.unwrap();
        let open = builder(vault.clone()).clock(clock.clock()).sync_every(None);
        (vault, open.open().await.unwrap())
    };
    let (vault, first) = open().await;
    for label in ["a", "b"] {
        vault.put(Credential::new(key(), label, Secret::api_key(label))).await.unwrap();
    }
    first.sync().await.unwrap();
    let (_, second) = open().await;
    ask(&stack(four(&first, &no_refresh()), Upstream::new()), post()).await;
    first.save().await.unwrap();
    clock.advance(seconds(3));
    second.sync().await.unwrap();
    assert_eq!(last(&second, "a"), Some((200, seconds(3))));
    let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
    ask(&stack(four(&second, &no_refresh()), upstream), post()).await;
    second.save().await.unwrap();
    clock.advance(seconds(4));
    let (_, reopened) = open().await;
    first.sync().await.unwrap();
    for pool in [&first, &second, &reopened] {
        assert_eq!(last(pool, "a"), Some((429, seconds(4))));
        assert_eq!(last(pool, "b"), Some((200, seconds(4))));
    }
}

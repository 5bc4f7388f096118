//! Many requests at once, and requests that are given up.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Barrier, Notify, Semaphore};
use tower::ServiceExt;
use tower_credentials::standing::Health;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

/// Lets nothing through until permits are added.
fn gated(response: Canned, gate: &Arc<Semaphore>) -> Canned {
    let gate = gate.clone();
    response.after(move || {
        let gate = gate.clone();
        async move { gate.acquire().await.unwrap().forget() }
    })
}

// One account becomes limited

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_100_requests_at_once_when_an_account_becomes_limited_none_fails_and_it_is_moved_once() {
    let all = Arc::new(Barrier::new(100));
    let together = Canned::limited(3000).after(move || {
        let all = all.clone();
        async move {
            all.wait().await;
        }
    });
    let upstream = Upstream::new().answers("a", [together]);
    let (events, vault) = (Journal::new(), keys(["a", "b", "c"]).await);
    let pool = builder(vault.clone()).on_event(events.observer()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let requests: Vec<_> = (0..100).map(|_| tokio::spawn(ask(&service, post()))).collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), (200, "b".into()));
    }
    assert_eq!((upstream.count("a"), upstream.count("b")), (100, 100));
    assert_eq!(order(&pool), ["b", "c", "a"]);
    assert_eq!(status_of(&pool, "a").standing.failures, 1);
    let id = status_of(&pool, "a").credential.id;
    let stored = vault.load_pool(key()).await.unwrap().standings;
    assert_eq!(learnt(&stored.credentials[&id]), learnt(&status_of(&pool, "a").standing));
    assert_eq!(stored.order.last(), Some(&id));
    assert_eq!(pool.counters().rotations, 100);
}

#[tokio::test]
async fn no_attempt_goes_to_an_account_after_its_429_was_seen() {
    // One request learns of the limit while 30 others, that it was too late for, are with the upstream;
    // all that begin later go to the next account at once.
    let gate = Arc::new(Semaphore::new(0));
    let slow = gated(Canned::limited(3000), &gate);
    let script = (0..30).map(|_| slow.clone()).chain([Canned::limited(3000)]);
    let upstream = Upstream::new().answers("a", script);
    let pool = builder(keys(["a", "b"]).await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let early: Vec<_> = (0..30).map(|_| tokio::spawn(ask(&service, post()))).collect();
    upstream.seen.reaches(30).await;
    assert_eq!(ask(&service, post()).await.0, 200);
    let late: Vec<_> = (0..69).map(|_| tokio::spawn(ask(&service, post()))).collect();
    for request in late {
        assert_eq!(request.await.unwrap().0, 200);
    }
    gate.add_permits(30);
    for request in early {
        assert_eq!(request.await.unwrap().0, 200);
    }
    let tokens = upstream.tokens();
    assert!(tokens[..31].iter().all(|token| token == "a"));
    assert!(tokens[31..].iter().all(|token| token == "b"));
    assert_eq!(tokens.len(), 131);
    assert_eq!(status_of(&pool, "a").standing.failures, 1);
}

// Refresh

/// Four layers over two accounts, the first of which needs a refresh that waits for the gate.
struct HeldRefresh {
    gate: Arc<Semaphore>,
    /// What was refreshed.
    calls: Journal<String>,
    events: Journal<String>,
    vault: MemoryVault,
    /// What the vault was asked.
    spy: Planned,
    pool: Pool,
    upstream: Upstream,
    service: Stack,
}

impl HeldRefresh {
    /// The refresh comes to a new secret, or to the vendor's refusal.
    async fn new(works: bool) -> Self {
        let (gate, calls, events) = (Arc::new(Semaphore::new(0)), Journal::new(), Journal::new());
        let refresher = {
            let (gate, calls) = (gate.clone(), calls.clone());
            Refresher::new(move |credential: Credential| {
                let gate = gate.clone();
                calls.push(credential.metadata.label.to_string());
                async move {
                    gate.acquire().await.unwrap().forget();
                    match works {
                        true => Ok(renewed(&credential.metadata)),
                        false => Err(RefreshError::rejected("revoked")),
                    }
                }
            })
        };
        let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
        let vault = accounts(["a", "b"]).await;
        let spy = Planned::new(&vault, |_, _| Plan::Pass);
        let pool = builder(spy.clone()).on_event(events.observer()).open().await.unwrap();
        let service = stack(four(&pool, &refresher), upstream.clone());
        Self { gate, calls, events, vault, spy, pool, upstream, service }
    }
}

#[tokio::test]
async fn of_200_requests_with_an_expired_token_one_refreshes_and_all_are_answered() {
    // The new token is there only once all have found out that the old one has expired.
    let HeldRefresh { gate, calls, vault, spy, pool, upstream, service, .. } =
        HeldRefresh::new(true).await;
    let requests: Vec<_> = (0..200).map(|_| tokio::spawn(ask(&service, post()))).collect();
    upstream.seen.reaches(200).await;
    settle().await;
    gate.add_permits(200);
    for request in requests {
        assert_eq!(request.await.unwrap(), (200, "a-2".into()));
    }
    assert_eq!(calls.all(), ["a"]);
    assert_eq!((upstream.count("a-1"), upstream.count("a-2")), (200, 200));
    assert_eq!((spy.count("lease"), spy.count("replace")), (1, 1), "nor is the vault asked more often");
    assert_eq!(pool.counters().refreshes, 1);
    assert_eq!(
        vault.get(status_of(&pool, "a").credential.id).await.unwrap().metadata.generation.get(),
        2
    );
}

#[tokio::test]
async fn a_stale_401_costs_no_refresh() {
    let gate = Arc::new(Semaphore::new(0));
    let slow = gated(Canned::status(401), &gate);
    let upstream = Upstream::new().answers("a-1", [slow, Canned::status(401)]);
    let pool = builder(accounts(["a", "b"]).await).open().await.unwrap();
    let refreshes = Journal::new();
    let service = stack(four(&pool, &renewing(&refreshes)), upstream.clone());
    let slow = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(1).await;
    assert_eq!(ask(&service, post()).await, (200, "a-2".into()));
    gate.add_permits(1);
    assert_eq!(slow.await.unwrap(), (200, "a-2".into()));
    assert_eq!(refreshes.all(), ["a"]);
}

#[tokio::test]
async fn a_secret_that_another_process_has_renewed_is_taken_over_without_a_refresh() {
    let vault = accounts(["a"]).await;
    let pool = builder(vault.clone()).open().await.unwrap();
    let stored = pool.status()[0].credential.clone();
    vault.replace_secret(stored.id, stored.generation, renewed(&stored)).await.unwrap();
    let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
    let refreshes = Journal::new();
    let service = stack(four(&pool, &renewing(&refreshes)), upstream);
    assert_eq!(ask(&service, post()).await, (200, "a-2".into()));
    assert!(refreshes.all().is_empty());
}

#[tokio::test]
async fn a_caller_who_is_dropped_in_the_middle_of_a_refresh_does_not_lose_the_new_secret() {
    let HeldRefresh { gate, calls, events, vault, pool, upstream, service, .. } =
        HeldRefresh::new(true).await;
    let request = tokio::spawn(ask(&service, post()));
    calls.reaches(1).await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    events.has("Refreshed").await;
    let id = status_of(&pool, "a").credential.id;
    assert_eq!(vault.get(id).await.unwrap().secret.token().expose(), "a-2");
    assert_eq!(ask(&service, post()).await, (200, "a-2".into()));
    assert_eq!(upstream.tokens(), ["a-1", "a-2"]);
}

#[tokio::test]
async fn of_two_callers_who_wait_for_a_refresh_the_second_is_answered_when_the_first_is_dropped() {
    let HeldRefresh { gate, calls, upstream, service, .. } = HeldRefresh::new(true).await;
    let first = tokio::spawn(ask(&service, post()));
    calls.reaches(1).await;
    let second = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(2).await;
    first.abort();
    gate.add_permits(1);
    assert_eq!(second.await.unwrap(), (200, "a-2".into()));
    assert_eq!(calls.all(), ["a"]);
}

#[tokio::test]
async fn a_verdict_that_comes_after_the_caller_has_gone_is_saved_too() {
    let HeldRefresh { gate, calls, events, vault, pool, service, .. } = HeldRefresh::new(false).await;
    let request = tokio::spawn(ask(&service, post()));
    calls.reaches(1).await;
    request.abort();
    gate.add_permits(1);
    events.has("NeedsSignIn").await;
    settle().await;
    let id = status_of(&pool, "a").credential.id;
    let health = status_of(&pool, "a").standing.health;
    assert!(matches!(&health, Health::NeedsSignIn { reason, .. } if reason == "revoked"), "{health:?}");
    let stored = vault.load_pool(key()).await.unwrap().standings;
    assert_eq!(stored.credentials.get(&id).map(|standing| &standing.health), Some(&health));
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_that_cannot_be_saved_is_used_by_nobody_until_it_is_and_never_exchanged_again() {
    let vault = accounts(["a", "b"]).await;
    let spy = Planned::new(&vault, |kind, before| match kind {
        "replace" if before < 6 => Plan::Fail,
        _ => Plan::Pass,
    });
    let (events, refreshes) = (Journal::new(), Journal::new());
    let pool = builder(spy).clock(tokio_clock()).on_event(events.observer()).open().await.unwrap();
    let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
    let service = stack(four(&pool, &renewing(&refreshes)), upstream.clone());
    assert_eq!(ask(&service, post()).await, (200, "b-1".into()), "the request goes on without it");
    assert!(upstream.count("a-2") == 0 && events.count("SecretNotSaved") >= 3);
    events.has("Refreshed").await;
    assert_eq!(events.count("SecretNotSaved"), 6);
    assert_eq!(refreshes.all(), ["a"]);
    let id = status_of(&pool, "a").credential.id;
    assert_eq!(vault.get(id).await.unwrap().secret.token().expose(), "a-2");
    let mut request = post();
    request.extensions_mut().insert(Pin::label("a"));
    assert_eq!(ask(&service, request).await, (200, "a-2".into()));
}

// Dropped requests

#[tokio::test]
async fn a_request_that_is_dropped_loses_nothing_that_was_learnt() {
    let gate = Arc::new(Semaphore::new(0));
    for outside in [false, true] {
        let upstream = Upstream::new()
            .answers("a", [Canned::limited(3000)])
            .answers("b", [gated(Canned::ok(), &gate)]);
        let (vault, events) = (keys(["a", "b"]).await, Journal::new());
        let pool = builder(vault.clone()).on_event(events.observer()).open().await.unwrap();
        let (rotate, refresh, auth, persist) = four(&pool, &no_refresh());
        let service = if outside {
            stack((persist, rotate, refresh, auth), upstream.clone())
        } else {
            stack((rotate, refresh, auth, persist), upstream.clone())
        };
        let request = tokio::spawn(ask(&service, post()));
        upstream.seen.reaches(2).await;
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        events.has("Saved").await;
        let stored = vault.load_pool(key()).await.unwrap().standings;
        let id = status_of(&pool, "a").credential.id;
        assert_eq!(stored.credentials[&id].failures, 1);
        assert_eq!(stored.order.last(), Some(&id));
    }
}

// The cap on requests of one account

async fn capped<const N: usize>(labels: [&str; N], cap: u32) -> (Pool, Stack, Upstream, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = labels
        .iter()
        .fold(Upstream::new(), |upstream, label| upstream.answers(label, [gated(Canned::ok(), &gate)]));
    let cap = NonZeroU32::new(cap).unwrap();
    let pool = builder(keys(labels).await).max_in_flight(cap).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    (pool, service, upstream, gate)
}

/// Lets every task go as far as it can.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn no_account_serves_more_requests_at_once_than_its_cap_and_the_others_wait() {
    let (_pool, service, upstream, gate) = capped(["a", "b"], 3).await;
    let requests: Vec<_> = (0..20).map(|_| tokio::spawn(ask(&service, post()))).collect();
    settle().await;
    assert_eq!((upstream.count("a"), upstream.count("b")), (3, 3));
    gate.add_permits(1);
    settle().await;
    assert_eq!(upstream.tokens().len(), 7, "one has come free");
    gate.add_permits(20);
    for request in requests {
        assert_eq!(request.await.unwrap().0, 200);
    }
    assert_eq!(upstream.tokens().len(), 20);
}

#[tokio::test]
async fn a_dropped_request_gives_its_place_back_whether_it_was_sent_or_waited() {
    let (_pool, service, upstream, gate) = capped(["a"], 1).await;
    let sent = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(1).await;
    let waiting = tokio::spawn(ask(&service, post()));
    let last = tokio::spawn(ask(&service, post()));
    settle().await;
    waiting.abort();
    sent.abort();
    upstream.seen.reaches(2).await;
    gate.add_permits(1);
    assert_eq!(last.await.unwrap().0, 200);
}

#[tokio::test]
async fn a_request_that_fails_gives_its_place_back() {
    let (_pool, service, upstream, gate) = capped(["a"], 1).await;
    upstream.set("a", [Canned::fails(std::io::ErrorKind::BrokenPipe)]);
    for _ in 0..3 {
        service.clone().oneshot(post()).await.unwrap_err();
    }
    upstream.set("a", [Canned::ok()]);
    assert_eq!(ask(&service, post()).await.0, 200);
    drop(gate);
}

#[tokio::test]
async fn what_is_sent_again_after_a_refresh_counts_against_the_cap() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = Upstream::new()
        .answers("a-1", [Canned::status(401)])
        .answers("a-2", [gated(Canned::ok(), &gate)]);
    let pool = builder(accounts(["a"]).await).max_in_flight(NonZeroU32::MIN).open().await.unwrap();
    let service = stack(four(&pool, &renewing(&Journal::new())), upstream.clone());
    let first = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(2).await;
    let second = tokio::spawn(ask(&service, post()));
    settle().await;
    assert_eq!(upstream.tokens(), ["a-1", "a-2"], "the second one waits");
    gate.add_permits(2);
    assert_eq!((first.await.unwrap().0, second.await.unwrap().0), (200, 200));
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_again_after_a_short_limit_counts_against_the_cap() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = Upstream::new().answers("a", [Canned::limited(1), gated(Canned::ok(), &gate)]);
    let pool = builder(keys(["a"]).await)
        .clock(tokio_clock())
        .max_in_flight(NonZeroU32::MIN)
        .open()
        .await
        .unwrap();
    let (rotate, refresh, auth, persist) = four(&pool, &no_refresh());
    let service = stack((rotate.wait_up_to(seconds(5)), refresh, auth, persist), upstream.clone());
    let first = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(2).await;
    let second = tokio::spawn(ask(&service, post()));
    settle().await;
    assert_eq!(upstream.tokens(), ["a", "a"], "the second one waits");
    gate.add_permits(2);
    assert_eq!((first.await.unwrap().0, second.await.unwrap().0), (200, 200));
}

#[tokio::test]
async fn two_requests_that_change_accounts_under_a_cap_do_not_wait_for_each_other() {
    // Each is limited where it is, and the other's account is the next one.
    let both = Arc::new(Barrier::new(2));
    let limited = Canned::limited(0).after(move || {
        let both = both.clone();
        async move {
            both.wait().await;
        }
    });
    let upstream = Upstream::new()
        .answers("a", [limited.clone(), Canned::ok()])
        .answers("b", [limited, Canned::ok()]);
    let pool = builder(keys(["a", "b"]).await).max_in_flight(NonZeroU32::MIN).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let requests = [(); 2].map(|()| tokio::spawn(ask(&service, post())));
    settle().await;
    for request in requests {
        assert!(request.is_finished(), "it hangs: {:?}", upstream.tokens());
        assert_eq!(request.await.unwrap().0, 200);
    }
}

#[tokio::test]
async fn where_all_cool_down_and_that_is_an_error_nobody_waits_for_a_busy_account() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = Upstream::new().answers("a", [gated(Canned::ok(), &gate)]);
    let vault = keys(["a"]).await;
    let pool = builder(vault.clone())
        .max_in_flight(NonZeroU32::MIN)
        .when_all_cooling_down(WhenAllCoolingDown::Fail)
        .open()
        .await
        .unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let busy = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(1).await;
    // Another process finds it limited.
    let other = builder(vault).open().await.unwrap();
    let limited = Upstream::new().answers("a", [Canned::limited(3000)]);
    ask(&stack(four(&other, &no_refresh()), limited), post()).await;
    pool.sync().await.unwrap();
    let asked = tokio::spawn(service.clone().oneshot(post()));
    settle().await;
    assert!(asked.is_finished(), "it hangs");
    let error = asked.await.unwrap().unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::AllCoolingDown { .. })), "{error:?}");
    gate.add_permits(1);
    busy.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_from_many_threads_the_cap_holds_and_everybody_is_answered() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counter, maximum) = (now.clone(), most.clone());
    let counted = Canned::ok().after(move || {
        let (counter, maximum) = (counter.clone(), maximum.clone());
        async move {
            maximum.fetch_max(counter.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            counter.fetch_sub(1, Ordering::SeqCst);
        }
    });
    let upstream = Upstream::new().answers("a", [counted]);
    let pool =
        builder(keys(["a"]).await).max_in_flight(NonZeroU32::new(4).unwrap()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let requests: Vec<_> = (0..300).map(|_| tokio::spawn(ask(&service, post()))).collect();
    for request in requests {
        assert_eq!(request.await.unwrap().0, 200);
    }
    assert!(most.load(Ordering::SeqCst) <= 4, "{most:?}");
}

// Waiting

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_cooldown_goes_on_as_soon_as_a_person_resets_it() {
    let pool = builder(keys(["a"]).await)
        .clock(tokio_clock())
        .when_all_cooling_down(WhenAllCoolingDown::WaitUpTo(seconds(3600)))
        .open()
        .await
        .unwrap();
    let upstream = Upstream::new().answers("a", [Canned::limited(3000), Canned::ok()]);
    let service = stack(four(&pool, &no_refresh()), upstream);
    assert_eq!(ask(&service, post()).await.0, 429);
    let waiting = tokio::spawn(ask(&service, post()));
    settle().await;
    let start = tokio::time::Instant::now();
    pool.reset(pool.status()[0].credential.id).await.unwrap();
    assert_eq!(waiting.await.unwrap().0, 200);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn who_waits_for_a_credential_goes_on_when_one_is_added() {
    let gate = Arc::new(Notify::new());
    let vault = keys(["a"]).await;
    let hold = gate.clone();
    let held = Canned::ok().after(move || {
        let hold = hold.clone();
        async move { hold.notified().await }
    });
    let upstream = Upstream::new().answers("a", [held]);
    let pool = builder(vault.clone()).max_in_flight(NonZeroU32::MIN).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let busy = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(1).await;
    let waiting = tokio::spawn(ask(&service, post()));
    settle().await;
    vault.put(Credential::new(key(), "b", Secret::api_key("b"))).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(waiting.await.unwrap(), (200, "b".into()));
    gate.notify_one();
    assert_eq!(busy.await.unwrap().0, 200);
}

//! Who is to blame for a 401 or 403 without a reason: the credential, only if another one succeeds in the same
//! request.

use std::num::NonZeroU32;
use std::time::Duration;

use http::StatusCode;
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_credentials::standing::{Reason, Scope, Standing};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

const NONE: Duration = Duration::ZERO;

fn always(status: u16) -> [Canned; 1] {
    [Canned::status(status)]
}

fn scoped(scope: &str) -> Asked {
    post_with(Scope::new(scope))
}

/// A pool over these keys whose clock the test advances.
async fn pool_of(vault: &MemoryVault) -> (Pool, HandClock) {
    let clock = HandClock::new();
    let pool = builder(vault.clone()).clock(clock.clock());
    (pool.cooldowns(exact().jitter(0.0)).open().await.unwrap(), clock)
}

#[tokio::test]
async fn if_every_account_is_refused_the_request_is_to_blame() {
    for status in [401, 403] {
        let vault = keys(["a", "b", "c"]).await;
        let spy = Planned::spy(&vault);
        let events = Journal::new();
        let upstream = ["a", "b", "c"].into_iter().fold(Upstream::new(), |upstream, key| {
            upstream.answers(key, [Canned::status(status).body(key)])
        });
        let pool = builder(spy.clone()).on_event(events.observer()).open().await.unwrap();
        let service = stack(four(&pool, &no_refresh()), upstream.clone());
        for _ in 0..5 {
            assert_eq!(ask(&service, post()).await, (status, "c".into()), "the last response, whole");
        }
        assert!(pool.status().iter().all(|status| learnt(&status.standing) == Standing::default()));
        assert_eq!(order(&pool), ["a", "b", "c"]);
        assert_eq!(spy.count("record"), 0, "there is nothing to save");
        assert_eq!(events.count("CooledDown") + events.count("Suspected"), 0);
        upstream.set("a", [Canned::ok()]);
        assert_eq!(ask(&service, post()).await.0, 200, "the next request finds every account as it was");
        assert_eq!(upstream.tokens().last().unwrap(), "a");
    }
}

#[tokio::test]
async fn the_only_account_of_a_pool_is_never_blamed_and_its_token_is_renewed_once() {
    for status in [401, 403] {
        let upstream = Upstream::new().answers("a-1", always(status)).answers("a-2", always(status));
        let (pool, _) = pool_of(&accounts(["a"]).await).await;
        let refreshes = Journal::new();
        let service = stack(four(&pool, &renewing(&refreshes)), upstream.clone());
        for round in 0..5 {
            assert_eq!(ask(&service, post()).await.0, status);
            assert_eq!(refreshes.all().len(), 1, "in round {round}");
            assert_eq!(cools(&pool, "a"), NONE, "in round {round}");
        }
        // After a success, the next refusal may again be due to an old token.
        upstream.set("a-2", [Canned::ok(), Canned::status(status)]);
        assert_eq!(ask(&service, post()).await.0, 200);
        assert_eq!(ask(&service, post()).await, (200, "a-3".into()));
        assert_eq!(refreshes.all().len(), 2);
    }
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_by_a_403_is_still_renewed_for_a_401() {
    let responses = [Canned::status(403), Canned::status(401)];
    let upstream = Upstream::new().answers("a-1", always(403)).answers("a-2", responses);
    let (pool, _) = pool_of(&accounts(["a"]).await).await;
    let refreshes = Journal::new();
    let service = stack(four(&pool, &renewing(&refreshes)), upstream);
    assert_eq!(ask(&service, post()).await.0, 403);
    assert_eq!(ask(&service, post()).await, (200, "a-3".into()));
    assert_eq!(refreshes.all().len(), 2);
}

#[tokio::test]
async fn only_a_response_that_accepts_another_account_blames_the_refused_one() {
    let after_authentication = [400, 404, 405, 406, 410, 411, 413, 414, 415, 416, 417];
    let done = [200, 201, 204, 206, 304, 409, 412, 422];
    let nothing = [301, 302, 303, 307, 407, 408, 418, 421, 423, 425, 431, 451, 500, 502, 503, 529];
    let cases = done.into_iter().map(|status| (status, [true, true]));
    let cases = cases.chain(after_authentication.into_iter().map(|status| (status, [true, false])));
    let cases = cases.chain(nothing.into_iter().map(|status| (status, [false, false])));
    for (status, blames) in cases {
        for (refusal, blames) in [401, 403].into_iter().zip(blames) {
            let upstream = Upstream::new().answers("a", always(refusal)).answers("b", always(status));
            let (pool, _) = pool_of(&keys(["a", "b"]).await).await;
            let service = stack(four(&pool, &no_refresh()), upstream.clone());
            assert_eq!(ask(&service, post()).await.0, status);
            let expected = if blames { seconds(300) } else { NONE };
            assert_eq!(cools(&pool, "a"), expected, "a {refusal}, then a {status}");
            upstream.set("a", [Canned::ok()]);
            upstream.set("b", [Canned::ok()]);
            ask(&service, post()).await;
            assert_eq!(upstream.tokens().last().unwrap(), "b", "either way it is behind the other");
        }
    }
}

#[tokio::test]
async fn a_403_cools_the_requested_scope_and_a_401_the_whole_account() {
    for (status, elsewhere) in [(403, "a"), (401, "b")] {
        let upstream = Upstream::new().answers("a", [Canned::status(status), Canned::ok()]);
        let (pool, _) = pool_of(&keys(["a", "b"]).await).await;
        let service = stack(four(&pool, &no_refresh()), upstream.clone());
        assert_eq!(ask(&service, scoped("large")).await.0, 200);
        ask(&service, scoped("large")).await;
        ask(&service, scoped("small")).await;
        assert_eq!(upstream.tokens(), ["a", "b", "b", elsewhere]);
    }
}

/// Makes a request that can use one account only, and is refused.
async fn refused_without_comparison(how: &str, pool: &Pool, upstream: &Upstream) {
    let four = four(pool, &no_refresh());
    match how {
        "a body that is sent once" => {
            let service = four.layer(upstream.clone());
            let request = post().map(SendOnce::<Full<bytes::Bytes>>::new);
            assert_eq!(service.oneshot(request).await.unwrap().status(), StatusCode::FORBIDDEN);
        }
        "a pin" => assert_eq!(ask(&stack(four, upstream.clone()), pinned("a")).await.0, 403),
        "a budget of one" => {
            let rotate = four.0.clone().max_attempts(NonZeroU32::MIN);
            let service = stack((rotate, four.1, four.2, four.3), upstream.clone());
            assert_eq!(ask(&service, post()).await.0, 403);
        }
        "an upstream in trouble" => {
            upstream.set("b", [Canned::status(500), Canned::ok()]);
            assert_eq!(ask(&stack(four, upstream.clone()), post()).await.0, 500);
        }
        "a caller who goes away" => {
            upstream.set("b", [Canned::ok().after(std::future::pending), Canned::ok()]);
            let asking = tokio::spawn(ask(&stack(four, upstream.clone()), post()));
            upstream.seen.reaches(2).await;
            asking.abort();
            assert!(asking.await.unwrap_err().is_cancelled());
        }
        _ => unreachable!("{how}"),
    }
}

#[tokio::test]
async fn an_account_refused_without_comparison_goes_last_until_it_succeeds() {
    let ways = ["a body that is sent once", "a pin", "a budget of one", "an upstream in trouble"];
    for how in ways.into_iter().chain(["a caller who goes away"]) {
        let vault = keys(["a", "b"]).await;
        let spy = Planned::spy(&vault);
        let upstream = Upstream::new().answers("a", [Canned::status(403), Canned::ok()]);
        let events = Journal::new();
        let pool = builder(spy.clone()).on_event(events.observer()).open().await.unwrap();
        refused_without_comparison(how, &pool, &upstream).await;
        assert_eq!(events.count("Suspected"), 1, "{how}");
        let is_pinned = events.all().iter().any(|event| event.contains("pinned: true"));
        assert_eq!(is_pinned, how == "a pin", "{how}");
        assert_eq!(events.count("CooledDown"), 0, "{how}");
        assert_eq!(spy.count("record"), 0, "{how}");
        assert_eq!(pool.active(), Some(id_of(&pool, "b")), "{how}");
        let service = stack(four(&pool, &no_refresh()), upstream.clone());
        assert_eq!(ask(&service, post()).await.0, 200);
        assert_eq!(upstream.tokens().last().unwrap(), "b", "{how}");
        assert_eq!(ask(&service, pinned("a")).await.0, 200);
        ask(&service, post()).await;
        assert_eq!(upstream.tokens().last().unwrap(), "a", "{how}: it was answered well");
    }
}

#[tokio::test]
async fn an_account_refused_while_the_others_are_limited_is_not_blamed() {
    let limited = || [Canned::limited(100)];
    let upstream =
        Upstream::new().answers("a", always(401)).answers("b", limited()).answers("c", limited());
    let (pool, clock) = pool_of(&keys(["b", "a", "c"]).await).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 429);
    assert_eq!(upstream.tokens(), ["b", "a", "c"]);
    assert_eq!(cools(&pool, "a"), NONE);
    clock.advance(seconds(100));
    upstream.set("b", [Canned::ok()]);
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens().last().unwrap(), "b", "it is behind the others");
}

#[tokio::test]
async fn the_success_of_one_suspect_blames_the_other() {
    let upstream = Upstream::new().answers("b", [Canned::status(403), Canned::ok()]);
    let (pool, _) = pool_of(&keys(["a", "b", "c"]).await).await;
    refused_without_comparison("a pin", &pool, &upstream.clone().answers("a", always(403))).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    ask(&service, pinned("b")).await;
    upstream.set("c", [Canned::limited(100)]);
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens(), ["a", "b", "c", "a", "b"]);
    assert_eq!(cools(&pool, "a"), seconds(300));
}

#[tokio::test]
async fn requests_of_a_conversation_leave_a_suspect() {
    let upstream = Upstream::new();
    let (pool, _) = pool_of(&keys(["a", "b"]).await).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let of_conversation = || post_with(Affinity::new("conversation"));
    ask(&service, of_conversation()).await;
    upstream.set("a", [Canned::status(403), Canned::ok()]);
    ask(&service, pinned("a")).await;
    ask(&service, of_conversation()).await;
    ask(&service, of_conversation()).await;
    assert_eq!(upstream.tokens(), ["a", "a", "b", "b"]);
}

#[tokio::test]
async fn a_reset_clears_a_suspicion() {
    let upstream = Upstream::new().answers("a", [Canned::status(403), Canned::ok()]);
    let (pool, _) = pool_of(&keys(["a", "b"]).await).await;
    refused_without_comparison("a pin", &pool, &upstream).await;
    pool.reset(id_of(&pool, "a")).await.unwrap();
    assert_eq!(pool.active(), Some(id_of(&pool, "a")));
}

/// Moves an account to the front.
async fn put_first(vault: &MemoryVault, pool: &Pool, label: &str) {
    vault.move_to(&key(), status_of(pool, label).credential.id, 0).await.unwrap();
    pool.sync().await.unwrap();
}

#[tokio::test]
async fn the_cooldown_of_a_refused_account_grows_each_time_in_a_row() {
    let upstream = Upstream::new().answers("a", always(403));
    let vault = keys(["a", "b"]).await;
    let (pool, clock) = pool_of(&vault).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    for cooldown in [300, 600, 1200, 2400, 3600, 3600] {
        put_first(&vault, &pool, "a").await;
        assert_eq!(ask(&service, post()).await, (200, "b".into()));
        assert_eq!(cools(&pool, "a"), seconds(cooldown));
        // A probe after the cooldown is not a new failure.
        assert_eq!(ask(&service, pinned("a")).await.0, 403);
        assert_eq!(cools(&pool, "a"), seconds(cooldown));
        clock.advance(seconds(cooldown));
    }
}

#[tokio::test]
async fn a_new_secret_from_anyone_ends_a_cooldown_of_the_refused_one() {
    let vault = keys(["a", "b"]).await;
    let upstream = Upstream::new().answers("a", always(401));
    let (pool, clock) = pool_of(&vault).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
    assert_eq!(cools(&pool, "a"), seconds(300));
    let Metadata { id, generation, .. } = status_of(&pool, "a").credential;
    // Another program, which does not know about the cooldown.
    vault.replace_secret(&key(), id, generation, Secret::api_key("a-2")).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(cools(&pool, "a"), NONE);
    assert_eq!(status_of(&pool, "a").standing.failures, 0);
    let saved = |vault: MemoryVault| async move {
        vault.load_pool(key()).await.unwrap().standings.credentials[&id].clone()
    };
    assert_eq!(learnt(&saved(vault.clone()).await), Standing::default());
    // An outcome of the new secret is not mistaken for one of the old.
    upstream.set("a-2", [Canned::limited(60)]);
    upstream.set("b", [Canned::limited(1)]);
    assert_eq!(ask(&service, post()).await.0, 429);
    let standing = saved(vault).await;
    assert_eq!(standing.failures, 1);
    assert_eq!(standing.cooldown(None).unwrap().until.since(pool.now()), seconds(60));
    assert_eq!(standing.cooldown(None).unwrap().reason, Reason::Limited);
    clock.advance(seconds(60));
}

#[tokio::test]
async fn a_new_secret_does_not_end_a_limit() {
    let vault = keys(["a", "b"]).await;
    let upstream = Upstream::new().answers("a", [Canned::limited(60)]);
    let (pool, _) = pool_of(&vault).await;
    ask(&stack(four(&pool, &no_refresh()), upstream), post()).await;
    let Metadata { id, generation, .. } = status_of(&pool, "a").credential;
    vault.replace_secret(&key(), id, generation, Secret::api_key("a-2")).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(cools(&pool, "a"), seconds(60));
}

#[tokio::test(start_paused = true)]
async fn a_failing_token_endpoint_counts_once_however_many_ask() {
    let vault = accounts(["a", "b"]).await;
    let upstream = Upstream::new().answers("a-1", always(401));
    let pool = builder(vault).clock(tokio_clock()).open().await.unwrap();
    let refreshes = Journal::new();
    let working = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (calls, works) = (refreshes.clone(), working.clone());
    let refresher = Refresher::new(move |credential: Credential| {
        calls.push(credential.metadata.label.to_string());
        let works = works.load(std::sync::atomic::Ordering::SeqCst);
        async move {
            if works {
                Ok(renewed(&credential.metadata))
            } else {
                Err(RefreshError::Failed("503".into()))
            }
        }
    });
    let service = stack(four(&pool, &refresher), upstream.clone());
    for _ in 0..20 {
        assert_eq!(ask(&service, post()).await, (200, "b-1".into()));
        assert_eq!(ask(&service, pinned("a")).await.0, 401);
        tokio::time::advance(Duration::from_millis(200)).await;
    }
    assert!(cools(&pool, "a") <= seconds(300));
    assert_eq!(status_of(&pool, "a").standing.failures, 1);
    assert!(refreshes.all().len() <= 4, "{:?}", refreshes.all());
    working.store(true, std::sync::atomic::Ordering::SeqCst);
    tokio::time::advance(seconds(10)).await;
    assert_eq!(ask(&service, pinned("a")).await, (200, "a-2".into()));
    assert_eq!(cools(&pool, "a"), NONE, "the first renewal that works ends it");
}

#[tokio::test]
async fn a_limit_without_a_time_doubles_once_for_each_cooldown_that_was_served() {
    let limited = || [Canned::status(429)];
    let upstream = Upstream::new().answers("a", limited()).answers("b", limited());
    let (pool, clock) = pool_of(&keys(["a", "b"]).await).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    for cooldown in [30, 60, 120] {
        for _ in 0..30 {
            assert_eq!(ask(&service, post()).await.0, 429);
        }
        for label in ["a", "b"] {
            assert_eq!(cools(&pool, label), seconds(cooldown));
        }
        clock.advance(seconds(cooldown));
    }
    // A time that a probe gets is recorded all the same.
    ask(&service, post()).await;
    upstream.set("a", [Canned::limited(3000)]);
    ask(&service, pinned("a")).await;
    assert_eq!(cools(&pool, "a"), seconds(3000));
    assert_eq!(status_of(&pool, "a").standing.failures, 4);
}

#[tokio::test]
async fn a_retry_after_of_zero_that_proves_wrong_is_believed_less_each_time() {
    let upstream = Upstream::new().answers("a", [Canned::limited(0)]);
    let (pool, clock) = pool_of(&keys(["a"]).await).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    for cooldown in [0, 1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(ask(&service, post()).await.0, 429);
        assert_eq!(cools(&pool, "a"), seconds(cooldown));
        clock.advance(seconds(cooldown));
    }
    upstream.set("a", [Canned::ok(), Canned::limited(0)]);
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(ask(&service, post()).await.0, 429);
    assert_eq!(cools(&pool, "a"), NONE, "a success forgives");
}

#[tokio::test]
async fn if_all_are_refused_no_time_to_ask_again_is_stated() {
    let upstream = Upstream::new().answers("a", always(401)).answers("b", always(401));
    let (pool, _) = pool_of(&keys(["a", "b"]).await).await;
    let service = stack(four(&pool, &no_refresh()), upstream);
    let response = tower::ServiceExt::oneshot(service, post()).await.unwrap();
    assert_eq!(response.status(), 401);
    let next = response.extensions().get::<NextReady>().copied().unwrap();
    assert!(next.wait().is_zero() && !next.is_stated(), "{next:?}");
}

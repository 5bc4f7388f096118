//! What ends, shortens and lengthens a cooldown, and which responses begin none.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tower::ServiceExt;
use tower_credentials::standing::{Change, Cooldown, Health, Outcome, Reason, Standing};
use tower_credentials::vault::VaultExt;
use tower_credentials::*;

use crate::support::*;

#[tokio::test]
async fn a_slow_200_that_began_before_a_429_does_not_clear_the_fresh_cooldown() {
    let release = Arc::new(Notify::new());
    let upstream =
        Upstream::new().answers("a", [Canned::ok().after_notify(&release), Canned::limited(30)]);
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
    assert_eq!(stored.credentials[&id_of(&pool, "a")].failures, 1);
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
    let id = id_of(&pool, "a");
    let stored = vault.load_pool(key()).await.unwrap().standings;
    assert_eq!(learnt(&stored.credentials[&id]), Standing::default(), "in the vault, too");
}

#[tokio::test]
async fn a_slow_200_does_not_clear_a_cooldown_that_another_process_has_set_meanwhile() {
    let release = Arc::new(Notify::new());
    let upstream = Upstream::new().answers("a", [Canned::ok().after_notify(&release)]);
    let vault = keys(["a", "b"]).await;
    let clock = HandClock::new();
    let pool = builder(vault.clone()).clock(clock.clock()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let slow = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(1).await;
    let id = id_of(&pool, "a");
    vault.record(key(), vec![cooled(id, pool.now(), 30)]).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(cools(&pool, "a"), seconds(30));
    release.notify_one();
    slow.await.unwrap();
    assert_eq!(cools(&pool, "a"), seconds(30));
}

/// The outcome that another process would record.
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
async fn a_later_response_never_shortens_a_cooldown() {
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(3000), Canned::limited(10), Canned::limited(4000)]);
    let vault = keys(["a", "b"]).await;
    let pool = builder(vault.clone()).clock(HandClock::new().clock()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream);
    ask(&service, post()).await;
    let mut request = pinned("a");
    assert_eq!(ask(&service, request).await.0, 429);
    assert_eq!(cools(&pool, "a"), seconds(3000));
    let id = id_of(&pool, "a");
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
async fn of_429s_at_once_the_longest_wins_in_either_order() {
    for (first, second) in [(10, 3000), (3000, 10)] {
        let (one, two) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let upstream = Upstream::new().answers(
            "a",
            [Canned::limited(first).after_notify(&one), Canned::limited(second).after_notify(&two)],
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
async fn an_unavailable_upstream_cools_no_account_down() {
    for status in [500, 502, 503, 529] {
        let response = Canned::status(status).header("retry-after", "60");
        let upstream = Upstream::new().answers("a", [response]);
        let spy = Planned::spy(&keys(["a", "b"]).await);
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
async fn a_503_rotates_if_the_cooldowns_say_so() {
    let upstream = Upstream::new().answers("a", [Canned::status(503).header("retry-after", "60")]);
    let cooldowns = exact().limited_statuses(|status| status == 429 || status == 503);
    let clock = HandClock::new().clock();
    let pool = builder(keys(["a", "b"]).await).clock(clock).cooldowns(cooldowns).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream);
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
    assert_eq!(cools(&pool, "a"), seconds(60));
}

#[tokio::test]
async fn an_overload_goes_on_with_the_next_account_if_the_pool_says_so() {
    for status in [503, 529] {
        let busy = Canned::status(status).header("retry-after", "60");
        let upstream = Upstream::new().answers("a", [busy.clone(), busy.clone()]);
        let pool = builder(keys(["a", "b"]).await).rotate_overloads(true).open().await.unwrap();
        let service = stack(four(&pool, &no_refresh()), upstream.clone());
        assert_eq!(ask(&service, post()).await, (200, "b".into()));
        upstream.set("b", [busy]);
        assert_eq!(ask(&service, post()).await.0, status);
        assert_eq!(upstream.tokens(), ["a", "b", "a", "b"]);
        assert!(pool.status().iter().all(|status| learnt(&status.standing) == Standing::default()));
        assert_eq!(order(&pool), ["a", "b"]);
    }
    // Whether other troubles were served is not known.
    for status in [500, 502, 504] {
        let upstream = Upstream::new().answers("a", [Canned::status(status)]);
        let pool = builder(keys(["a", "b"]).await).rotate_overloads(true).open().await.unwrap();
        let service = stack(four(&pool, &no_refresh()), upstream.clone());
        assert_eq!(ask(&service, post()).await.0, status);
    }
}

#[tokio::test]
async fn a_rejected_refresh_takes_the_credential_out_of_use_at_once_and_visibly() {
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
    // The other account works.
    assert!(!error.to_string().contains("every"), "{error}");
    assert!(error.to_string().contains("sign in to it again"), "{error}");
}

#[tokio::test]
async fn if_all_need_a_new_sign_in_the_error_says_so() {
    let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
    let pool = builder(accounts(["a"]).await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 401, "the response that showed it is returned");
    let error = service.oneshot(post()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::NeedsSignIn { pin: None, .. })), "{error:?}");
    assert_eq!(upstream.tokens(), ["a-1"]);
}

#[tokio::test]
async fn when_all_cool_down_50_requests_at_once_are_spread_over_the_accounts() {
    let labels = ["a", "b", "c", "d", "e"];
    let together = Canned::limited(60).together(50);
    let upstream = labels.iter().fold(Upstream::new(), |upstream, label| {
        upstream.answers(label, [Canned::limited(60), together.clone()])
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

//! Accounts that share a quota have one cooldown: a limit that one has met holds up all, and one success ends it for all.

mod generated;
mod seen;
mod stated;

use std::sync::Arc;

use tokio::sync::Notify;
use tower::ServiceExt;
use tower_credentials::standing::{Change, Cooldown, Outcome, Quota, QuotaName, Reason, Scope};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

fn shared(name: &str) -> Quota {
    Quota::Shared(QuotaName::new(name).unwrap())
}

/// Lets accounts of a vault share a quota.
async fn share(vault: &MemoryVault, labels: &[&str], quota: &str) {
    let stored = vault.load_pool(key()).await.unwrap().credentials;
    let shares = |label: &str| labels.contains(&label);
    let outcomes = stored.iter().filter(|record| shares(&record.metadata.label)).map(|record| {
        let change = Change::Quota { quota: Some(shared(quota)) };
        Outcome { id: record.metadata.id, change }
    });
    vault.record(key(), outcomes.collect()).await.unwrap();
}

/// A vault with these keys, of which `a` and `b` share a quota.
async fn two_of<const N: usize>(labels: [&str; N]) -> MemoryVault {
    let vault = keys(labels).await;
    share(&vault, &["a", "b"], "acme").await;
    vault
}

async fn open(vault: &MemoryVault, clock: &Clock) -> Pool {
    builder(vault.clone()).cooldowns(exact().jitter(0.0)).clock(clock.clone()).open().await.unwrap()
}

/// Returns the cooldown that holds an account up, and the account that has met it if that is another one.
fn held_up(pool: &Pool, label: &str, scope: Option<&Scope>) -> (Cooldown, Option<CredentialId>) {
    let why = pool.why(scope).into_iter().find(|one| &*one.credential.label == label).unwrap();
    let Availability::CoolingDown { cooldown } = why.availability else { panic!("{why:?}") };
    (cooldown, why.met_by)
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_one_sends_the_request_to_the_next_that_does_not_share_it() {
    let clock = tokio_clock();
    for stacked in ORDERS {
        let vault = two_of(["a", "b", "c"]).await;
        let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
        let pool = open(&vault, &clock).await;
        let service = stacked(&pool, upstream.clone());
        assert_eq!(ask(&service, post()).await, (200, "c".into()));
        assert_eq!(upstream.tokens(), ["a", "c"], "b is not asked");
        let cooldown = |label| status_of(&pool, label).standing.cooldown(None).cloned().unwrap();
        assert_eq!(cooldown("a"), cooldown("b"), "the same time, and the same cause");
        assert_eq!(order(&pool), ["c", "b", "a"]);
        assert_eq!(held_up(&pool, "b", None), (cooldown("a"), Some(id_of(&pool, "a"))));
        assert_eq!(held_up(&pool, "a", None), (cooldown("a"), None));
        // So do pools that load it, and those that sync.
        pool.save().await.unwrap();
        let other = open(&vault, &clock).await;
        assert_eq!((order(&other), cools(&other, "b")), (order(&pool), seconds(3000)));
    }
}

#[tokio::test(start_paused = true)]
async fn another_pool_of_the_vault_skips_all_of_the_quota_after_a_sync() {
    let clock = tokio_clock();
    let vault = two_of(["a", "b", "c"]).await;
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    let (first, second) = (open(&vault, &clock).await, open(&vault, &clock).await);
    ask(&stack(four(&first, &no_refresh()), upstream.clone()), post()).await;
    second.sync().await.unwrap();
    ask(&stack(four(&second, &no_refresh()), upstream.clone()), post()).await;
    assert_eq!(upstream.tokens(), ["a", "c", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_one_model_is_that_models_for_all_that_share() {
    let clock = tokio_clock();
    let vault = two_of(["a", "b", "c"]).await;
    let upstream = Upstream::new().answers("a", [Canned::limited(60), Canned::ok().body("a")]);
    let pool = open(&vault, &clock).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let of = |model: &'static str| post_with(Scope::new(model));
    ask(&service, of("large")).await;
    ask(&service, of("large")).await;
    ask(&service, of("small")).await;
    ask(&service, post()).await;
    assert_eq!(upstream.tokens(), ["a", "c", "c", "a", "a"]);
    let large = Scope::new("large");
    let (cooldown, met_by) = held_up(&pool, "b", Some(&large));
    assert_eq!((cooldown.scope, met_by), (Some(large), Some(id_of(&pool, "a"))));
}

#[tokio::test(start_paused = true)]
async fn an_allowance_that_is_used_up_is_used_up_for_all_that_share() {
    let clock = tokio_clock();
    let vault = two_of(["a", "b", "c"]).await;
    let used_up = Canned::ok().header("ratelimit-remaining", "0").header("ratelimit-reset", "600");
    let upstream = Upstream::new().answers("a", [used_up]);
    let pool = open(&vault, &clock).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    for _ in 0..2 {
        assert_eq!(ask(&service, post()).await.0, 200);
    }
    assert_eq!(upstream.tokens(), ["a", "c"]);
}

#[tokio::test(start_paused = true)]
async fn refusals_verdicts_and_pauses_are_the_accounts_own() {
    let clock = tokio_clock();
    let vault = two_of(["a", "b", "c"]).await;
    let upstream = Upstream::new().answers("a", [Canned::status(401)]);
    let pool = open(&vault, &clock).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
    assert_eq!((cools(&pool, "a"), cools(&pool, "b")), (seconds(300), seconds(0)));
    assert_eq!(order(&pool), ["b", "c", "a"]);
    // Its success does not clear the refusal of the other.
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
    assert_eq!(cools(&pool, "a"), seconds(300));
    pool.pause(id_of(&pool, "b")).await.unwrap();
    assert!(!status_of(&pool, "a").standing.paused);
}

#[tokio::test(start_paused = true)]
async fn one_request_tries_for_the_whole_quota_and_its_success_ends_the_limit_for_all() {
    let clock = tokio_clock();
    let vault = two_of(["a", "b"]).await;
    let gate = Arc::new(Notify::new());
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(60), Canned::ok().after_notify(&gate), Canned::ok()])
        .answers("b", [Canned::ok().after_notify(&gate), Canned::ok()]);
    let pool = open(&vault, &clock).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 429, "b is not asked");
    tokio::time::advance(seconds(60)).await;
    let requests: Vec<_> = (0..10).map(|_| tokio::spawn(service.clone().oneshot(post()))).collect();
    settle().await;
    assert_eq!(upstream.seen.all().len(), 2, "one of ten is sent");
    gate.notify_one();
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap().status(), 200);
    }
    for label in ["a", "b"] {
        let standing = status_of(&pool, label).standing;
        assert!(standing.cooldowns.is_empty() && standing.failures == 0, "{label}: {standing:?}");
    }
    pool.save().await.unwrap();
    let stored = vault.load_pool(key()).await.unwrap().standings.credentials;
    assert!(stored.values().all(|one| one.cooldowns.is_empty() && one.failures == 0), "{stored:?}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_still_there_refuses_one_request_of_the_quota() {
    let clock = tokio_clock();
    let vault = two_of(["a", "b", "c"]).await;
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(60), Canned::limited(600)])
        .answers("b", [Canned::limited(600)])
        .answers("c", [Canned::ok(), Canned::limited(5000)]);
    let pool = open(&vault, &clock).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 200);
    tokio::time::advance(seconds(60)).await;
    assert_eq!(ask(&service, post()).await.0, 429);
    assert_eq!(upstream.tokens(), ["a", "c", "c", "b"], "b tries for both");
    assert_eq!((cools(&pool, "a"), cools(&pool, "b")), (seconds(600), seconds(600)));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_leaves_the_trial_to_the_next_of_the_quota() {
    let clock = tokio_clock();
    let vault = two_of(["a", "b", "c"]).await;
    let gate = Arc::new(Notify::new());
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(60), Canned::ok()])
        .answers("b", [Canned::status(401)])
        .answers("c", [Canned::ok().body("c")]);
    let pool = open(&vault, &clock).await;
    pool.set_tier(id_of(&pool, "c"), Some(2)).await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, post()).await, (200, "c".into()));
    tokio::time::advance(seconds(60)).await;
    upstream.set("a", [Canned::ok().after_notify(&gate), Canned::ok()]);
    let trial = tokio::spawn(service.clone().oneshot(post()));
    settle().await;
    assert_eq!(upstream.tokens(), ["a", "c", "b", "a"]);
    // The others of the quota still wait for it.
    let next = tokio::spawn(service.clone().oneshot(post()));
    settle().await;
    gate.notify_one();
    assert_eq!(trial.await.unwrap().unwrap().status(), 200);
    assert_eq!(next.await.unwrap().unwrap().status(), 200);
    assert_eq!(cools(&pool, "b"), seconds(300), "the refusal is its own");
    assert_eq!(cools(&pool, "a"), seconds(0));
}

#[tokio::test(start_paused = true)]
async fn a_success_that_began_before_the_limit_does_not_end_it() {
    let clock = tokio_clock();
    let vault = two_of(["a", "b", "c"]).await;
    let gate = Arc::new(Notify::new());
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(600)])
        .answers("b", [Canned::ok().after_notify(&gate), Canned::ok()]);
    let pool = open(&vault, &clock).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let before = tokio::spawn(service.clone().oneshot(pinned("b")));
    settle().await;
    assert_eq!(ask(&service, post()).await, (200, "c".into()));
    gate.notify_one();
    assert_eq!(before.await.unwrap().unwrap().status(), 200);
    assert_eq!((cools(&pool, "a"), cools(&pool, "b")), (seconds(600), seconds(600)));
    // One that begins after it does.
    assert_eq!(ask(&service, pinned("b")).await.0, 200);
    assert_eq!((cools(&pool, "a"), cools(&pool, "b")), (seconds(0), seconds(0)));
}

#[tokio::test(start_paused = true)]
async fn limits_without_a_time_grow_whoever_meets_them() {
    let clock = tokio_clock();
    let vault = two_of(["a", "b"]).await;
    let limited = || [Canned::status(429)];
    let upstream = Upstream::new().answers("a", limited()).answers("b", limited());
    let pool = open(&vault, &clock).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    for (attempt, expected) in [30, 60, 120, 240].into_iter().enumerate() {
        assert_eq!(ask(&service, post()).await.0, 429);
        assert_eq!(upstream.tokens().len(), attempt + 1);
        assert_eq!((cools(&pool, "a"), cools(&pool, "b")), (seconds(expected), seconds(expected)));
        tokio::time::advance(seconds(expected)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_one_ends_the_limit_for_all_and_restores_their_order() {
    let clock = tokio_clock();
    let vault = two_of(["a", "b", "c"]).await;
    let upstream = Upstream::new().answers("a", [Canned::limited(600), Canned::ok()]);
    let events = Journal::new();
    let built = builder(vault.clone()).clock(clock.clone()).on_event(events.observer());
    let pool = built.open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream);
    assert_eq!(ask(&service, post()).await, (200, "c".into()));
    assert_eq!(order(&pool), ["c", "b", "a"]);
    pool.reset(id_of(&pool, "b")).await.unwrap();
    assert_eq!((cools(&pool, "a"), cools(&pool, "b")), (seconds(0), seconds(0)));
    assert_eq!(order(&pool), ["a", "b", "c"]);
    assert!(events.all().iter().any(|event| event.starts_with("Reset ")), "{:?}", events.all());
    let other = open(&vault, &clock).await;
    assert_eq!((order(&other), cools(&other, "a")), (order(&pool), seconds(0)));
}

#[tokio::test(start_paused = true)]
async fn who_joins_a_quota_is_held_up_and_who_leaves_it_is_free() {
    let clock = tokio_clock();
    let vault = keys(["a", "b", "c"]).await;
    let upstream = Upstream::new().answers("a", [Canned::limited(600)]);
    let pool = open(&vault, &clock).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
    for label in ["a", "b"] {
        pool.set_quota(id_of(&pool, label), Some(shared("acme"))).await.unwrap();
    }
    assert_eq!(ask(&service, post()).await, (200, "c".into()));
    let other = open(&vault, &clock).await;
    assert_eq!(cools(&other, "b"), seconds(600));
    // Neither a reset nor a pause is about it.
    pool.pause(id_of(&pool, "b")).await.unwrap();
    pool.resume(id_of(&pool, "b")).await.unwrap();
    pool.set_quota(id_of(&pool, "b"), Some(Quota::Own)).await.unwrap();
    assert_eq!((cools(&pool, "a"), cools(&pool, "b")), (seconds(600), seconds(0)));
    other.sync().await.unwrap();
    assert_eq!(cools(&other, "b"), seconds(0));
    pool.reset(id_of(&pool, "b")).await.unwrap();
    assert_eq!(status_of(&pool, "b").standing.quota, Some(Quota::Own), "a reset is not about it");
    pool.set_quota(id_of(&pool, "b"), None).await.unwrap();
    assert_eq!(status_of(&pool, "b").standing.quota, None);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_removed_takes_its_limit_with_it() {
    let clock = tokio_clock();
    let vault = two_of(["a", "b"]).await;
    let upstream = Upstream::new().answers("a", [Canned::limited(600)]);
    let pool = open(&vault, &clock).await;
    let service = stack(four(&pool, &no_refresh()), upstream);
    assert_eq!(ask(&service, post()).await.0, 429);
    vault.remove(&key(), id_of(&pool, "a")).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(cools(&pool, "b"), seconds(0));
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_a_wrong_clock_has_set_ends_alone() {
    let clock = tokio_clock();
    let vault = two_of(["a", "b", "c"]).await;
    let upstream = Upstream::new().answers("a", [Canned::limited(600)]);
    let pool = open(&vault, &clock).await;
    let service = stack(four(&pool, &no_refresh()), upstream);
    assert_eq!(ask(&service, post()).await, (200, "c".into()));
    let set_at = pool.now().after(seconds(10_000));
    let cooldown = Cooldown {
        until: set_at.after(seconds(60)),
        set_at,
        reason: Reason::Limited,
        scope: None,
        generation: None,
        cause: None,
    };
    let change = Change::CooledDown { cooldown, failure: true, to_back: false };
    vault.record(key(), vec![Outcome { id: id_of(&pool, "b"), change }]).await.unwrap();
    pool.sync().await.unwrap();
    pool.save().await.unwrap();
    assert_eq!((cools(&pool, "a"), cools(&pool, "b")), (seconds(600), seconds(600)));
    let other = open(&vault, &clock).await;
    assert_eq!((cools(&other, "a"), cools(&other, "b")), (seconds(600), seconds(600)));
}

#[test]
fn a_name_of_a_quota_is_checked_like_other_names() {
    for name in ["", " ", "a\n", "a\u{200b}", &"x".repeat(201)] {
        let error = QuotaName::new(name).unwrap_err().to_string();
        assert!(error.contains("quota"), "{error}");
        assert!(serde_json::from_value::<QuotaName>(name.into()).is_err());
    }
    assert_eq!(QuotaName::new("acme / research").unwrap().to_string(), "acme / research");
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_one_leaves_the_turns_of_those_that_share_its_quota_as_they_were() {
    let vault = two_of(["a", "b", "c", "d"]).await;
    let pool = builder(vault).clock(tokio_clock()).policy(policy::Weighted::by(|_| 1));
    let pool = pool.open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), Upstream::new());
    // Turns that are out of order: b, c and d have missed none of theirs.
    for _ in 0..3 {
        assert_eq!(ask(&service, pinned("d")).await, (200, "d".into()));
    }
    assert_eq!(order(&pool), ["a", "b", "c", "d"]);
    pool.pause(id_of(&pool, "a")).await.unwrap();
    let mut turns = Vec::new();
    for _ in 0..4 {
        turns.push(ask(&service, post()).await.1);
    }
    assert_eq!(turns, ["b", "c", "b", "c"]);
}

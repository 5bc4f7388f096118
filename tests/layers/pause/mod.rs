//! A person pauses an account and resumes it. While it is paused no request uses it, whatever the policy, the options
//! of the request and the order of the layers, and only an explicit call resumes it.

#![cfg(all(feature = "file", feature = "providers"))]

mod generated;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tower::{Layer, ServiceExt};
use tower_credentials::policy::{
    LeastRecentlyUsed, MostHeadroom, Policy, RoundRobin, SoonestReset, Sticky, Weighted,
};
use tower_credentials::standing::{Change, Health, Outcome, Standing};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{EnvironmentLayer, MemoryVault, VaultError, VaultExt};
use tower_credentials::*;

use crate::support::*;

fn is_paused(pool: &Pool, label: &str) -> bool {
    status_of(pool, label).standing.paused
}

async fn pause<const N: usize>(pool: &Pool, labels: [&str; N]) {
    for label in labels {
        pool.pause(id_of(pool, label)).await.unwrap();
    }
}

/// Sends a request that must fail because of a pause. Returns its pin, if the error is about one.
async fn refused(service: &Stack, request: Asked) -> Option<String> {
    let error = service.clone().oneshot(request).await.unwrap_err();
    let Some(Error::Paused { pin, .. }) = error.downcast_ref() else { panic!("{error:?}") };
    let text = error.to_string();
    assert!(text.contains("paused") && text.contains("Pool::resume"), "{text}");
    assert_eq!(text.contains("pinned"), pin.is_some(), "{text}");
    pin.clone()
}

#[tokio::test(start_paused = true)]
async fn no_policy_picks_a_paused_credential_until_it_is_resumed() {
    fn policy(number: usize) -> Box<dyn FnOnce(PoolBuilder) -> PoolBuilder> {
        fn with(policy: impl Policy) -> Box<dyn FnOnce(PoolBuilder) -> PoolBuilder> {
            Box::new(|builder| builder.policy(policy))
        }
        match number {
            0 => with(Sticky),
            1 => with(RoundRobin),
            2 => with(LeastRecentlyUsed),
            3 => with(Weighted::by(|_| 3)),
            4 => with(SoonestReset),
            5 => with(MostHeadroom.then(RoundRobin)),
            _ => Box::new(|builder| builder.max_in_flight(NonZeroU32::MIN)),
        }
    }
    for number in 0..7 {
        let upstream = Upstream::new();
        let open = policy(number)(builder(keys(["a", "b", "c"]).await));
        let pool = open.clock(tokio_clock()).open().await.unwrap();
        let service = stack(four(&pool, &no_refresh()), upstream.clone());
        for _ in 0..4 {
            ask(&service, post()).await;
        }
        pause(&pool, ["a"]).await;
        let before = upstream.count("a");
        for _ in 0..8 {
            assert_eq!(ask(&service, post()).await.0, 200);
        }
        pause(&pool, ["b"]).await;
        for _ in 0..4 {
            assert_eq!(ask(&service, post()).await.1, "c");
        }
        assert_eq!(upstream.count("a"), before, "policy {number}");
        pool.resume(id_of(&pool, "a")).await.unwrap();
        pause(&pool, ["c"]).await;
        assert_eq!(ask(&service, post()).await.1, "a", "policy {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_order_of_the_layers_uses_it_first_next_or_as_the_soonest_ready() {
    for order in ORDERS {
        let upstream = Upstream::new().answers("a", [Canned::limited(10)]);
        let pool = builder(keys(["a", "b", "c"]).await).clock(tokio_clock()).open().await.unwrap();
        let service = order(&pool, upstream.clone());
        pause(&pool, ["b"]).await;
        assert_eq!(ask(&service, post()).await.1, "c", "not next");
        upstream.set("c", [Canned::limited(20)]);
        assert_eq!(ask(&service, post()).await.0, 429);
        pause(&pool, ["a"]).await;
        assert_eq!(ask(&service, post()).await.0, 429, "a is ready sooner, but is paused");
        assert_eq!(upstream.tokens(), ["a", "c", "c", "c"]);
        pause(&pool, ["c"]).await;
        assert_eq!(refused(&service, post()).await, None);
        assert_eq!(upstream.tokens().len(), 4, "nothing was sent");
    }
}

#[tokio::test(start_paused = true)]
async fn an_affinity_moves_away_from_a_paused_account() {
    let upstream = Upstream::new();
    let pool = builder(keys(["a", "b"]).await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let chat = || post_with(Affinity::new("chat"));
    assert_eq!(ask(&service, chat()).await.1, "a");
    pause(&pool, ["a"]).await;
    assert_eq!(ask(&service, chat()).await.1, "b");
    pool.resume(id_of(&pool, "a")).await.unwrap();
    assert_eq!(ask(&service, chat()).await.1, "b", "it stays where it has moved to");
}

#[tokio::test(start_paused = true)]
async fn a_pin_to_a_paused_account_is_an_error_that_says_how_to_resume_it() {
    let upstream = Upstream::new();
    let pool = builder(keys(["a", "b"]).await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    pause(&pool, ["b"]).await;
    assert_eq!(refused(&service, pinned("b")).await.as_deref(), Some("\"b\""));
    let b = id_of(&pool, "b");
    assert_eq!(refused(&service, post_with(Pin::id(b))).await, Some(b.to_string()));
    assert!(upstream.tokens().is_empty());
    assert_eq!(ask(&service, pinned("a")).await.1, "a");
    pool.resume(b).await.unwrap();
    assert_eq!(ask(&service, pinned("b")).await.1, "b");
}

#[tokio::test(start_paused = true)]
async fn if_the_others_need_a_sign_in_the_error_is_about_them() {
    let vault = keys(["a", "b"]).await;
    let pool = builder(vault.clone()).open().await.unwrap();
    let health =
        Health::NeedsSignIn { reason: "revoked".into(), generation: Generation::FIRST, cause: None };
    let outcome = Outcome { id: id_of(&pool, "a"), change: Change::Health(health) };
    vault.record(key(), vec![outcome]).await.unwrap();
    pool.sync().await.unwrap();
    pause(&pool, ["b"]).await;
    let service = stack(four(&pool, &no_refresh()), Upstream::new());
    let error = service.clone().oneshot(post()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::NeedsSignIn { .. })), "{error:?}");
    assert!(error.to_string().contains("not paused"), "{error}");
    pause(&pool, ["a"]).await;
    assert_eq!(refused(&service, post()).await, None);
}

#[tokio::test(start_paused = true)]
async fn pausing_the_last_account_does_not_bill_a_key_instead() {
    let vault = keys(["key"]).await;
    vault.put(account("sub")).await.unwrap();
    let upstream = Upstream::new();
    let pool = builder(vault).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    pause(&pool, ["sub"]).await;
    assert_eq!(refused(&service, post()).await, None);
    assert!(upstream.tokens().is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_reset_success_sign_in_or_restart_resumes_it() {
    let vault = accounts(["a", "b"]).await;
    let release = Arc::new(Notify::new());
    let slow = Canned::ok().after_notify(&release);
    let upstream = Upstream::new().answers("a-1", [slow]);
    let pool = builder(vault.clone()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let under_way = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(1).await;
    let a = id_of(&pool, "a");
    pause(&pool, ["a"]).await;
    release.notify_one();
    assert_eq!(under_way.await.unwrap().0, 200, "what is under way goes on");
    assert!(is_paused(&pool, "a"));

    pool.reset(a).await.unwrap();
    assert!(is_paused(&pool, "a"));
    vault.replace_secret(&key(), a, Generation::FIRST, OAuthTokens::new("a-2")).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(status_of(&pool, "a").credential.generation, Generation::new(2));
    assert!(is_paused(&pool, "a"));
    assert_eq!(ask(&service, post()).await.1, "b-1");

    let again = builder(vault).open().await.unwrap();
    assert!(is_paused(&again, "a"));
    assert_eq!(ask(&stack(four(&again, &no_refresh()), upstream), post()).await.1, "b-1");
    again.resume(a).await.unwrap();
    assert_eq!(learnt(&status_of(&again, "a").standing), Standing::default());
}

#[tokio::test(start_paused = true)]
async fn a_pause_leaves_the_cooldown_as_it_was() {
    let upstream = Upstream::new().answers("a", [Canned::limited(100)]);
    let pool = builder(keys(["a", "b"]).await).clock(tokio_clock()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream);
    ask(&service, post()).await;
    let before = status_of(&pool, "a").standing;
    pause(&pool, ["a"]).await;
    assert_eq!(status_of(&pool, "a").standing, Standing { paused: true, ..before.clone() });
    pool.resume(id_of(&pool, "a")).await.unwrap();
    assert_eq!(status_of(&pool, "a").standing, before);
    assert_eq!(ask(&service, post()).await.1, "b", "it still cools down");
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_saved_at_once_reported_once_and_an_error_for_an_unknown_account() {
    let vault = keys(["a"]).await;
    let events = Journal::new();
    let pool = builder(vault.clone()).on_event(events.observer()).open().await.unwrap();
    let a = id_of(&pool, "a");
    let saved = || async { vault.load_pool(key()).await.unwrap().standings.credentials[&a].paused };
    for _ in 0..2 {
        pool.pause(a).await.unwrap();
        assert!(saved().await);
    }
    for _ in 0..2 {
        pool.resume(a).await.unwrap();
        assert!(!saved().await);
    }
    assert_eq!((events.count("Paused"), events.count("Resumed")), (1, 1), "{:?}", events.all());
    let stranger = CredentialId::random();
    for response in [pool.pause(stranger).await, pool.resume(stranger).await] {
        assert!(matches!(response, Err(VaultError::NotFound(id)) if id == stranger), "{response:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_this_pool_has_already_is_saved_all_the_same() {
    let vault = keys(["a"]).await;
    let [first, second] = [builder(vault.clone()), builder(vault.clone())];
    let first = first.sync_every(None).open().await.unwrap();
    let second = second.sync_every(None).open().await.unwrap();
    let a = id_of(&first, "a");
    first.pause(a).await.unwrap();
    second.sync().await.unwrap();
    second.resume(a).await.unwrap();
    first.pause(a).await.unwrap();
    assert!(vault.load_pool(key()).await.unwrap().standings.credentials[&a].paused);
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_for_a_paused_account_fail_at_once() {
    let upstream = Upstream::new().answers("a", [Canned::limited(1000)]);
    let pool = builder(keys(["a"]).await)
        .clock(tokio_clock())
        .when_all_cooling_down(WhenAllCoolingDown::WaitUpTo(seconds(5000)))
        .open()
        .await
        .unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream);
    ask(&service, post()).await;
    let waiting = service.clone();
    let waiting = tokio::spawn(async move { refused(&waiting, post()).await });
    tokio::time::sleep(seconds(1)).await;
    assert!(!waiting.is_finished());
    let before = pool.now();
    pause(&pool, ["a"]).await;
    assert_eq!(waiting.await.unwrap(), None);
    assert_eq!(pool.now(), before, "at once");
}

#[tokio::test(start_paused = true)]
async fn a_paused_account_is_not_renewed_and_a_resumed_one_is_at_once() {
    let clock = tokio_clock();
    let vault = MemoryVault::new();
    for label in ["a", "b"] {
        let tokens = OAuthTokens::new(format!("{label}-1"))
            .refresh(format!("refresh-{label}"))
            .expires_at(clock.now().after(seconds(3600)));
        let mut credential = Credential::new(key(), label, tokens);
        credential.metadata.updated_at = clock.now();
        vault.put(credential).await.unwrap();
    }
    let renewed = Journal::new();
    let open = builder(vault).clock(clock.clone()).refresher(renewing(&renewed));
    let pool = open.sync_every(seconds(60)).open().await.unwrap();
    pause(&pool, ["a"]).await;
    tokio::time::sleep(seconds(7200)).await;
    assert_eq!(renewed.all(), ["b"]);
    let before = clock.now();
    pool.resume(id_of(&pool, "a")).await.unwrap();
    renewed.reaches(2).await;
    assert_eq!(renewed.all(), ["b", "a"]);
    assert_eq!(clock.now(), before);
}

#[tokio::test(start_paused = true)]
async fn an_environment_variables_key_is_paused_in_memory() {
    let stored = MemoryVault::new();
    let layer = EnvironmentLayer::new(key(), "X_API_KEY", || Some("from-environment".into()));
    let vault = layer.layer(stored.clone());
    let pool = builder(vault.clone()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), Upstream::new());
    assert_eq!(ask(&service, post()).await.1, "from-environment");
    pause(&pool, ["$X_API_KEY"]).await;
    assert_eq!(refused(&service, post()).await, None);
    // Another pool over the same vault.
    let other = builder(vault).open().await.unwrap();
    assert!(is_paused(&other, "$X_API_KEY"));
    pool.resume(id_of(&pool, "$X_API_KEY")).await.unwrap();
    assert_eq!(ask(&service, post()).await.1, "from-environment");
    assert!(stored.load_pool(key()).await.unwrap().standings.credentials.is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_pool_of_the_vault_sees_a_pause_within_a_second() {
    let vault = keys(["a", "b"]).await;
    let first = builder(vault.clone()).open().await.unwrap();
    let second = builder(vault).open().await.unwrap();
    let service = stack(four(&second, &no_refresh()), Upstream::new());
    pause(&first, ["a"]).await;
    tokio::time::sleep(Duration::from_millis(1001)).await;
    assert_eq!(ask(&service, post()).await.1, "b");
    first.resume(id_of(&first, "a")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1001)).await;
    assert_eq!(ask(&service, post()).await.1, "a");
}

#[tokio::test]
async fn two_vaults_over_one_directory_see_each_others_pauses() {
    let directory = tempfile::tempdir().unwrap();
    let key_ = VaultKey::generate();
    let open = async || {
        let vault = FileVault::open(directory.path(), &key_).await.unwrap();
        (vault.clone(), builder(vault).sync_every(None).open().await.unwrap())
    };
    let (vault, first) = open().await;
    for label in ["a", "b"] {
        vault.put(Credential::new(key(), label, Secret::api_key(label))).await.unwrap();
    }
    first.sync().await.unwrap();
    let (_, second) = open().await;
    pause(&first, ["a"]).await;
    pause(&second, ["b"]).await;
    for pool in [&first, &second] {
        pool.sync().await.unwrap();
        assert!(is_paused(pool, "a") && is_paused(pool, "b"));
    }
    second.resume(id_of(&second, "a")).await.unwrap();
    first.sync().await.unwrap();
    let service = stack(four(&first, &no_refresh()), Upstream::new());
    assert_eq!(ask(&service, post()).await.1, "a");
    let (_, reopened) = open().await;
    assert!(is_paused(&reopened, "b") && !is_paused(&reopened, "a"));
}

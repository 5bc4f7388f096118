//! An expired token that could not be renewed, though its vendor did not refuse: the vault or another process was in
//! the way, or the token endpoint failed. Its 401 is expected, and says nothing about the account.

use std::time::Duration;

use tower::util::MapRequestLayer;
use tower_credentials::standing::Health;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

fn upstream() -> Upstream {
    Upstream::new().answers("a-1", vec![Canned::status(401); 1000])
}

/// The layers in several orders, alone and with something of the user's in between, and as one.
fn arrangements(pool: &Pool, refresher: &Refresher) -> [Stack; 5] {
    arrangements_over(&upstream(), pool, refresher)
}

fn arrangements_over(upstream: &Upstream, pool: &Pool, refresher: &Refresher) -> [Stack; 5] {
    let upstream = || upstream.clone();
    let user = || MapRequestLayer::new(|request: Asked| request);
    let as_one = CredentialsLayer::new(pool.clone()).refresher(refresher.clone());
    let recommended = stack(four(pool, refresher), upstream());
    let (rotate, refresh, auth, persist) = four(pool, refresher);
    let inside_out = stack((persist, auth, refresh, rotate), upstream());
    let (rotate, refresh, auth, persist) = four(pool, refresher);
    let apart = stack((rotate, user(), auth, user(), refresh, user(), persist), upstream());
    let (rotate, refresh, auth, persist) = four(pool, refresher);
    let refresh_outside = stack((refresh, user(), persist, rotate, user(), auth), upstream());
    [stack(as_one, upstream()), recommended, inside_out, apart, refresh_outside]
}

/// A pool with an expired account under one of the arrangements, and the accounts whose tokens were renewed.
struct Scene {
    vault: MemoryVault,
    pool: Pool,
    asked: Journal<String>,
    service: Stack,
}

impl Scene {
    async fn new(clock: &Clock, order: usize) -> Self {
        let vault = with_an_expired_one(clock).await;
        let pool = builder(vault.clone()).clock(clock.clone()).open().await.unwrap();
        let asked = Journal::new();
        let service = arrangements(&pool, &renewing(&asked))[order].clone();
        Self { vault, pool, asked, service }
    }
}

#[tokio::test(start_paused = true)]
async fn vault_trouble_before_an_expired_token_is_sent_cools_no_account_down() {
    let clock = tokio_clock();
    for broken in ["lease_client", "lease", "revision", "begin"] {
        for order in 0..5 {
            let why = format!("{broken}, order {order}");
            let vault = with_an_expired_one(&clock).await;
            let spy = Planned::new(&vault, move |kind, before| match kind {
                kind if kind == broken && before < 3 => Plan::Fail,
                _ => Plan::Pass,
            });
            let pool = builder(spy).clock(clock.clone()).sync_every(None).open().await.unwrap();
            let asked = Journal::new();
            let service = arrangements(&pool, &renewing(&asked))[order].clone();
            for _ in 0..6 {
                assert_eq!(ask(&service, post()).await.0, 200, "{why}");
                is_blameless(&pool, &vault, &why).await;
                tokio::time::sleep(seconds(2)).await;
            }
            // It is first again as soon as it is renewed.
            assert_eq!(ask(&service, post()).await, (200, "a-2".into()), "{why}");
            assert_eq!(asked.all(), ["a"], "{why}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_process_with_the_lease_of_an_expired_token_cools_no_account_down() {
    let clock = tokio_clock();
    for order in 0..5 {
        let why = format!("order {order}");
        let Scene { vault, pool, asked, service } = Scene::new(&clock, order).await;
        let held = vault.lease_refresh(&key(), id_of(&pool, "a")).await.unwrap();
        // Many at once, as after a wait.
        let requests: Vec<_> = (0..20).map(|_| tokio::spawn(ask(&service, post()))).collect();
        for request in requests {
            assert_eq!(request.await.unwrap(), (200, "b-1".into()), "{why}");
        }
        is_blameless(&pool, &vault, &why).await;
        drop(held);
        asked.reaches(1).await;
        pool.renewed().await;
        assert_eq!(ask(&service, post()).await, (200, "a-2".into()), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_in_a_closing_pool_cools_no_account_down() {
    let clock = tokio_clock();
    for order in 0..5 {
        let why = format!("order {order}");
        let Scene { vault, pool, asked, service } = Scene::new(&clock, order).await;
        pool.close(seconds(1)).await.unwrap();
        assert_eq!(ask(&service, post()).await, (200, "b-1".into()), "{why}");
        is_blameless(&pool, &vault, &why).await;
        assert!(asked.all().is_empty(), "{why}");
    }
}

/// A refresher that fails this many times, with this error, and then works.
fn failing(times: usize, with: Failure, asked: &Journal<String>) -> Refresher {
    let noted = asked.clone();
    Refresher::new(move |credential: Credential| {
        noted.push(credential.metadata.label.to_string());
        let response = match noted.all().len() <= times {
            true => Err(with()),
            false => Ok(renewed(&credential.metadata)),
        };
        async move { response }
    })
}

type Failure = fn() -> RefreshError;

/// Failures of a token endpoint that are not a verdict, and the token once it works. An unreadable response makes a
/// generation of its own, since it is kept.
const FAILURES: [(&str, Failure, &str); 3] = [
    ("a limit", || RefreshError::AskAgain { after: seconds(2), error: "429".into() }, "a-2"),
    ("trouble", || RefreshError::Failed("503".into()), "a-2"),
    (
        "a broken response",
        || RefreshError::Unread { received: "{".into(), error: "broken".into() },
        "a-3",
    ),
];

#[tokio::test(start_paused = true)]
async fn one_failure_of_the_token_endpoint_cools_no_account_down() {
    let clock = tokio_clock();
    for (failure, with, new) in FAILURES {
        for (order, has_key) in (0..5).flat_map(|order| [(order, true), (order, false)]) {
            let why = format!("{failure}, order {order}, a key: {has_key}");
            let vault = with_an_expired_one(&clock).await;
            let other = if has_key { "paid" } else { "b-1" };
            if has_key {
                let b = vault.load_pool(key()).await.unwrap().credentials.pop().unwrap();
                vault.remove(&b.metadata.pool, b.metadata.id).await.unwrap();
                vault.put(Credential::new(key(), "paid", Secret::api_key("paid"))).await.unwrap();
            }
            let pool = builder(vault.clone()).clock(clock.clone()).mode(Mode::All).open().await.unwrap();
            let asked = Journal::new();
            let service = arrangements(&pool, &failing(1, with, &asked))[order].clone();
            for _ in 0..3 {
                assert_eq!(ask(&service, post()).await, (200, other.into()), "{why}");
                is_blameless(&pool, &vault, &why).await;
                assert_eq!(order_of_use(&pool), "a", "{why}: it is no suspect");
            }
            assert_eq!(asked.all(), ["a"], "{why}");
            tokio::time::sleep(seconds(3)).await;
            assert_eq!(ask(&service, post()).await, (200, new.into()), "{why}");
            assert_eq!(asked.all(), ["a", "a"], "{why}");
        }
    }
}

/// Which account comes first.
fn order_of_use(pool: &Pool) -> String {
    let id = pool.active().unwrap();
    let is_it = |status: &CredentialStatus| status.credential.id == id;
    pool.status().into_iter().find(is_it).unwrap().credential.label.to_string()
}

#[tokio::test(start_paused = true)]
async fn an_expired_account_that_a_request_rotates_to_is_not_cooled_down_either() {
    let clock = tokio_clock();
    for (failure, with, new) in FAILURES {
        for order in 0..5 {
            let why = format!("{failure}, order {order}");
            let vault = MemoryVault::new();
            vault.put(account("first")).await.unwrap();
            let tokens = OAuthTokens::new("a-1").refresh("refresh-a").expires_at(clock.now());
            vault.put(Credential::new(key(), "a", tokens)).await.unwrap();
            vault.put(account("b")).await.unwrap();
            let pool = builder(vault.clone()).clock(clock.clone()).open().await.unwrap();
            let asked = Journal::new();
            let limited = upstream().answers("first-1", [Canned::limited(3600)]);
            let service = arrangements_over(&limited, &pool, &failing(1, with, &asked))[order].clone();
            assert_eq!(ask(&service, post()).await, (200, "b-1".into()), "{why}");
            assert_eq!(cools(&pool, "a"), Duration::ZERO, "{why}");
            assert_eq!(order_of_use(&pool), "a", "{why}");
            tokio::time::sleep(seconds(3)).await;
            assert_eq!(ask(&service, post()).await, (200, new.into()), "{why}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_account_keeps_its_place_after_a_request_that_is_sent_once() {
    let clock = tokio_clock();
    for (failure, with, _) in FAILURES {
        let vault = with_an_expired_one(&clock).await;
        let pool = builder(vault.clone()).clock(clock.clone()).open().await.unwrap();
        let asked = Journal::new();
        let refresher = failing(1, with, &asked);
        let service = arrangements(&pool, &refresher)[0].clone();
        let pinned = pinned("a");
        assert_eq!(ask(&service, pinned).await.0, 401, "{failure}");
        is_blameless(&pool, &vault, failure).await;
        assert_eq!(order_of_use(&pool), "a", "{failure}");
    }
}

/// Only the vendor's own refusal to renew it puts it out of use.
#[tokio::test(start_paused = true)]
async fn an_expired_token_whose_vendor_refuses_to_renew_it_needs_a_sign_in() {
    let clock = tokio_clock();
    for order in 0..5 {
        let pool = builder(with_an_expired_one(&clock).await).clock(clock.clone()).open().await.unwrap();
        let service = arrangements(&pool, &no_refresh())[order].clone();
        assert_eq!(ask(&service, post()).await, (200, "b-1".into()));
        let standing = status_of(&pool, "a").standing;
        assert!(matches!(standing.health, Health::NeedsSignIn { .. }), "order {order}: {standing:?}");
        assert!(standing.cooldowns.is_empty(), "order {order}: {standing:?}");
    }
}

/// Nothing said that this token had expired, so its refusal counts, whatever the token endpoint does.
#[tokio::test(start_paused = true)]
async fn a_token_that_has_not_expired_is_judged_as_any_other() {
    let clock = tokio_clock();
    for (failure, with, _) in FAILURES {
        for order in 0..5 {
            let vault = accounts(["a", "b"]).await;
            let pool = builder(vault).clock(clock.clone()).open().await.unwrap();
            let asked = Journal::new();
            let service = arrangements(&pool, &failing(1, with, &asked))[order].clone();
            for _ in 0..2 {
                assert_eq!(ask(&service, post()).await, (200, "b-1".into()));
            }
            assert_eq!(cools(&pool, "a"), seconds(300), "{failure}, order {order}");
        }
    }
}

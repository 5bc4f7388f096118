//! An expired token that nobody could renew before it was sent, since the vault or another process was in the way: its
//! refusal is expected, and says nothing of the account.

use std::time::Duration;

use tower::util::MapRequestLayer;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

/// Two accounts; the first one's token has expired.
async fn vault(clock: &Clock) -> MemoryVault {
    let vault = MemoryVault::new();
    let tokens = OAuthTokens::new("a-1").refresh("refresh-a").expires_at(clock.now());
    vault.put(Credential::new(key(), "a", tokens)).await.unwrap();
    vault.put(account("b")).await.unwrap();
    vault
}

fn upstream() -> Upstream {
    Upstream::new().answers("a-1", vec![Answer::status(401); 1000])
}

/// The layers in several orders, alone and with something of the user's in between, and as one.
fn arrangements(pool: &Pool, refresher: &Refresher) -> [Stack; 5] {
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

/// That the account is neither parked nor held to have failed, here and in the vault.
async fn is_blameless(pool: &Pool, vault: &MemoryVault, why: &str) {
    assert_eq!(cools(pool, "a"), Duration::ZERO, "{why}");
    let stored = vault.load_pool(key()).await.unwrap().standings.credentials;
    for standing in stored.values().chain([&status_of(pool, "a").standing]) {
        assert!(standing.cooldowns.is_empty() && standing.failures == 0, "{why}: {standing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn trouble_of_the_vault_before_an_expired_token_is_sent_parks_nobody() {
    let clock = tokio_clock();
    for broken in ["lease_client", "lease", "revision", "begin"] {
        for order in 0..5 {
            let why = format!("{broken}, order {order}");
            let vault = vault(&clock).await;
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
async fn an_expired_token_whose_lease_a_stopped_process_holds_parks_nobody() {
    let clock = tokio_clock();
    for order in 0..5 {
        let why = format!("order {order}");
        let vault = vault(&clock).await;
        let pool = builder(vault.clone()).clock(clock.clone()).open().await.unwrap();
        let asked = Journal::new();
        let service = arrangements(&pool, &renewing(&asked))[order].clone();
        let held = vault.lease_refresh(status_of(&pool, "a").credential.id).await.unwrap();
        // Many at once, as they come together when the wait is over.
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
async fn an_expired_token_that_a_closing_program_renews_no_more_parks_nobody() {
    let clock = tokio_clock();
    for order in 0..5 {
        let why = format!("order {order}");
        let vault = vault(&clock).await;
        let pool = builder(vault.clone()).clock(clock.clone()).open().await.unwrap();
        let asked = Journal::new();
        let service = arrangements(&pool, &renewing(&asked))[order].clone();
        pool.close(seconds(1)).await.unwrap();
        assert_eq!(ask(&service, post()).await, (200, "b-1".into()), "{why}");
        is_blameless(&pool, &vault, &why).await;
        assert!(asked.all().is_empty(), "{why}");
    }
}

/// The vendor itself has not renewed it: then its refusal counts as any other.
#[tokio::test(start_paused = true)]
async fn an_expired_token_that_its_vendor_does_not_renew_is_judged_as_any_other() {
    let clock = tokio_clock();
    for order in 0..5 {
        let pool = builder(vault(&clock).await).clock(clock.clone()).open().await.unwrap();
        let refresher = Refresher::new(|_: Credential| async {
            Err::<Secret, _>(RefreshError::Failed("no network".into()))
        });
        let service = arrangements(&pool, &refresher)[order].clone();
        assert_eq!(ask(&service, post()).await, (200, "b-1".into()));
        assert_eq!(cools(&pool, "a"), seconds(300), "order {order}");
    }
}

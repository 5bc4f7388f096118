//! A clock that was wrong does no harm once it is corrected.

use tower_credentials::standing::{Change, Cooldown, Outcome, Reason, Scope, Standing};
use tower_credentials::vault::VaultExt;
use tower_credentials::*;

use crate::support::*;

const DAY: u64 = 24 * 60 * 60;

#[tokio::test]
async fn a_cooldown_that_was_set_in_the_future_ends_in_the_pool_and_in_the_vault() {
    for ahead in [8 * 60 * 60, 400 * DAY, 500 * 365 * DAY] {
        for scope in [None, Some(Scope::new("model"))] {
            let vault = keys(["a", "b"]).await;
            let clock = HandClock::new();
            let pool = builder(vault.clone()).clock(clock.clock()).open().await.unwrap();
            let id = id_of(&pool, "a");
            let set_at = pool.now().after(seconds(ahead));
            let until = set_at.after(seconds(60));
            let cooldown = Cooldown {
                until,
                set_at,
                reason: Reason::Limited,
                scope,
                generation: None,
                cause: None,
            };
            let change = Change::CooledDown { cooldown, failure: true, to_back: false };
            vault.record(key(), vec![Outcome { id, change }]).await.unwrap();
            // In a pool that runs, and in one that is opened.
            pool.sync().await.unwrap();
            let reopened = builder(vault.clone()).clock(clock.clock()).open().await.unwrap();
            for pool in [&pool, &reopened] {
                assert_eq!(status_of(pool, "a").standing, Standing::default(), "{ahead} s ahead");
                assert_eq!(pool.active(), Some(id));
            }
            pool.save().await.unwrap();
            let standings = vault.load_pool(key()).await.unwrap().standings;
            assert_eq!(standings.credentials[&id], Standing::default(), "{ahead} s ahead");
        }
    }
}

#[tokio::test]
async fn a_cooldown_is_kept_if_the_clocks_differ_by_a_minute() {
    let vault = keys(["a", "b"]).await;
    let pool = builder(vault.clone()).clock(HandClock::new().clock()).open().await.unwrap();
    let id = id_of(&pool, "a");
    let set_at = pool.now().after(seconds(59));
    let until = set_at.after(seconds(60));
    let cooldown =
        Cooldown { until, set_at, reason: Reason::Limited, scope: None, generation: None, cause: None };
    let change = Change::CooledDown { cooldown, failure: true, to_back: false };
    vault.record(key(), vec![Outcome { id, change }]).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(cools(&pool, "a"), seconds(119));
}

/// A clock that can be set to any time.
fn settable() -> (std::sync::Arc<std::sync::atomic::AtomicU64>, Clock) {
    use std::sync::atomic::{AtomicU64, Ordering};
    let time = std::sync::Arc::new(AtomicU64::new(4_000_000_000));
    let read = time.clone();
    let clock = Clock::from_fn(move || std::time::UNIX_EPOCH + seconds(read.load(Ordering::SeqCst)));
    (time, clock)
}

#[tokio::test]
async fn a_limit_recorded_by_a_wrong_clock_ends_when_the_clock_is_right() {
    use std::sync::atomic::Ordering;
    let (time, clock) = settable();
    let upstream = Upstream::new().answers("a", [Canned::limited(60), Canned::ok()]);
    let pool = builder(keys(["a", "b"]).await).clock(clock).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    time.fetch_add(400 * DAY, Ordering::SeqCst);
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
    assert_eq!(cools(&pool, "a"), seconds(60));
    time.fetch_sub(400 * DAY, Ordering::SeqCst);
    pool.sync().await.unwrap();
    assert_eq!(cools(&pool, "a"), seconds(0));
    upstream.set("b", [Canned::limited(60)]);
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens(), ["a", "b", "b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_stored_by_a_clock_that_was_ahead_is_renewed_soon() {
    for (ahead, renewals) in [(10 * DAY, 1), (0, 0)] {
        let vault = accounts(["a"]).await;
        let refreshes = Journal::new();
        let clock = tokio_clock();
        let stored = clock.now().after(seconds(ahead));
        // The account in the vault, as that clock dated it.
        let dated = tower::service_fn(move |request: vault::VaultRequest| {
            let vault = vault.clone();
            async move {
                let mut response = tower::ServiceExt::oneshot(vault, request).await?;
                if let vault::VaultResponse::Pool(pool) = &mut response {
                    for credential in &mut pool.credentials {
                        let Secret::OAuth(tokens) = &mut credential.secret else { unreachable!() };
                        if tokens.access.expose() == "a-1" {
                            credential.metadata.updated_at = stored;
                            tokens.expires_at = Some(stored.after(seconds(3600)));
                        }
                    }
                }
                Ok::<_, BoxError>(response)
            }
        });
        let pool = builder(dated).clock(clock).refresher(renewing(&refreshes)).open().await.unwrap();
        tokio::time::sleep(seconds(60)).await;
        assert_eq!(refreshes.all().len(), renewals, "{ahead} s ahead");
        drop(pool);
    }
}

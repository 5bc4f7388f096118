//! What ends a request's wait for an account.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tower_credentials::vault::VaultExt;
use tower_credentials::*;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_a_cooldown_goes_on_as_soon_as_it_is_reset() {
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
async fn a_request_that_waits_for_a_credential_goes_on_when_one_is_added() {
    let gate = Arc::new(Notify::new());
    let vault = keys(["a"]).await;
    let upstream = Upstream::new().answers("a", [Canned::ok().after_notify(&gate)]);
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

//! Requests that need the same refresh share one, and it outlives its caller.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tower_credentials::standing::Health;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

/// Four layers over two accounts, the first of which needs a refresh that waits for the gate.
struct HeldRefresh {
    gate: Arc<Semaphore>,
    /// The labels of the refreshed accounts.
    calls: Journal<String>,
    events: Journal<String>,
    vault: MemoryVault,
    /// The vault that the pool uses, and its calls.
    spy: Planned,
    pool: Pool,
    upstream: Upstream,
    service: Stack,
}

impl HeldRefresh {
    /// `works` says whether the refresh gets a new secret or is rejected.
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
        let spy = Planned::spy(&vault);
        let pool = builder(spy.clone()).on_event(events.observer()).open().await.unwrap();
        let service = stack(four(&pool, &refresher), upstream.clone());
        Self { gate, calls, events, vault, spy, pool, upstream, service }
    }
}

#[tokio::test]
async fn for_200_requests_at_once_an_expired_token_is_refreshed_once_and_all_succeed() {
    // The new token comes only after all of them have seen that the old one has expired.
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
    assert_eq!(vault.get(&key(), id_of(&pool, "a")).await.unwrap().metadata.generation.get(), 2);
}

#[tokio::test]
async fn a_stale_401_costs_no_refresh() {
    let gate = Arc::new(Semaphore::new(0));
    let slow = Canned::status(401).gated(&gate);
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
async fn a_secret_that_another_process_renewed_is_used_without_a_refresh() {
    let vault = accounts(["a"]).await;
    let pool = builder(vault.clone()).open().await.unwrap();
    let stored = pool.status()[0].credential.clone();
    vault.replace_secret(&stored.pool, stored.id, stored.generation, renewed(&stored)).await.unwrap();
    let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
    let refreshes = Journal::new();
    let service = stack(four(&pool, &renewing(&refreshes)), upstream);
    assert_eq!(ask(&service, post()).await, (200, "a-2".into()));
    assert!(refreshes.all().is_empty());
}

#[tokio::test]
async fn a_request_dropped_during_a_refresh_does_not_lose_the_new_secret() {
    let HeldRefresh { gate, calls, events, vault, pool, upstream, service, .. } =
        HeldRefresh::new(true).await;
    let request = tokio::spawn(ask(&service, post()));
    calls.reaches(1).await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    events.has("Refreshed").await;
    let id = id_of(&pool, "a");
    assert_eq!(vault.get(&key(), id).await.unwrap().secret.token().expose(), "a-2");
    assert_eq!(ask(&service, post()).await, (200, "a-2".into()));
    assert_eq!(upstream.tokens(), ["a-1", "a-2"]);
}

#[tokio::test]
async fn a_refresh_goes_on_for_the_second_request_when_the_first_is_dropped() {
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
async fn a_verdict_after_the_request_was_dropped_is_saved_too() {
    let HeldRefresh { gate, calls, events, vault, pool, service, .. } = HeldRefresh::new(false).await;
    let request = tokio::spawn(ask(&service, post()));
    calls.reaches(1).await;
    request.abort();
    gate.add_permits(1);
    events.has("NeedsSignIn").await;
    settle().await;
    let id = id_of(&pool, "a");
    let health = status_of(&pool, "a").standing.health;
    assert!(matches!(&health, Health::NeedsSignIn { reason, .. } if reason == "revoked"), "{health:?}");
    let stored = vault.load_pool(key()).await.unwrap().standings;
    assert_eq!(stored.credentials.get(&id).map(|standing| &standing.health), Some(&health));
}

#[tokio::test(start_paused = true)]
async fn an_unsaved_new_secret_is_not_used_and_not_exchanged_again() {
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
    let id = id_of(&pool, "a");
    assert_eq!(vault.get(&key(), id).await.unwrap().secret.token().expose(), "a-2");
    let request = pinned("a");
    assert_eq!(ask(&service, request).await, (200, "a-2".into()));
}

//! How many refreshes run at once, and how long a request waits for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tower_credentials::vault::{Replaced, VaultExt};
use tower_credentials::*;

use crate::support::*;

/// A refresher that waits for the gate. Records the most exchanges at once.
fn gated(gate: &Arc<Notify>, most: &Arc<AtomicUsize>, begun: &Journal<String>) -> Refresher {
    let (gate, most, begun) = (gate.clone(), most.clone(), begun.clone());
    let under_way = Arc::new(AtomicUsize::new(0));
    Refresher::new(move |credential: Credential| {
        let (gate, most, under_way) = (gate.clone(), most.clone(), under_way.clone());
        begun.push(credential.metadata.label.to_string());
        async move {
            most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.notified().await;
            under_way.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, RefreshError>(renewed(&credential.metadata))
        }
    })
}

#[tokio::test(start_paused = true)]
async fn refreshes_of_one_client_run_one_at_a_time_by_default() {
    type Set = fn(Refresher) -> Refresher;
    let cases: [(Set, usize); 3] = [
        (|refresher| refresher, 1),
        (|refresher| refresher.client("app"), 1),
        (|refresher| refresher.concurrent(), 3),
    ];
    for (set, at_once) in cases {
        let (gate, most, begun) =
            (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)), Journal::new());
        let refresher = set(gated(&gate, &most, &begun));
        let pool = builder(accounts(["a", "b", "c"]).await).clock(tokio_clock()).open().await.unwrap();
        let responses = |upstream: Upstream, label: &&str| {
            upstream.answers(&format!("{label}-1"), [Canned::status(401)])
        };
        let upstream = ["a", "b", "c"].iter().fold(Upstream::new(), responses);
        let service = stack(CredentialsLayer::new(pool).refresher(refresher), upstream.clone());
        let requests = ["a", "b", "c"].map(|label| {
            let request = pinned(label);
            tokio::spawn(ask(&service, request))
        });
        begun.reaches(at_once).await;
        for done in 1..=3 {
            gate.notify_one();
            begun.reaches((done + at_once).min(3)).await;
        }
        for request in requests {
            assert_eq!(request.await.unwrap().0, 200);
        }
        assert_eq!(most.load(Ordering::SeqCst), at_once);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_half_a_minute_for_a_refresh_which_then_goes_on() {
    let (gate, most, begun) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)), Journal::new());
    let vault = accounts(["a", "b"]).await;
    let pool = builder(vault.clone()).clock(tokio_clock()).open().await.unwrap();
    let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
    let all = CredentialsLayer::new(pool.clone()).refresher(gated(&gate, &most, &begun));
    let service = stack(all, upstream.clone());
    let began = tokio::time::Instant::now();
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(began.elapsed(), seconds(30));
    assert_eq!(upstream.tokens(), ["a-1", "b-1"]);
    assert!(cools(&pool, "a") > Duration::ZERO);

    gate.notify_one();
    while pool.counters().refreshes == 0 {
        tokio::task::yield_now().await;
    }
    let id = id_of(&pool, "a");
    assert_eq!(vault.get(&key(), id).await.unwrap().secret.token().expose(), "a-2");
    // It had cooled down because its token was not renewed.
    assert_eq!(cools(&pool, "a"), Duration::ZERO);
    let again =
        vault.replace_secret(&key(), id, Generation::FIRST, OAuthTokens::new("x")).await.unwrap();
    assert!(matches!(again, Replaced::Conflict(_)));
    assert_eq!(begun.all().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_that_cannot_be_stored_delays_no_other_refresh() {
    let pool = builder(accounts(["a", "b"]).await).clock(tokio_clock()).open().await.unwrap();
    let refresher = Refresher::new(|credential: Credential| async move {
        Ok::<_, RefreshError>(match &*credential.metadata.label {
            "a" => Secret::api_key("not an account's"),
            _ => renewed(&credential.metadata),
        })
    });
    let refused = || [Canned::status(401)];
    let upstream = Upstream::new().answers("a-1", refused()).answers("b-1", refused());
    let service = stack(CredentialsLayer::new(pool.clone()).refresher(refresher), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens(), ["a-1", "b-1", "b-2"]);
}

//! However many ask for the models at once, the upstream is asked once.
#![cfg(feature = "discovery")]

use std::sync::Arc;

use tokio::sync::Notify;
use tower_credentials::discovery::{Discovery, DiscoveryErrorKind};
use tower_credentials::provider::{ModelsEndpoint, ModelsShape};

use crate::discovery_rig::{Rig, ids, list};
use crate::support::{self, Canned, builder, keys, stack};

/// An answer that comes once this is notified.
fn held(answer: Canned) -> (Arc<Notify>, Canned) {
    let release = Arc::new(Notify::new());
    let waiting = release.clone();
    let answer = answer.after(move || {
        let waiting = waiting.clone();
        async move { waiting.notified().await }
    });
    (release, answer)
}

async fn rig(answers: impl IntoIterator<Item = Canned>) -> (Rig, Discovery) {
    let rig = Rig::new(keys(["a"]).await).await;
    rig.upstream.set("a", answers);
    let discovery = rig.builder(ModelsShape::OpenAi).build().unwrap();
    (rig, discovery)
}

#[tokio::test]
async fn fifty_callers_share_one_request() {
    let (release, answer) = held(list(&["a"]));
    let (rig, discovery) = rig([answer]).await;
    let callers: Vec<_> = (0..50)
        .map(|number| {
            let discovery = discovery.clone();
            tokio::spawn(async move {
                if number % 5 == 0 { discovery.refresh().await } else { discovery.models().await }
            })
        })
        .collect();
    rig.upstream.seen.reaches(1).await;
    release.notify_one();
    for caller in callers {
        assert_eq!(ids(&caller.await.unwrap().unwrap()), ["a"]);
    }
    assert_eq!(rig.requests(), 1);
}

#[tokio::test]
async fn fifty_callers_share_one_failure() {
    let (release, answer) = held(Canned::status(500));
    let (rig, discovery) = rig([answer]).await;
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let discovery = discovery.clone();
            tokio::spawn(async move { discovery.models().await })
        })
        .collect();
    rig.upstream.seen.reaches(1).await;
    release.notify_one();
    for caller in callers {
        let error = caller.await.unwrap().unwrap_err();
        assert_eq!(error.status().map(|status| status.as_u16()), Some(500));
    }
    assert_eq!(rig.requests(), 1);
}

#[tokio::test]
async fn a_caller_who_goes_away_stops_nobody_elses_request() {
    let (release, answer) = held(list(&["a"]));
    let (rig, discovery) = rig([answer, list(&["b"])]).await;
    let first = {
        let discovery = discovery.clone();
        tokio::spawn(async move { discovery.models().await })
    };
    rig.upstream.seen.reaches(1).await;
    let second = {
        let discovery = discovery.clone();
        tokio::spawn(async move { discovery.models().await })
    };
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    release.notify_one();
    assert_eq!(ids(&second.await.unwrap().unwrap()), ["a"]);
    // Nor is the answer lost where nobody is left.
    assert_eq!(ids(&discovery.models().await.unwrap()), ["a"]);
    assert_eq!(rig.requests(), 1);
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_any_more_is_kept() {
    let (release, answer) = held(list(&["a"]));
    let (rig, discovery) = rig([answer, list(&["b"])]).await;
    let only = {
        let discovery = discovery.clone();
        tokio::spawn(async move { discovery.models().await })
    };
    rig.upstream.seen.reaches(1).await;
    only.abort();
    assert!(only.await.unwrap_err().is_cancelled());
    release.notify_one();
    assert_eq!(ids(&discovery.models().await.unwrap()), ["a"]);
    assert_eq!(rig.requests(), 1);
}

#[tokio::test]
async fn after_an_end_there_is_a_new_beginning() {
    let (rig, discovery) = rig([Canned::status(500), list(&["a"]), list(&["b"])]).await;
    discovery.models().await.unwrap_err();
    assert_eq!(ids(&discovery.models().await.unwrap()), ["a"]);
    assert_eq!(ids(&discovery.refresh().await.unwrap()), ["b"]);
    assert_eq!(rig.requests(), 3);
}

#[tokio::test]
async fn a_client_that_panics_is_an_error_and_the_next_one_is_asked_anew() {
    let pool = builder(keys(["a"]).await).open().await.unwrap();
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let calls = Arc::new(calls);
    let upstream = tower::service_fn(move |_: support::Asked| {
        let is_first = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        async move {
            assert!(!is_first, "as planned");
            let body = http_body_util::Full::<bytes::Bytes>::from("{\"data\": [{\"id\": \"a\"}]}");
            Ok::<_, tower::BoxError>(http::Response::new(body))
        }
    });
    let client = stack(tower_credentials::CredentialsLayer::new(pool.clone()), upstream);
    let endpoint = ModelsEndpoint::new(ModelsShape::OpenAi, "/v1/models").unwrap();
    let discovery = Discovery::builder(&pool, client).endpoint(endpoint).build().unwrap();
    let error = discovery.models().await.unwrap_err();
    assert!(matches!(error.kind(), DiscoveryErrorKind::Interrupted), "{error:?}");
    assert_eq!(ids(&discovery.models().await.unwrap()), ["a"]);
}

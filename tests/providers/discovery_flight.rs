//! However many callers want the models at once, the upstream gets one request.
#![cfg(feature = "discovery")]

use std::sync::Arc;

use tokio::sync::Notify;
use tower_credentials::discovery::{Discovery, DiscoveryErrorKind};
use tower_credentials::provider::{ModelsEndpoint, ModelsShape};

use crate::discovery_rig::{Rig, ids, list};
use crate::support::{self, Canned, builder, keys, stack};

/// A response that is sent once this is notified.
fn held(response: Canned) -> (Arc<Notify>, Canned) {
    let release = Arc::new(Notify::new());
    let waiting = release.clone();
    let response = response.after(move || {
        let waiting = waiting.clone();
        async move { waiting.notified().await }
    });
    (release, response)
}

async fn rig(responses: impl IntoIterator<Item = Canned>) -> (Rig, Discovery) {
    let rig = Rig::new(keys(["a"]).await).await;
    rig.upstream.set("a", responses);
    let discovery = rig.builder(ModelsShape::OpenAi).build().unwrap();
    (rig, discovery)
}

#[tokio::test]
async fn fifty_callers_share_one_request() {
    let (release, response) = held(list(&["a"]));
    let (rig, discovery) = rig([response]).await;
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
    let (release, response) = held(Canned::status(500));
    let (rig, discovery) = rig([response]).await;
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
async fn a_caller_that_stops_waiting_does_not_stop_the_shared_request() {
    let (release, response) = held(list(&["a"]));
    let (rig, discovery) = rig([response, list(&["b"])]).await;
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
    // The list is not lost even if nobody waits for it any more.
    assert_eq!(ids(&discovery.models().await.unwrap()), ["a"]);
    assert_eq!(rig.requests(), 1);
}

#[tokio::test]
async fn a_list_that_nobody_waits_for_any_more_is_kept() {
    let (release, response) = held(list(&["a"]));
    let (rig, discovery) = rig([response, list(&["b"])]).await;
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
async fn a_finished_request_is_not_shared_with_later_callers() {
    let (rig, discovery) = rig([Canned::status(500), list(&["a"]), list(&["b"])]).await;
    discovery.models().await.unwrap_err();
    assert_eq!(ids(&discovery.models().await.unwrap()), ["a"]);
    assert_eq!(ids(&discovery.refresh().await.unwrap()), ["b"]);
    assert_eq!(rig.requests(), 3);
}

#[tokio::test]
async fn a_panicking_client_is_an_error_and_the_next_call_sends_a_new_request() {
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

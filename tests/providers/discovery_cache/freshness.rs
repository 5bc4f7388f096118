//! How long a list is used, and when it is requested again.

use std::time::Duration;

use tempfile::TempDir;
use tower_credentials::discovery::DiscoveryErrorKind;
use tower_credentials::provider::ModelsEndpoint;
use tower_credentials::provider::ModelsShape::{Google, OpenAi};

use super::{HOUR, cached, rig};
use crate::discovery_rig::{Rig, ids, list};
use crate::support::{Canned, keys, seconds};

#[tokio::test]
async fn a_list_is_used_for_an_hour_with_a_directory_or_without() {
    let directory = TempDir::new().unwrap();
    for in_memory in [true, false] {
        let rig = rig().await;
        rig.upstream.set("token-a", [list(&["a"]), list(&["b"])]);
        let builder = rig.builder(OpenAi);
        let builder = if in_memory { builder } else { builder.cache_dir(directory.path()) };
        let discovery = builder.build().unwrap();
        let models = discovery.models().await.unwrap();
        assert_eq!((ids(&models), models.fetched_at()), (vec!["a"], rig.pool.now()));
        rig.clock.advance(HOUR - Duration::from_millis(1));
        assert_eq!(ids(&discovery.models().await.unwrap()), ["a"]);
        assert_eq!(rig.requests(), 1);
        rig.clock.advance(Duration::from_millis(1));
        assert_eq!(ids(&discovery.models().await.unwrap()), ["b"]);
        assert_eq!(rig.requests(), 2);
    }
}

#[tokio::test]
async fn the_time_to_live_of_a_list_can_be_set() {
    let rig = rig().await;
    rig.upstream.set("token-a", [list(&["a"])]);
    let discovery = rig.builder(OpenAi).time_to_live(seconds(5)).build().unwrap();
    for (after, requests) in [(0, 1), (4, 1), (1, 2), (4, 2), (1, 3)] {
        rig.clock.advance(seconds(after));
        discovery.models().await.unwrap();
        assert_eq!(rig.requests(), requests);
    }
}

#[tokio::test]
async fn a_refresh_requests_a_new_list_however_fresh_the_last_one_is() {
    let rig = rig().await;
    rig.upstream.set("token-a", [list(&["a"]), list(&["b"])]);
    let discovery = rig.builder(OpenAi).build().unwrap();
    assert_eq!(ids(&discovery.models().await.unwrap()), ["a"]);
    assert_eq!(ids(&discovery.refresh().await.unwrap()), ["b"]);
    assert_eq!(ids(&discovery.models().await.unwrap()), ["b"]);
    assert_eq!(rig.requests(), 2);
}

#[tokio::test]
async fn a_list_from_the_future_is_stale() {
    let directory = TempDir::new().unwrap();
    let vault = keys(["token-a"]).await;
    let late = Rig::new(vault.clone()).await;
    late.clock.advance(2 * HOUR);
    late.upstream.set("token-a", [list(&["a"])]);
    cached(&late, &directory).models().await.unwrap();
    // As another process sees it after the clock was set back.
    let uri = format!("{}/v1/models", late.server.origin());
    let early = Rig::new(vault).await;
    let endpoint = ModelsEndpoint::new(OpenAi, &uri).unwrap();
    let discovery = early.builder(OpenAi).endpoint(endpoint).cache_dir(directory.path().join("cache"));
    let models = discovery.build().unwrap().models().await.unwrap();
    // The other server is not trusted, so no request can go there.
    let stale = models.stale().expect("it was asked for");
    assert!(matches!(stale.error.kind(), DiscoveryErrorKind::Failed(_)), "{stale:?}");
    assert_eq!((ids(&models), stale.age), (vec!["a"], Duration::ZERO));
}

#[tokio::test]
async fn a_list_with_a_tag_is_revalidated() {
    let directory = TempDir::new().unwrap();
    let rig = rig().await;
    let tagged = list(&["a"]).header("etag", "W/\"1\"");
    rig.upstream.set("token-a", [tagged, Canned::status(304), Canned::status(304), list(&["b"])]);
    let discovery = cached(&rig, &directory);
    discovery.models().await.unwrap();
    rig.clock.advance(HOUR);
    let models = discovery.models().await.unwrap();
    assert_eq!((ids(&models), models.fetched_at()), (vec!["a"], rig.pool.now()));
    assert!(models.stale().is_none());
    // It counts from then on, in other processes, too.
    rig.clock.advance(HOUR - seconds(1));
    assert_eq!(ids(&cached(&rig, &directory).models().await.unwrap()), ["a"]);
    assert_eq!(rig.requests(), 2);
    assert_eq!(ids(&cached(&rig, &directory).refresh().await.unwrap()), ["a"]);
    assert_eq!(ids(&discovery.refresh().await.unwrap()), ["b"]);
    // This response came without a tag.
    discovery.refresh().await.unwrap();
    let tags = rig.upstream.seen.all().into_iter();
    let tags =
        tags.map(|seen| seen.headers.get("if-none-match").map(|tag| tag.to_str().unwrap().to_owned()));
    let tag = || Some("W/\"1\"".to_owned());
    assert_eq!(tags.collect::<Vec<_>>(), [None, tag(), tag(), tag(), None]);
}

#[tokio::test]
async fn a_list_of_several_pages_has_no_tag() {
    let rig = rig().await;
    let first = r#"{"models": [{"name": "models/a"}], "nextPageToken": "t"}"#;
    let last = r#"{"models": [{"name": "models/b"}]}"#;
    let tagged = |body: &str| Canned::ok().body(body.to_owned()).header("etag", "\"1\"");
    rig.upstream.set("token-a", [tagged(first), tagged(last), tagged(first), tagged(last)]);
    let discovery = rig.builder(Google).build().unwrap();
    discovery.models().await.unwrap();
    assert_eq!(ids(&discovery.refresh().await.unwrap()), ["a", "b"]);
    let seen = rig.upstream.seen.all();
    assert!(seen.iter().all(|seen| !seen.headers.contains_key("if-none-match")));
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn an_unrequested_304_is_an_error() {
    let rig = rig().await;
    rig.upstream.set("token-a", [Canned::status(304)]);
    let error = rig.builder(OpenAi).build().unwrap().models().await.unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(304));
}

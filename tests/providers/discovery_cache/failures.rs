//! What is returned if the upstream fails.

use std::fs;
use std::time::Duration;
use tower_credentials::provider::ModelsShape::OpenAi;

use tempfile::TempDir;

use super::{HOUR, cached, rig};
use crate::discovery_rig::{ids, list};
use crate::support::{Canned, seconds};

#[tokio::test]
async fn if_the_upstream_fails_the_last_list_is_returned_as_stale() {
    let directory = TempDir::new().unwrap();
    let rig = rig().await;
    let discovery = cached(&rig, &directory);
    rig.upstream.set("token-a", [list(&["a"])]);
    discovery.models().await.unwrap();
    let mut age = Duration::ZERO;
    for failure in [
        Canned::status(500),
        Canned::status(404).body("{}"),
        Canned::status(204),
        Canned::ok().body("{\"data\": [{\"id\": \"b\"}"),
        Canned::ok().body("{\"data\": [{}]}"),
        Canned::fails(std::io::ErrorKind::ConnectionReset),
        Canned::ok().body(vec![b' '; 5 * 1024 * 1024]),
        Canned::limited(1),
    ] {
        rig.clock.advance(HOUR);
        age += HOUR;
        rig.upstream.set("token-a", [failure]);
        for models in [discovery.models().await.unwrap(), discovery.refresh().await.unwrap()] {
            assert_eq!(ids(&models), ["a"]);
            let stale = models.stale().expect("it is not marked");
            assert_eq!(stale.age, age);
            assert_eq!(rig.pool.now().since(models.fetched_at()), age);
        }
    }
    rig.upstream.set("token-a", [list(&["c"])]);
    rig.clock.advance(seconds(30));
    let models = discovery.models().await.unwrap();
    assert_eq!((ids(&models), models.stale().is_none()), (vec!["c"], true));
}

#[tokio::test]
async fn after_a_failure_the_last_list_is_returned_at_once_for_half_a_minute() {
    let directory = TempDir::new().unwrap();
    let rig = rig().await;
    for discovery in [cached(&rig, &directory), rig.builder(OpenAi).build().unwrap()] {
        rig.upstream.set("token-a", [list(&["a"])]);
        let fetched_at = discovery.refresh().await.unwrap().fetched_at();
        rig.clock.advance(HOUR);
        rig.upstream.set("token-a", [Canned::status(500)]);
        let before = rig.requests();
        for (wait, requests) in [(0, 1), (0, 1), (29, 1), (1, 2), (29, 2), (1, 3)] {
            rig.clock.advance(seconds(wait));
            let models = discovery.models().await.unwrap();
            assert_eq!(rig.requests() - before, requests);
            let stale = models.stale().expect("it is not marked");
            assert_eq!(stale.age, rig.pool.now().since(fetched_at));
            assert_eq!(stale.error.status().map(|status| status.as_u16()), Some(500));
        }
        // A caller that wants a new list is not put off, and a new list ends the pause.
        assert!(discovery.refresh().await.unwrap().stale().is_some());
        assert_eq!(rig.requests() - before, 4);
        rig.upstream.set("token-a", [list(&["b"]), Canned::status(500)]);
        assert!(discovery.refresh().await.unwrap().stale().is_none());
        rig.clock.advance(HOUR);
        discovery.models().await.unwrap();
        assert_eq!(rig.requests() - before, 6);
    }
}

#[tokio::test]
async fn without_a_last_list_the_error_is_returned_and_nothing_is_kept() {
    let directory = TempDir::new().unwrap();
    let rig = rig().await;
    rig.upstream.set("token-a", [Canned::status(500), list(&["a"])]);
    let discovery = cached(&rig, &directory);
    discovery.models().await.unwrap_err();
    assert!(!directory.path().join("cache").exists());
    assert_eq!(ids(&discovery.models().await.unwrap()), ["a"]);
}

#[tokio::test]
async fn a_list_that_cannot_be_kept_is_still_returned() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("cache"), "in the way").unwrap();
    let rig = rig().await;
    rig.upstream.set("token-a", [list(&["a"])]);
    let discovery = cached(&rig, &directory);
    for requests in [1, 2] {
        assert_eq!(ids(&discovery.models().await.unwrap()), ["a"]);
        assert_eq!(rig.requests(), requests);
    }
}

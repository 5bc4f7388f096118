//! A renewal that has stored nothing is told, unless somebody is at it.

use std::time::Duration;

use http::StatusCode;
use tower_credentials::CredentialId;
use tower_credentials::standing::Health;
use tower_credentials::vault::redis::RedisBackend;

use super::{Scene, account, end, go, got};
use crate::authorization_server::{Fault, Rules, Vendor};
use crate::children::eventually;

impl Scene {
    fn backend(&self) -> RedisBackend {
        self.engine.builder().build().unwrap()
    }
}

/// The old token works once more for a while.
fn with_grace() -> Rules {
    Rules { grace: Some(Duration::from_secs(300)), ..Rules::of(Vendor::OpenAi) }
}

/// Returns the renewals that are told: whose they are, and why they failed.
async fn told(scene: &Scene) -> Vec<(CredentialId, Option<String>)> {
    let told = scene.backend().unfinished_refreshes().await.unwrap();
    told.into_iter().map(|refresh| (refresh.id, refresh.failure)).collect()
}

#[tokio::test]
async fn a_renewal_whose_host_was_killed_is_told_until_the_next_one_stores_a_token() {
    let Some(scene) = Scene::new(with_grace()).await else { return };
    let (alice, _) = account(&scene.stored().await, "alice");
    let mut victim = scene.host().set("HOLD", "after").start();
    victim.wait_for("ready");
    go(&mut victim, 1);
    victim.wait_for("held after");
    let note = scene.note(alice);
    assert_eq!(scene.holder(alice), Some(note.owner), "it has begun, and is at it");
    assert_eq!(told(&scene).await, []);

    victim.kill();
    let is_told = async || {
        let told = told(&scene).await;
        // It lapses by itself, and is not told before.
        assert!(told.is_empty() || scene.holder(alice).is_none());
        (!told.is_empty()).then_some(told)
    };
    assert_eq!(eventually("the lease lapses", is_told).await, [(alice, None)]);
    let report = scene.backend().check(false).await.unwrap();
    let [finding] = &report.findings[..] else { panic!("{report:?}") };
    assert!(finding.what.starts_with("a refresh of alice began at 20"), "{finding}");
    assert!(report.is_healthy(), "{report:?}");

    let mut other = scene.start(1).remove(0);
    go(&mut other, 1);
    assert_eq!(got(&mut other), "200");
    assert_eq!(told(&scene).await, []);
    end(other);
}

#[tokio::test]
async fn a_renewal_that_failed_is_told_with_its_reason_until_the_next_one_stores_a_token() {
    let Some(scene) = Scene::new(with_grace()).await else { return };
    let (alice, _) = account(&scene.stored().await, "alice");
    scene.server.fail_next(vec![Fault::Text(StatusCode::SERVICE_UNAVAILABLE, "busy")]);
    let mut host = scene.start(1).remove(0);
    go(&mut host, 1);
    assert_eq!(got(&mut host), "401");
    let has_ended = async || scene.holder(alice).is_none().then_some(());
    eventually("the lease is given back", has_ended).await;
    let [(id, Some(why))] = &told(&scene).await[..] else { panic!("{:?}", told(&scene).await) };
    assert_eq!(*id, alice);
    assert!(why.contains("503"), "{why}");
    let report = scene.backend().check(false).await.unwrap();
    let [finding] = &report.findings[..] else { panic!("{report:?}") };
    assert!(finding.what.starts_with("the last refresh of alice failed: "), "{finding}");

    // The token endpoint is left alone for a while.
    let is_renewed = async || {
        go(&mut host, 1);
        (got(&mut host) == "200").then_some(())
    };
    eventually("the next renewal succeeds", is_renewed).await;
    assert_eq!(told(&scene).await, []);
    end(host);
}

#[tokio::test]
async fn a_renewal_that_the_vendor_has_refused_is_not_told() {
    let Some(scene) = Scene::new(Rules::of(Vendor::OpenAi)).await else { return };
    let busy = Fault::Text(StatusCode::SERVICE_UNAVAILABLE, "busy");
    let refusal = Fault::Text(StatusCode::BAD_REQUEST, r#"{"error": "invalid_grant"}"#);
    scene.server.fail_next(vec![busy, refusal]);
    let mut host = scene.start(1).remove(0);
    go(&mut host, 1);
    assert_eq!(got(&mut host), "401");
    let is_refused = async || {
        go(&mut host, 1);
        got(&mut host);
        let (_, alice) = account(&scene.stored().await, "alice");
        (alice.health != Health::Good).then_some(())
    };
    eventually("the vendor has refused it", is_refused).await;
    end(host);
    assert_eq!(told(&scene).await, []);
}

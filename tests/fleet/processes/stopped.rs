//! The host that renews a token is stopped for longer than its lease, and then goes on.

use std::time::Duration;

use tower_credentials::standing::Health;

use super::{Scene, account, end, go, got};
use crate::authorization_server::{Gate, Kind, Rules, Vendor};
use crate::children::{Child, eventually};
use crate::host::Bounds;

const REQUESTS: usize = 10;

#[tokio::test]
async fn a_host_that_was_stopped_before_it_presents_does_not_present_late() {
    let Some(scene) = Scene::new(Rules::of(Vendor::OpenAi)).await else { return };
    let mut holder = scene.host().set("HOLD", "before").start();
    holder.wait_for("ready");
    go(&mut holder, 1);
    holder.wait_for("held before");
    holder.signal("STOP");
    let mut other = scene.start(1).remove(0);
    go(&mut other, REQUESTS);
    assert_eq!(got(&mut other), "200");
    assert_eq!(scene.server.asked(Kind::Refresh), 1);

    holder.signal("CONT");
    holder.tell("on");
    let why = holder.wait_for_one_of("failed: ");
    assert!(why.contains("lease"), "{why}");
    got(&mut holder);
    // The other's token is there by now.
    let ask_again = async || {
        go(&mut holder, REQUESTS);
        (got(&mut holder) == "200").then_some(())
    };
    eventually("it uses the other's token", ask_again).await;
    assert_eq!((scene.server.asked(Kind::Refresh), scene.server.reuses()), (1, 0));
    [holder, other].into_iter().for_each(end);
    assert_eq!(account(&scene.stored().await, "alice").1.health, Health::Good);
}

/// Stops a host once the server has processed its token, and before it responds. Then another host asks, too.
async fn stopped_while_it_presents(scene: &Scene) -> (Gate, [Child; 2]) {
    let response = scene.server.hold_after();
    let mut holder = scene.start(1).remove(0);
    go(&mut holder, REQUESTS);
    response.arrived().await;
    holder.signal("STOP");
    let mut other = scene.start(1).remove(0);
    go(&mut other, REQUESTS);
    (response, [holder, other])
}

#[tokio::test]
async fn a_new_token_that_arrives_after_the_lease_has_lapsed_is_stored_and_ends_the_others_wait() {
    let Some(scene) = Scene::new(Rules::of(Vendor::OpenAi)).await else { return };
    let bounds = Bounds { grace: Duration::from_secs(3_600), ..scene.bounds };
    let scene = Scene { bounds, ..scene };
    let (alice, _) = account(&scene.stored().await, "alice");
    let (response, [mut holder, mut other]) = stopped_while_it_presents(&scene).await;
    let is_found = async || scene.note(alice).was_found.then_some(());
    eventually("the other finds that the lease has lapsed", is_found).await;

    response.let_go();
    holder.signal("CONT");
    assert_eq!([got(&mut holder), got(&mut other)], ["200"; 2]);
    assert_eq!((scene.server.asked(Kind::Refresh), scene.server.reuses()), (1, 0));
    [holder, other].into_iter().for_each(end);
    let pool = scene.stored().await;
    assert_eq!(pool.credentials[0].metadata.generation.get(), 2);
    assert_eq!(account(&pool, "alice").1.health, Health::Good);
}

#[tokio::test]
async fn a_response_that_arrives_after_another_host_has_gone_on_replaces_no_newer_token() {
    // The old token works once more for a while, else there would be no newer one.
    let rules = Rules { grace: Some(Duration::from_secs(300)), ..Rules::of(Vendor::OpenAi) };
    let Some(scene) = Scene::new(rules).await else { return };
    let (response, [mut holder, mut other]) = stopped_while_it_presents(&scene).await;
    assert_eq!(got(&mut other), "200");

    response.let_go();
    holder.signal("CONT");
    assert_eq!(got(&mut holder), "200");
    assert_eq!((scene.server.asked(Kind::Refresh), scene.server.reuses()), (2, 0));
    [holder, other].into_iter().for_each(end);
    assert_eq!(scene.stored().await.credentials[0].metadata.generation.get(), 2);
}

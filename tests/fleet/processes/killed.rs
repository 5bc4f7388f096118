//! The host that renews a token is killed: the others wait until it can't present the token any more, and one of them goes on.

use tower_credentials::standing::Health;

use super::{Scene, account, end, go, got};
use crate::authorization_server::{Kind, Rules, Vendor};
use crate::host::{Bounds, sign_in};

const OTHERS: usize = 3;
const REQUESTS: usize = 10;

/// The point of an exchange at which the host is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Killed {
    BeforeItPresents,
    /// The server has processed it, and has not responded.
    WhileItPresents,
    /// The new token has arrived, and is not saved.
    BeforeItSaves,
}

/// Kills the holder of the lease. Returns the scene after one of the others has gone on, and all have their results.
async fn kill_the_holder(killed: Killed) -> Option<Scene> {
    let scene = Scene::new(Rules::of(Vendor::OpenAi)).await?;
    // Another account, whose token still works.
    sign_in(&scene.server, &scene.vault(), "bob").await;
    let (alice, _) = account(&scene.stored().await, "alice");
    let hold = match killed {
        Killed::BeforeItPresents => "before",
        Killed::WhileItPresents => "",
        Killed::BeforeItSaves => "after",
    };
    let response = (killed == Killed::WhileItPresents).then(|| scene.server.hold_after());
    let mut victim = scene.host().set("HOLD", hold).start();
    victim.wait_for("ready");
    go(&mut victim, 1);
    match &response {
        Some(response) => response.arrived().await,
        None => victim.wait_for(&format!("held {hold}")),
    }
    let before = scene.note(alice);
    assert_eq!(scene.holder(alice), Some(before.owner.clone()));
    let mut others = scene.start(OTHERS);
    others.iter_mut().for_each(|host| go(host, REQUESTS));
    // Each of them was refused, and waits for the lease.
    scene.requests_have_arrived(1 + OTHERS * REQUESTS).await;
    let presented = usize::from(killed != Killed::BeforeItPresents);
    assert_eq!(scene.server.asked(Kind::Refresh), presented);

    let next = scene.server.hold_before();
    victim.kill();
    next.arrived().await;
    let now = scene.note(alice);
    assert_eq!(scene.holder(alice), Some(now.owner.clone()), "who presents holds the lease");
    assert_ne!(now.owner, before.owner);
    let Bounds { command, present_within, grace, .. } = scene.bounds;
    let held_off = (present_within + command * 2 + grace).as_millis() as u64;
    assert!(now.since >= before.since + held_off, "{killed:?}: {} ms", now.since - before.since);
    assert_eq!(scene.server.asked(Kind::Refresh), presented);

    next.let_go();
    response.iter().for_each(|response| response.let_go());
    let results: Vec<_> = others.iter_mut().map(got).collect();
    assert_eq!(results, ["200"; OTHERS], "{killed:?}");
    others.into_iter().for_each(end);
    assert_eq!(scene.server.asked(Kind::Refresh), presented + 1, "{killed:?}: one has gone on");
    assert_eq!(account(&scene.stored().await, "bob").1.health, Health::Good);
    Some(scene)
}

/// The new token died with the host, and the server takes the old one for a thief's.
async fn costs_the_sign_in_and_no_more(scene: Scene) {
    assert_eq!(scene.server.reuses(), 1);
    let health = account(&scene.stored().await, "alice").1.health;
    let Health::NeedsSignIn { reason, .. } = health else { panic!("{health:?}") };
    assert!(reason.contains("cut off before its new token was saved"), "{reason}");

    // A new sign-in mends it.
    sign_in(&scene.server, &scene.vault(), "alice").await;
    let pool = scene.stored().await;
    assert_eq!(pool.credentials.len(), 2);
    assert_eq!(account(&pool, "alice").1.health, Health::Good);
}

#[tokio::test]
async fn a_host_killed_before_it_presents_costs_nothing_but_time() {
    let Some(scene) = kill_the_holder(Killed::BeforeItPresents).await else { return };
    assert_eq!(scene.server.reuses(), 0);
    let pool = scene.stored().await;
    let (id, standing) = account(&pool, "alice");
    assert_eq!(standing.health, Health::Good);
    let alice = pool.credentials.iter().find(|record| record.metadata.id == id).unwrap();
    assert_eq!(alice.metadata.generation.get(), 2);
}

#[tokio::test]
async fn a_host_killed_while_it_presents_costs_the_sign_in_and_no_more() {
    let Some(scene) = kill_the_holder(Killed::WhileItPresents).await else { return };
    costs_the_sign_in_and_no_more(scene).await;
}

#[tokio::test]
async fn a_host_killed_before_it_saves_costs_the_sign_in_and_no_more() {
    let Some(scene) = kill_the_holder(Killed::BeforeItSaves).await else { return };
    costs_the_sign_in_and_no_more(scene).await;
}

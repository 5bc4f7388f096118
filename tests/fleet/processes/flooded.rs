//! Hosts renew a token while others record cooldowns of its account as fast as they can.

use super::{Scene, end, go, got};
use crate::authorization_server::{Kind, Rules, Vendor};
use crate::children::Child;

const HOSTS: usize = 3;
const ROUNDS: usize = 20;
const REQUESTS: usize = 10;

#[tokio::test]
async fn a_flood_of_cooldowns_never_loses_a_rotated_refresh_token() {
    let Some(scene) = Scene::new(Rules::of(Vendor::OpenAi)).await else { return };
    let scene = scene.unhurried();
    let mut floods: Vec<_> = (0..HOSTS).map(|_| scene.job("flood").start()).collect();
    floods.iter_mut().for_each(|flood| flood.wait_for("ready"));
    let mut hosts = scene.start(HOSTS);
    for round in 1..=ROUNDS {
        hosts.iter_mut().for_each(|host| go(host, REQUESTS));
        let results: Vec<_> = hosts.iter_mut().map(got).collect();
        assert_eq!(results, ["200"; HOSTS], "round {round}");
        scene.expire();
    }
    assert_eq!((scene.server.asked(Kind::Refresh), scene.server.reuses()), (ROUNDS, 0));
    let recorded = |mut flood: Child| -> usize {
        flood.tell("stop");
        flood.succeed().last().expect("how many it recorded").parse().unwrap()
    };
    let recorded: Vec<_> = floods.into_iter().map(recorded).collect();
    assert!(recorded.iter().all(|recorded| *recorded >= ROUNDS), "{recorded:?}");
    hosts.into_iter().for_each(end);
}

//! However many hosts need a new token at once, one asks for it.

use tower_credentials::standing::Health;

use super::{Scene, account, end, go, got};
use crate::authorization_server::{Kind, Rules, Vendor};

const HOSTS: usize = 32;
/// How many requests each of them sends at once.
const REQUESTS: usize = 50;

#[tokio::test]
async fn thirty_two_hosts_with_an_expired_token_make_one_exchange_and_nobody_is_signed_out() {
    let Some(scene) = Scene::new(Rules::of(Vendor::OpenAi)).await else { return };
    let scene = scene.unhurried();
    let mut hosts = scene.start(HOSTS);
    for round in 1..=2 {
        hosts.iter_mut().for_each(|host| go(host, REQUESTS));
        let results: Vec<_> = hosts.iter_mut().map(got).collect();
        assert_eq!(results, ["200"; HOSTS], "round {round}");
        assert_eq!((scene.server.asked(Kind::Refresh), scene.server.reuses()), (round, 0));
        scene.expire();
    }
    hosts.into_iter().for_each(end);
    let pool = scene.stored().await;
    assert_eq!(pool.credentials[0].metadata.generation.get(), 3);
    assert_eq!(account(&pool, "alice").1.health, Health::Good);
}

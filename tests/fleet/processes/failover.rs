//! A replica that lags is promoted while hosts run: what it has not got, they give it back.

use tower_credentials::Generation;
use tower_credentials::standing::{Change, Health, Outcome};
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::seal::Seal;
use tower_credentials::vault::{StoredPool, VaultExt};

use super::{PEOPLE, Scene, account, go, got, is_one_outage, labelled, see, start_with_log};
use crate::authorization_server::{AuthorizationServer, Kind, Rules, Vendor};
use crate::children::eventually;
use crate::host::{Bounds, key, sign_in};
use crate::nodes::{Sentinel, is_up_to_date};
use crate::proxy::{Line, Proxy};
use crate::server::{Server, sealed};

const HOSTS: usize = 3;
const REQUESTS: usize = 20;

fn generations(pool: &StoredPool) -> [Generation; 3] {
    PEOPLE.map(|person| labelled(pool, person).metadata.generation)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_replica_that_takes_over_costs_no_secret_no_limit_and_nothing_that_a_person_has_set() {
    let Some(primary) = Server::start(&[]) else { return };
    let line = Proxy::start(primary.port()).await;
    let replica = Server::start(&["--replicaof", "127.0.0.1", &line.port().to_string()]).unwrap();
    is_up_to_date(&replica).await;
    let sentinel = Sentinel::with(&primary, 60_000);
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    let scene = Scene {
        url: sentinel.url("main"),
        engine: primary,
        server,
        key: VaultKey::generate(),
        bounds: Bounds::SHORT,
    };
    let by_sentinel = || -> Seal<RedisBackend> {
        let backend = scene.bounds.apply(RedisBackend::builder(&*scene.url)).build().unwrap();
        sealed(backend, &scene.key)
    };
    for person in PEOPLE {
        sign_in(&scene.server, &scene.vault(), person).await;
    }
    sentinel.knows_a_replica().await;
    let mut hosts = start_with_log(&scene, HOSTS);
    hosts.iter_mut().for_each(|host| go(host, REQUESTS));
    assert!(hosts.iter_mut().all(|host| got(host) == "200"));

    // From now on the replica gets nothing.
    line.set(Line::HoldsBack);
    scene.expire();
    hosts.iter_mut().for_each(|host| go(host, REQUESTS));
    assert!(hosts.iter_mut().all(|host| got(host) == "200"), "with a new token");
    hosts[0].tell("limit 1");
    assert_eq!(got(&mut hosts[0]), "200");
    let (carol, _) = account(&scene.stored().await, "carol");
    let paused = Outcome { id: carol, change: Change::Paused };
    scene.vault().record(key(), vec![paused]).await.unwrap();
    for host in &mut hosts {
        see(host, "alice failed");
        see(host, "carol paused");
    }
    let before = scene.stored().await;
    let refreshed = scene.server.asked(Kind::Refresh);
    let records = "tower-credentials:{openai/default}:records";
    let (alice, _) = account(&before, "alice");
    let lagging: String = replica.tell(&["HGET", records, &alice.to_string()]);
    assert!(lagging.starts_with("1."), "the replica does not lag");

    scene.engine.kill();
    line.set(Line::Breaks);
    let is_primary = async || {
        hosts.iter_mut().for_each(|host| go(host, REQUESTS));
        assert!(hosts.iter_mut().all(|host| got(host) == "200"), "from memory");
        let info = replica.try_to_tell::<String>(&["INFO", "replication"]).ok()?;
        info.contains("role:master").then_some(())
    };
    eventually("the replica takes over", is_primary).await;
    // Whatever was acknowledged comes back, although nobody asks for it.
    let has_all = async || {
        let pool = by_sentinel().load_pool(key()).await.ok()?;
        let (_, alice) = account(&pool, "alice");
        let is_back = generations(&pool) == generations(&before) && account(&pool, "carol").1.paused;
        (is_back && alice.failures == 1).then_some(pool)
    };
    let after = eventually("the replica is given back all", has_all).await;
    assert_eq!(account(&after, "alice").1.cooldowns, account(&before, "alice").1.cooldowns);
    // A later word of a person's is kept, and all hosts hear of it.
    let resumed = Outcome { id: carol, change: Change::Resumed };
    by_sentinel().record(key(), vec![resumed]).await.unwrap();
    hosts.iter_mut().for_each(|host| see(host, "carol resumed"));
    hosts.iter_mut().for_each(|host| go(host, REQUESTS));
    assert!(hosts.iter_mut().all(|host| got(host) == "200"));
    assert_eq!((scene.server.asked(Kind::Refresh), scene.server.reuses()), (refreshed, 0));
    hosts.into_iter().for_each(is_one_outage);
    let after = by_sentinel().load_pool(key()).await.unwrap();
    assert_eq!(account(&after, "alice").1.failures, 1, "counted once");
    assert!(!account(&after, "carol").1.paused);
    for person in PEOPLE {
        assert_eq!(account(&after, person).1.health, Health::Good, "{person}");
    }
}

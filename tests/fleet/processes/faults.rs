//! The engine hangs, is full, or takes no change for a while: hosts go on from memory, quietly, and store once what they have
//! learned.

use tower_credentials::standing::{Change, Health, Outcome};
use tower_credentials::vault::VaultExt;

use super::{
    PEOPLE, Scene, account, fail, go, got, is_one_outage, said_of_outages, see, start_with_log,
};
use crate::authorization_server::{Kind, Rules, Vendor};
use crate::children::{Child, eventually};
use crate::host::key;

const HOSTS: usize = 2;
const REQUESTS: usize = 20;
const ROUNDS: usize = 5;
/// What a host tries in an outage, it tries again and again: often enough for several lines of the log.
const TRIES: usize = 5;

/// What is wrong with the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It answers nothing, and its connections stay.
    Hangs,
    Full,
    /// It is made a replica of a primary that is not there.
    ReadOnly,
    /// It wants a replica before it takes a change.
    WantsReplicas,
}

impl Fault {
    fn begin(self, scene: &Scene) {
        let tell = |command: &[&str]| drop(scene.engine.tell::<redis::Value>(command));
        match self {
            Self::Hangs => scene.engine.signal("-STOP"),
            Self::Full => tell(&["CONFIG", "SET", "maxmemory", "1"]),
            Self::ReadOnly => tell(&["REPLICAOF", "127.0.0.1", "1"]),
            Self::WantsReplicas => tell(&["CONFIG", "SET", "min-replicas-to-write", "1"]),
        }
    }

    fn end(self, scene: &Scene) {
        let tell = |command: &[&str]| drop(scene.engine.tell::<redis::Value>(command));
        match self {
            Self::Hangs => scene.engine.signal("-CONT"),
            Self::Full => tell(&["CONFIG", "SET", "maxmemory", "0"]),
            Self::ReadOnly => tell(&["REPLICAOF", "NO", "ONE"]),
            Self::WantsReplicas => tell(&["CONFIG", "SET", "min-replicas-to-write", "0"]),
        }
    }
}

fn all_get(hosts: &mut [Child], fault: Fault) {
    hosts.iter_mut().for_each(|host| go(host, REQUESTS));
    let results: Vec<_> = hosts.iter_mut().map(got).collect();
    assert_eq!(results, ["200"; HOSTS], "{fault:?}");
}

async fn goes_on_from_memory(fault: Fault) -> Option<()> {
    let scene = Scene::with(Rules::of(Vendor::OpenAi), PEOPLE).await?;
    let mut hosts = start_with_log(&scene, HOSTS);
    all_get(&mut hosts, fault);
    // What is acknowledged before.
    hosts[0].tell("limit 1");
    assert_eq!(got(&mut hosts[0]), "200");
    see(&mut hosts[1], "alice failed");
    let before = scene.stored().await;

    fault.begin(&scene);
    hosts[0].tell("limit 1");
    assert_eq!(got(&mut hosts[0]), "200", "{fault:?}: with carol, from memory");
    for _ in 0..ROUNDS {
        all_get(&mut hosts, fault);
    }
    fail(&mut hosts[0], TRIES);
    all_get(&mut hosts, fault);
    fault.end(&scene);

    see(&mut hosts[1], "bob failed");
    let is_saved = async || {
        let pool = scene.vault().load_pool(key()).await.ok()?;
        (account(&pool, "bob").1.failures > 0).then_some(pool)
    };
    let after = eventually("what a host has learned is saved", is_saved).await;
    // Every host hears of what comes next.
    let paused = Outcome { id: account(&after, "alice").0, change: Change::Paused };
    scene.vault().record(key(), vec![paused]).await.unwrap();
    hosts.iter_mut().for_each(|host| see(host, "alice paused"));
    all_get(&mut hosts, fault);
    assert_eq!(account(&after, "alice").1.cooldowns, account(&before, "alice").1.cooldowns);
    let after = scene.stored().await;
    for person in ["alice", "bob"] {
        assert_eq!(account(&after, person).1.failures, 1, "{fault:?}: {person}, counted once");
    }
    assert!(PEOPLE.iter().all(|person| account(&after, person).1.health == Health::Good));
    assert_eq!((scene.server.asked(Kind::Refresh), scene.server.reuses()), (0, 0));
    let one = hosts.remove(0);
    is_one_outage(one);
    // The other one has changed nothing, and may not have noticed.
    let (away, back) = said_of_outages(hosts.remove(0));
    assert!(away == back && away <= 1, "{fault:?}: {away} and {back} lines");
    Some(())
}

#[tokio::test]
async fn an_engine_that_hangs_fails_no_request_and_is_two_lines_of_the_log() {
    goes_on_from_memory(Fault::Hangs).await;
}

#[tokio::test]
async fn an_engine_that_is_full_fails_no_request_and_is_two_lines_of_the_log() {
    goes_on_from_memory(Fault::Full).await;
}

#[tokio::test]
async fn an_engine_that_becomes_a_replica_fails_no_request_and_is_two_lines_of_the_log() {
    goes_on_from_memory(Fault::ReadOnly).await;
}

#[tokio::test]
async fn an_engine_without_its_replicas_fails_no_request_and_is_two_lines_of_the_log() {
    goes_on_from_memory(Fault::WantsReplicas).await;
}

//! The engine is killed, and started again after a while: hosts go on from memory, quietly.

use std::fs;
use std::time::{Duration, Instant};

use tower_credentials::standing::Health;
use tower_credentials::vault::VaultExt;

use super::{Scene, account, got};
use crate::authorization_server::{Kind, Rules, Vendor};
use crate::children::{Child, eventually};
use crate::host::key;

const HOSTS: usize = 2;
const REQUESTS: usize = 20;
const ROUNDS: usize = 10;
/// What a host does in an outage, it does again and again: this is long enough to see what that costs. It is a time, and not a
/// number of tries, since the time that a host has used is compared with the time that has passed.
const OUTAGE: Duration = Duration::from_secs(5);

fn tell(hosts: &mut [Child], line: &str) -> Vec<String> {
    hosts.iter_mut().for_each(|host| host.tell(line));
    hosts.iter_mut().map(got).collect()
}

/// Returns how long this process has kept a core busy.
fn cpu_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    // Fields 14 and 15, in ticks of 10 ms, and the third one is the first here (proc_pid_stat(5)).
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

#[tokio::test]
async fn an_engine_that_is_away_fails_no_request_costs_little_and_is_two_lines_of_each_hosts_log() {
    let people = ["alice", "bob", "carol"];
    let Some(scene) = Scene::with(Rules::of(Vendor::OpenAi), people).await else { return };
    let mut hosts: Vec<_> = (0..HOSTS).map(|_| scene.host().set("LOG", "all").start()).collect();
    hosts.iter_mut().for_each(|host| host.wait_for("ready"));
    assert_eq!(tell(&mut hosts, &format!("go {REQUESTS}")), ["200"; HOSTS]);
    // The response has waited until the engine had it.
    assert_eq!(tell(&mut hosts[..1], "limit 1"), ["200"]);
    let before = scene.stored().await;
    assert_eq!(account(&before, "alice").1.failures, 1);

    scene.engine.kill();
    let (began, used) = (Instant::now(), hosts.iter().map(|host| cpu_time(host.id())));
    let used: Vec<_> = used.collect();
    // In memory only.
    assert_eq!(tell(&mut hosts[..1], "limit 1"), ["200"]);
    for _ in 0..ROUNDS {
        assert_eq!(tell(&mut hosts, &format!("go {REQUESTS}")), ["200"; HOSTS]);
    }
    tokio::time::sleep(OUTAGE).await;
    assert_eq!(tell(&mut hosts, &format!("go {REQUESTS}")), ["200"; HOSTS]);
    let outage = began.elapsed();
    for (host, before) in hosts.iter().zip(used) {
        let used = cpu_time(host.id()) - before;
        eprintln!("of an outage of {outage:?}, a host has used {used:?} of a core");
        assert!(used < outage / 2, "{used:?} of {outage:?}");
    }

    scene.engine.start_again();
    for host in &mut hosts {
        while !host.wait_for_one_of("log ").contains("engine is back") {}
    }
    let is_saved = async || {
        let pool = scene.vault().load_pool(key()).await.ok()?;
        (account(&pool, "bob").1.failures == 1).then_some(pool)
    };
    let pool = eventually("what a host has learned is saved", is_saved).await;
    // Nothing that was acknowledged is lost.
    assert_eq!(account(&pool, "alice").1.cooldowns, account(&before, "alice").1.cooldowns);
    assert!(people.iter().all(|person| account(&pool, person).1.health == Health::Good));
    assert_eq!(tell(&mut hosts, &format!("go {REQUESTS}")), ["200"; HOSTS]);
    assert_eq!(scene.server.asked(Kind::Refresh), 0);
    for mut host in hosts {
        host.tell("end");
        let said = host.succeed();
        let logged = said.iter().filter_map(|line| line.strip_prefix("log "));
        let of_outage = logged.filter(|line| line.contains("WARN") || line.contains("vault"));
        assert_eq!(of_outage.count(), 2, "{said:#?}");
    }
}

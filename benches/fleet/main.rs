//! What a cooldown costs a fleet over Redis: `cargo bench --bench fleet --features redis`.
//!
//! - `seen`: from the moment at which one host saves a cooldown until another one acts on it: its pool would pick another
//!   account. Each host is a process of its own, which watches the pool.
//! - `bytes`: what the engine sends for each cooldown and host, and how many commands it runs, whatever the number of accounts.
//! - `light`: how many cooldowns a second one engine tells 1,000 watchers of, all in one process.
//!
//! The engine runs on the same machine, so the hosts take its time.

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::{Change, Cooldown, Outcome, Reason};
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::seal::Seal;
use tower_credentials::vault::{VaultExt, Watch};
use tower_credentials::{Credential, CredentialId, Pool, PoolKey, Secret, Timestamp};

#[path = "../../tests/engine/mod.rs"]
mod server;

use server::{Server, sealed};

const ROUNDS: u64 = 500;
const WARM_UP: u64 = 20;
const WATCHERS: usize = 1_000;
const LIGHT_ROUNDS: u64 = 200;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn pool_key() -> PoolKey {
    PoolKey::new("example")
}

fn vault(url: &str, key: &VaultKey) -> Seal<RedisBackend> {
    let builder = RedisBackend::builder(url).command_timeout(Duration::from_secs(10));
    sealed(builder.build().expect("a URL"), key)
}

/// A cooldown that is later than all before it.
fn cooldown(id: CredentialId, number: u64) -> Outcome {
    let now = Timestamp::from(SystemTime::now());
    let cooldown = Cooldown {
        until: now.after(Duration::from_secs(600 + number)),
        set_at: now,
        reason: Reason::Limited,
        scope: None,
        generation: None,
        cause: None,
    };
    Outcome { id, change: Change::CooledDown { cooldown, failure: true, to_back: false } }
}

async fn next_notice(watch: &mut Watch) {
    assert!(watch.changed().await, "the watch has ended");
}

/// The time by the clock that all processes of this machine share.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock that is set")
}

/// A host: says the number of failures of the account, and since when, whenever its pool knows of more.
async fn host(url: &str, key: &VaultKey, account: CredentialId) {
    let vault = vault(url, key);
    let mut watch = vault.watch(pool_key()).await.expect("the engine").expect("a watch");
    let provider = GenericProvider::bearer("example").origin("http://127.0.0.1:1").expect("an origin");
    // It syncs itself, as the pool's task would do.
    let builder = Pool::builder(provider, vault).sync_every(None);
    let pool = builder.open().await.expect("the engine");
    let mut stdout = std::io::stdout();
    let mut said = None;
    loop {
        // Before the status of all accounts is asked for, which no request does.
        let at = now();
        let failures = pool
            .status()
            .iter()
            .find(|one| one.credential.id == account)
            .map_or(0, |one| one.standing.failures);
        if said != Some(failures) {
            said = Some(failures);
            if writeln!(stdout, "{failures} {}", at.as_nanos()).and_then(|()| stdout.flush()).is_err() {
                return;
            }
        }
        next_notice(&mut watch).await;
        pool.sync().await.expect("the engine");
    }
}

/// Hosts, and what they say: when, and how many failures each knows.
struct Hosts {
    children: Vec<Child>,
    said: Receiver<(Duration, u64)>,
}

impl Hosts {
    fn start(count: usize, url: &str, key: &VaultKey, account: CredentialId) -> Self {
        let (sender, said) = mpsc::channel();
        let start = |_| {
            let mut child = Command::new(env::current_exe().expect("this program"))
                .env("FLEET_BENCH_URL", url)
                .env("FLEET_BENCH_KEY", key.to_base64().expose())
                .env("FLEET_BENCH_ACCOUNT", account.to_string())
                .stdout(Stdio::piped())
                .spawn()
                .expect("a process");
            let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in lines.map_while(Result::ok) {
                    let parse = |(number, at): (&str, &str)| {
                        Some((Duration::from_nanos(at.parse().ok()?), number.parse().ok()?))
                    };
                    let said = line.split_once(' ').and_then(parse).expect("two numbers");
                    if sender.send(said).is_err() {
                        return;
                    }
                }
            });
            child
        };
        let children: Vec<_> = (0..count).map(start).collect();
        (0..count).for_each(|_| {
            said.recv().expect("each host says what it has loaded");
        });
        Self { children, said }
    }

    /// Waits until each of them knows of so many failures. Returns when.
    fn know(&self, failures: u64) -> Vec<Duration> {
        let mut times = Vec::new();
        while times.len() < self.children.len() {
            let (at, number) = self.said.recv_timeout(Duration::from_secs(60)).expect("a host says it");
            if number == failures {
                times.push(at);
            }
        }
        times
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// An engine with this many accounts. Returns the first one's id.
async fn fill(url: &str, key: &VaultKey, accounts: usize) -> CredentialId {
    let vault = vault(url, key);
    let mut first = None;
    for number in 0..accounts {
        let secret = Secret::api_key(format!("key-{number}"));
        let credential = Credential::new(pool_key(), format!("account-{number}"), secret);
        let id = vault.put(credential).await.expect("the engine").id;
        first.get_or_insert(id);
    }
    first.expect("an account")
}

fn engine() -> Option<Server> {
    Server::start(&["--appendfsync", "everysec"])
}

/// What the engine has done so far: bytes sent, and calls of each command.
fn counters(engine: &Server) -> (u64, HashMap<String, u64>) {
    let number = |text: &str, name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
    };
    let stats: String = engine.tell(&["INFO", "stats"]);
    let commands: String = engine.tell(&["INFO", "commandstats"]);
    let calls = commands.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    });
    (number(&stats, "total_net_output_bytes:"), calls.collect())
}

fn seen(accounts: usize, count: usize) {
    let Some(engine) = engine() else { return };
    let (key, runtime) = (VaultKey::generate(), runtime());
    let account = runtime.block_on(fill(&engine.url(), &key, accounts));
    let writer = vault(&engine.url(), &key);
    let hosts = Hosts::start(count, &engine.url(), &key, account);
    let mut times = Vec::new();
    let mut before = Default::default();
    for number in 1..=WARM_UP + ROUNDS {
        if number == WARM_UP + 1 {
            before = counters(&engine);
        }
        let began = now();
        let outcomes = vec![cooldown(account, number)];
        runtime.block_on(writer.record(pool_key(), outcomes)).expect("the engine");
        let knew = hosts.know(number);
        if number > WARM_UP {
            times.extend(knew.into_iter().map(|at| at.saturating_sub(began)));
        }
    }
    let after = counters(&engine);
    let each = ROUNDS as f64 * count as f64;
    let milliseconds = |part: f64| quantile(&mut times.clone(), part).as_secs_f64() * 1e3;
    println!(
        "seen   {accounts:>6} accounts {count:>3} hosts   p50 {:6.2} ms   p99 {:6.2} ms",
        milliseconds(0.5),
        milliseconds(0.99),
    );
    let calls = |name: &str| {
        let of = |counters: &HashMap<String, u64>| counters.get(name).copied().unwrap_or(0);
        (of(&after.1) - of(&before.1)) as f64 / each
    };
    let mut names: Vec<_> = after.1.keys().filter(|name| calls(name) >= 0.005).collect();
    names.sort();
    let commands: Vec<_> = names.iter().map(|name| format!("{name} {:.2}", calls(name))).collect();
    println!(
        "bytes  {accounts:>6} accounts {count:>3} hosts   {:.0} bytes a cooldown and host; commands: {}",
        (after.0 - before.0) as f64 / each,
        commands.join(", "),
    );
}

fn quantile(times: &mut [Duration], part: f64) -> Duration {
    times.sort();
    times[((times.len() - 1) as f64 * part) as usize]
}

fn light() {
    let Some(engine) = engine() else { return };
    let (key, runtime) = (VaultKey::generate(), runtime());
    runtime.block_on(async {
        let account = fill(&engine.url(), &key, 4).await;
        let writer = vault(&engine.url(), &key);
        let mut watchers = JoinSet::new();
        for _ in 0..WATCHERS {
            let vault = vault(&engine.url(), &key);
            let mut known = vault.load_pool(pool_key()).await.expect("the engine").revision;
            let mut watch = vault.watch(pool_key()).await.expect("the engine").expect("a watch");
            next_notice(&mut watch).await;
            watchers.spawn(async move {
                loop {
                    let changes = vault.changes(pool_key(), known).await.expect("the engine");
                    let changes = changes.expect("nothing was missed");
                    known = changes.revision;
                    let of = |(id, _): &&(CredentialId, _)| *id == account;
                    let failures = changes.standings.iter().find(of).map_or(0, |(_, one)| one.failures);
                    if u64::from(failures) >= LIGHT_ROUNDS {
                        return;
                    }
                    next_notice(&mut watch).await;
                }
            });
        }
        let began = Instant::now();
        let mut slowest = Duration::ZERO;
        for number in 1..=LIGHT_ROUNDS {
            let asked = Instant::now();
            writer.record(pool_key(), vec![cooldown(account, number)]).await.expect("the engine");
            slowest = slowest.max(asked.elapsed());
        }
        let written = began.elapsed();
        while let Some(ended) = watchers.join_next().await {
            ended.expect("a watcher");
        }
        let known = began.elapsed();
        println!(
            "light  {WATCHERS} watchers   {:.0} cooldowns a second are written, and {:.0} known to all; slowest write {:.1} ms",
            LIGHT_ROUNDS as f64 / written.as_secs_f64(),
            LIGHT_ROUNDS as f64 / known.as_secs_f64(),
            slowest.as_secs_f64() * 1e3,
        );
    });
}

fn main() {
    if let Ok(url) = env::var("FLEET_BENCH_URL") {
        let variable = |name: &str| env::var(name).expect("the parent has set it");
        let key = VaultKey::from_base64(&variable("FLEET_BENCH_KEY")).expect("a key");
        let account = variable("FLEET_BENCH_ACCOUNT").parse().expect("an id");
        runtime().block_on(host(&url, &key, account));
        return;
    }
    for (accounts, hosts) in [(100, 2), (100, 8), (100, 32), (10_000, 2), (10_000, 8)] {
        seen(accounts, hosts);
    }
    light();
}

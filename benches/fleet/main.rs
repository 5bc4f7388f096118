//! What a cooldown costs a fleet over Redis: `cargo bench --bench fleet --features redis`.
//!
//! - `seen`: from the moment at which one host saves a cooldown until another one acts on it: its pool would pick another
//!   account. Each host is a process of its own, which watches the pool.
//! - `bytes`: what the engine sends for each cooldown and host, and how many commands it runs, whatever the number of accounts.
//! - `light`: the same for 1,000 hosts without a pool, each with a connection and a watch of its own, in a few processes: until
//!   all of them know a cooldown, and how many cooldowns a second the engine takes and tells all of them of.
//!
//! An argument such as `light` runs one part alone. The engine runs on the same machine, so the hosts take its time. On two
//! processors of a shared machine:
//!
//! | hosts | a cooldown is known after, p50 | p99 |
//! |---|---|---|
//! | 2 | 1.1 ms | 1.6 ms |
//! | 8 | 2.1 ms | 3.5 ms |
//! | 32 | 6.3 ms | 10.3 ms |
//! | 1,000 without a pool | 21–22 ms | 46–49 ms |
//!
//! Before each of these nothing has changed for 20 ms. A host that has read within the last 10 ms knows a cooldown that much
//! later. A cooldown costs each host some 430 bytes. While 1,000 hosts watch, 400 to 2,600 cooldowns a second are written, and
//! all hosts know a thousand of them after 5 to 10 seconds: then each host's part in the work of the two processors counts.

use std::collections::HashMap;
use std::env;
use std::time::{Duration, SystemTime};

use tokio::runtime::{Builder, Runtime};
use tower_credentials::standing::{Change, Cooldown, Outcome, Reason};
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::seal::Seal;
use tower_credentials::{Credential, CredentialId, PoolKey, Secret, Timestamp};

#[path = "../../tests/engine/mod.rs"]
mod server;

mod hosts;

use hosts::{Hosts, host, light_hosts};
use server::{Server, sealed};

const ROUNDS: u64 = 500;
/// The pause before each cooldown: a host that has just read waits before it reads again.
const QUIET: Duration = Duration::from_millis(20);
const WARM_UP: u64 = 20;
const LIGHT_PROCESSES: usize = 4;
const LIGHT_HOSTS: usize = 250;
/// Cooldowns each of which all hosts know before the next one.
const LIGHT_ROUNDS: u64 = 100;
/// Cooldowns for which nobody waits.
const LIGHT_BURST: u64 = 1_000;

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

/// The time by the clock that all processes of this machine share.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock that is set")
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
    let hosts = Hosts::start(count, None, &engine.url(), &key, account);
    let mut times = Vec::new();
    let mut before = Default::default();
    for number in 1..=WARM_UP + ROUNDS {
        if number == WARM_UP + 1 {
            before = counters(&engine);
        }
        std::thread::sleep(QUIET);
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
    let account = runtime.block_on(fill(&engine.url(), &key, 4));
    let writer = vault(&engine.url(), &key);
    let hosts = Hosts::start(LIGHT_PROCESSES, Some(LIGHT_HOSTS), &engine.url(), &key, account);
    let write = |number| {
        let (began, outcomes) = (now(), vec![cooldown(account, number)]);
        runtime.block_on(writer.record(pool_key(), outcomes)).expect("the engine");
        (began, now() - began)
    };
    let (mut seen, mut written) = (Vec::new(), Vec::new());
    for number in 1..=LIGHT_ROUNDS {
        let (began, took) = write(number);
        written.push(took);
        seen.extend(hosts.know(number).into_iter().map(|at| at.saturating_sub(began)));
    }
    let mut milliseconds = |part| quantile(&mut seen, part).as_secs_f64() * 1e3;
    println!(
        "light  {:>6} hosts   known p50 {:6.2} ms   p99 {:6.2} ms   all {:6.2} ms; written p50 {:.2} ms",
        hosts.count,
        milliseconds(0.5),
        milliseconds(0.99),
        milliseconds(1.0),
        quantile(&mut written, 0.5).as_secs_f64() * 1e3,
    );
    let (last, began) = (LIGHT_ROUNDS + LIGHT_BURST, now());
    let mut took: Vec<_> = (LIGHT_ROUNDS + 1..=last).map(|number| write(number).1).collect();
    let written = now() - began;
    // A host that falls behind says the latest only.
    let known = hosts.know(last).into_iter().max().unwrap_or_default().saturating_sub(began);
    let rate = |time: Duration| LIGHT_BURST as f64 / time.as_secs_f64();
    println!(
        "burst  {:>6} hosts   {:.0} cooldowns a second are written, and {:.0} known to all; written p50 {:.2} ms   p99 {:.2} ms",
        hosts.count,
        rate(written),
        rate(known),
        quantile(&mut took, 0.5).as_secs_f64() * 1e3,
        quantile(&mut took, 0.99).as_secs_f64() * 1e3,
    );
}

fn main() {
    if let Ok(url) = env::var("FLEET_BENCH_URL") {
        let variable = |name: &str| env::var(name).expect("the parent has set it");
        let key = VaultKey::from_base64(&variable("FLEET_BENCH_KEY")).expect("a key");
        let account = variable("FLEET_BENCH_ACCOUNT").parse().expect("an id");
        match env::var("FLEET_BENCH_LIGHT") {
            Ok(hosts) => {
                let hosts = hosts.parse().expect("a number");
                runtime().block_on(light_hosts(hosts, &url, &key, account));
            }
            Err(_) => runtime().block_on(host(&url, &key, account)),
        }
        return;
    }
    // cargo adds `--bench`.
    let only: Vec<_> = env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted = |part: &str| only.is_empty() || only.iter().any(|one| one == part);
    if is_wanted("seen") {
        for (accounts, hosts) in [(100, 2), (100, 8), (100, 32), (10_000, 2), (10_000, 8)] {
            seen(accounts, hosts);
        }
    }
    if is_wanted("light") {
        light();
    }
}

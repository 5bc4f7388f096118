//! The cost of picking an account, which does not grow with the pool: 10, 1,000 and 100,000
//! accounts, of which all but one cool down; on one thread, and on two at once over one pool.
//!
//! Measured by what `AuthHeaderLayer`, the layer that does little more than pick, adds to the request and
//! the in-memory service of the bench `overhead`. That is more than the pick: the context, the header
//! and the pool's bookkeeping are included, and are the same for every size. The measured policies are those
//! that change a pool with each pick, since there a size could matter; `ready` names pools in which no
//! account cools down. The sizes are measured in turn, in many short rounds; the medians count.
//!
//! The last line is for scripts: the time added with 100,000 accounts divided by the time added with 10,
//! for the default policy on one thread. The line before it has the largest of all these ratios.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant, SystemTime};

use criterion::{BenchmarkId, Criterion};
use tower_credentials::policy::{LeastRecentlyUsed, Policy, RoundRobin, Sticky};
use tower_credentials::standing::{Change, Cooldown, Outcome, Reason};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{Credential, Pool, Secret, Timestamp};

mod support;

use support::{Stack, Upstream, at_once, send, template};

const SIZES: [usize; 3] = [10, 1_000, 100_000];

/// Short rounds, so that on a busy machine most of them end before another process gets the processor.
const ROUNDS: usize = 401;
const PER_ROUND: u64 = 300;

/// A vault with this many accounts. On request, all but the last cool down for a day.
fn vault(size: usize, cooling: bool) -> MemoryVault {
    let vault = MemoryVault::new();
    let now = Timestamp::from(SystemTime::now());
    let until = now.after(Duration::from_secs(24 * 60 * 60));
    let mut outcomes = Vec::new();
    for number in 0..size {
        let secret = Secret::api_key(format!("sk-{number:06}-0123456789abcdef"));
        let credential = Credential::new(support::key(), format!("account {number}"), secret);
        let id = at_once(vault.put(credential)).expect("a vault that stores").id;
        let cooldown = Cooldown {
            until,
            set_at: now,
            reason: Reason::Limited,
            scope: None,
            generation: None,
            cause: None,
        };
        let change = Change::CooledDown { cooldown, failure: true, to_back: false };
        if cooling && number + 1 < size {
            outcomes.push(Outcome { id, change });
        }
    }
    at_once(vault.record(support::key(), outcomes)).expect("a vault that records");
    vault
}

fn open(vault: &MemoryVault, policy: impl Policy) -> Pool {
    at_once(support::builder(vault.clone()).policy(policy).open()).expect("a pool")
}

/// The time of this many requests, one after another.
fn time<S: Stack>(service: &mut S, requests: u64) -> Duration {
    let template = template();
    // The other cases have filled the caches.
    for _ in 0..requests / 10 {
        black_box(at_once(send(service, template.clone())));
    }
    let start = Instant::now();
    for _ in 0..requests {
        black_box(at_once(send(service, template.clone())));
    }
    start.elapsed()
}

/// The same on two threads at once, each with a clone of the service: the mean of the two.
fn time_of_two<S: Stack + Send>(service: &S, requests: u64) -> Duration {
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        let threads = [(), ()].map(|()| {
            let (mut service, barrier) = (service.clone(), &barrier);
            scope.spawn(move || {
                barrier.wait();
                time(&mut service, requests)
            })
        });
        let times = threads.map(|thread| thread.join().expect("no panic"));
        times.into_iter().sum::<Duration>() / 2
    })
}

/// A stack, with its name and size.
struct Case {
    name: String,
    size: usize,
    run: Box<dyn FnMut(u64) -> Duration>,
}

impl Case {
    fn new<S: Stack + Send + 'static>(name: &str, threads: u32, size: usize, mut service: S) -> Self {
        let run: Box<dyn FnMut(u64) -> Duration> = match threads {
            1 => Box::new(move |requests| time(&mut service, requests)),
            _ => Box::new(move |requests| time_of_two(&service, requests)),
        };
        let plural = if threads == 1 { "" } else { "s" };
        Self { name: format!("{name}, {threads} thread{plural}"), size, run }
    }
}

const BARE: &str = "bare";

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for threads in [1, 2] {
        cases.push(Case::new(BARE, threads, 0, Upstream::good()));
    }
    for size in SIZES {
        let began = Instant::now();
        let (cooling, ready) = (vault(size, true), vault(size, false));
        println!("{size} accounts put into a vault, twice: {:.1?}", began.elapsed());
        let began = Instant::now();
        let pools = [
            ("sticky", open(&cooling, Sticky)),
            ("round robin", open(&cooling, RoundRobin)),
            ("least recently used", open(&cooling, LeastRecentlyUsed)),
            ("sticky, ready", open(&ready, Sticky)),
            ("round robin, ready", open(&ready, RoundRobin)),
            ("least recently used, ready", open(&ready, LeastRecentlyUsed)),
        ];
        println!("{size} accounts opened as {} pools: {:.1?}", pools.len(), began.elapsed());
        for (name, pool) in pools {
            for threads in [1, 2] {
                let service = support::auth_header(&pool, Upstream::good());
                cases.push(Case::new(name, threads, size, service));
            }
        }
    }
    cases
}

/// The median of the rounds for each case, in nanoseconds per request.
fn medians(cases: &mut [Case], rounds: usize, per_round: u64) -> BTreeMap<(String, usize), f64> {
    let mut times = vec![Vec::with_capacity(rounds); cases.len()];
    for round in 0..rounds {
        for place in 0..cases.len() {
            let index = (place + round) % cases.len();
            let time = (cases[index].run)(per_round);
            times[index].push(time.as_nanos() as f64 / per_round as f64);
        }
    }
    let median = |(case, times): (&Case, Vec<f64>)| {
        let mut times = times;
        times.sort_by(f64::total_cmp);
        ((case.name.clone(), case.size), times[times.len() / 2])
    };
    cases.iter().zip(times).map(median).collect()
}

fn main() {
    // As with criterion: without `--bench` each case only runs once.
    let measures = std::env::args().any(|argument| argument == "--bench");
    let mut cases = cases();

    let criterion = Criterion::default().warm_up_time(Duration::from_millis(500));
    let mut criterion = criterion.measurement_time(Duration::from_secs(2)).configure_from_args();
    let mut group = criterion.benchmark_group("pool");
    for case in &mut cases {
        group.bench_function(BenchmarkId::new(&case.name, case.size), |bencher| {
            bencher.iter_custom(|requests| (case.run)(requests));
        });
    }
    group.finish();
    criterion.final_summary();

    let (rounds, per_round) = if measures { (ROUNDS, PER_ROUND) } else { (1, 10) };
    let medians = medians(&mut cases, rounds, per_round);
    let threads = |name: &str| name.rsplit(", ").next().unwrap_or_default().to_owned();
    let bare = |name: &str| medians[&(format!("{BARE}, {}", threads(name)), 0)];
    let added = |name: &str, size| medians[&(name.to_owned(), size)] - bare(name);
    println!("\nns added to a request, over {:.0} and {:.0}", bare("1 thread"), bare("2 threads"));
    println!("{:<40} {:>8} {:>8} {:>8} {:>10}", "accounts", 10, 1_000, 100_000, "100000/10");
    let ratio = |name: &str| added(name, SIZES[2]) / added(name, SIZES[0]);
    for case in cases.iter().filter(|case| case.size == SIZES[0]) {
        let name = &case.name;
        let [small, middle, large] = SIZES.map(|size| added(name, size));
        println!("{name:<40} {small:>8.0} {middle:>8.0} {large:>8.0} {:>10.2}", ratio(name));
    }
    let names = cases.iter().filter(|case| case.size == SIZES[0]).map(|case| case.name.as_str());
    if let Some(worst) = names.max_by(|one, other| ratio(one).total_cmp(&ratio(other))) {
        println!("\npool worst ratio 100000/10={:.2} ({worst})", ratio(worst));
    }
    println!("pool ratio 100000/10={:.2}", ratio("sticky, 1 thread"));
}

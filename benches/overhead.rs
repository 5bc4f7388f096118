//! What our layers add to a request, beside what a user would use instead, all in one run.
//!
//! A request is a clone of a template: POST, eight headers with shared values, a body of 2 KiB in
//! memory. The service at the end answers at once from memory. Everything runs on one thread of a
//! current-thread runtime whose clock stands still (so that no timer ever fires), through a service
//! that the caller keeps: `poll_ready`, `call`, and the future awaited.
//!
//! Two paths:
//! - *happy*: the answer is 200. Headers on it cost each layer that reads them; so there is a table for
//!   an answer with none, from which the ratios come, and one for an answer that has six, three of them
//!   about limits.
//! - *rotate*: the first answer is 429 and names no time, the second is 200. The pool's cooldown is set
//!   to nothing, so that its four accounts take turns and each request is a rotation. The bare service
//!   gets two requests, each a clone of its own.
//!
//! Each account that is rotated to has been limited four requests before, so that each rotation teaches
//! two things, a limit and a recovery, and the four layers save twice, in a task that is spawned. In a
//! real program each cooldown comes with one recovery as well, though later. What it costs without
//! either save, and where the next account was never limited, are rows of their own.
//!
//! The variants are measured in turn, in many short rounds; the median of the rounds counts. The table's
//! numbers are those of a request less those of the bare service. The lines for scripts, `overhead …`,
//! are ours added divided by the hand-made stack's added, where hand-made is tower-http's
//! `AddAuthorizationLayer` under tower's `RetryLayer` with a policy that clones. What reqwest-retry adds
//! is over a `reqwest::Request` and `Response` of its own.
//!
//! `cargo bench --bench overhead -- happy/four` does criterion's part for a few only;
//! `cargo bench --bench overhead -- none` goes on to the tables at once.

use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use criterion::Criterion;
use http::{Request, Response, StatusCode};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use reqwest_retry::{RetryDecision, RetryPolicy, RetryTransientMiddleware};
use tokio::runtime::Runtime;
use tower::Service;
use tower_credentials::Pool;

#[path = "../tests/counting_allocator/mod.rs"]
mod counting_allocator;
mod support;

use counting_allocator::{Counting, allocations};
use support::{Body, Stack, Upstream, at_once, send, template};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many rounds the tables are made of, and how many requests a variant gets in each. Short ones, so
/// that on a busy machine most are over before another process gets the processor.
const ROUNDS: usize = 601;
const PER_ROUND: u64 = 150;

/// Requests before each round's: the other variants have had the caches.
const WARM_UP: u64 = 15;

/// What some requests took.
#[derive(Clone, Copy, Default)]
struct Sample {
    time: Duration,
    allocations: u64,
}

/// A way to send a request.
struct Variant {
    name: &'static str,
    /// Which variant's cost is not its own: the bare service's, by index.
    base: usize,
    run: Box<dyn FnMut(u64) -> Sample>,
}

/// The variants of one path.
struct Path {
    name: &'static str,
    runtime: Rc<Runtime>,
    answers: fn() -> Upstream,
    variants: Vec<Variant>,
}

/// Measures what happens between its two calls.
struct Meter {
    allocations: u64,
    start: Instant,
}

impl Meter {
    fn start() -> Self {
        Self { allocations: allocations(), start: Instant::now() }
    }

    fn stop(self) -> Sample {
        let time = self.start.elapsed();
        Sample { time, allocations: allocations() - self.allocations }
    }
}

impl Path {
    fn new(name: &'static str, runtime: &Rc<Runtime>, answers: fn() -> Upstream) -> Self {
        Self { name, runtime: runtime.clone(), answers, variants: Vec::new() }
    }

    fn rotates(&self) -> bool {
        (self.answers)().answered().is_some()
    }

    fn push(&mut self, name: &'static str, base: usize, run: impl FnMut(u64) -> Sample + 'static) {
        self.variants.push(Variant { name, base, run: Box::new(run) });
    }

    /// A stack that gets as many requests as are answered with 200.
    fn stack<S: Stack + 'static>(&mut self, name: &'static str, stack: impl Fn(Upstream) -> S) {
        self.check(&stack, false);
        let upstream = (self.answers)();
        let mut service = stack(upstream.clone());
        let (runtime, template) = (self.runtime.clone(), template());
        self.push(name, 0, move |requests| {
            counted(&upstream, requests, || {
                runtime.block_on(send_all(&mut service, &template, requests))
            })
        });
    }

    /// A stack that sends nothing again: where the first answer is limited, the caller sends twice.
    fn sends_once<S: Stack + 'static>(&mut self, name: &'static str, mut service: S) {
        let (runtime, template) = (self.runtime.clone(), template());
        let each = if self.rotates() { 2 } else { 1 };
        self.push(name, 0, move |requests| {
            runtime.block_on(send_all(&mut service, &template, each * requests))
        });
    }

    /// A stack over a pool of four accounts.
    fn pooled<S: Stack + 'static>(
        &mut self,
        name: &'static str,
        stack: fn(&Pool, Upstream) -> S,
        how: How,
    ) {
        let pool = support::accounts(4);
        self.check(&|upstream| stack(&pool, upstream), true);
        let upstream = (self.answers)();
        let mut service = stack(&pool, upstream.clone());
        let (runtime, template) = (self.runtime.clone(), template());
        let rotates = self.rotates();
        self.push(name, 0, move |requests| {
            let before = pool.counters();
            let sample = counted(&upstream, requests, || match how {
                How::Saved => runtime.block_on(send_all(&mut service, &template, requests)),
                How::Unsaved => at_once(send_all(&mut service, &template, requests)),
                How::NeverLimited => runtime.block_on(async {
                    let mut sum = Sample::default();
                    // Of four accounts, three can be rotated to before the first one's turn comes again.
                    for begun in (0..requests).step_by(3) {
                        for status in pool.status() {
                            pool.reset(status.credential.id).await.expect("a reset");
                        }
                        let three = (requests - begun).min(3);
                        let sample = send_all(&mut service, &template, three).await;
                        sum.time += sample.time;
                        sum.allocations += sample.allocations;
                    }
                    sum
                }),
            });
            let after = pool.counters();
            let expected = if rotates { requests } else { 0 };
            assert_eq!(after.rotations - before.rotations, expected, "rotations");
            assert_eq!(after.requests - before.requests, requests, "requests");
            // Where nothing saves, what is to be saved would pile up.
            runtime.block_on(pool.save());
            sample
        });
    }

    /// Checks that each request is as many attempts as it should be, each with its own credential where
    /// a pool gives them.
    fn check<S: Stack>(&self, stack: &impl Fn(Upstream) -> S, has_accounts: bool) {
        let upstream = (self.answers)().recording();
        let mut service = stack(upstream.clone());
        for _ in 0..10 {
            let sent = send(&mut service, template());
            let response = self.runtime.block_on(sent);
            assert_eq!(response.status(), StatusCode::OK);
            let seen = upstream.seen();
            assert_eq!(seen.len(), if self.rotates() { 2 } else { 1 }, "attempts of {}", self.name);
            if self.rotates() && has_accounts {
                assert_ne!(seen[0], seen[1], "a rotation takes another credential");
            }
        }
    }
}

/// What there is to measure about a pool.
#[derive(Clone, Copy)]
enum How {
    Saved,
    /// Driven outside of a runtime, in which there is nobody to save.
    Unsaved,
    /// Saved, and each account is good as new.
    NeverLimited,
}

async fn send_all<S: Stack>(service: &mut S, template: &Request<Body>, requests: u64) -> Sample {
    let meter = Meter::start();
    for _ in 0..requests {
        black_box(send(service, template.clone()).await);
    }
    meter.stop()
}

/// Checks that each request took two attempts, where the first one is limited.
fn counted(upstream: &Upstream, requests: u64, run: impl FnOnce() -> Sample) -> Sample {
    let before = upstream.answered();
    let sample = run();
    if let (Some(before), Some(after)) = (before, upstream.answered()) {
        assert_eq!(after - before, 2 * requests, "attempts");
    }
    sample
}

/// The names that the ratios are made of.
const HAND_MADE: &str = "RetryLayer + AddAuthorizationLayer";
const FOUR: &str = "four layers";
const ONE: &str = "one layer";

fn path(name: &'static str, runtime: &Rc<Runtime>, answers: fn() -> Upstream) -> Path {
    let mut path = Path::new(name, runtime, answers);
    path.sends_once("bare", answers());
    path.stack(HAND_MADE, support::hand_made);
    path.pooled(FOUR, support::four_layers, How::Saved);
    path.pooled(ONE, support::one_layer, How::Saved);
    path.pooled("four layers, others between", support::four_layers_apart, How::Saved);
    path.pooled("three layers, no saving", support::three_layers, How::Saved);
    let pool = support::accounts(4);
    path.sends_once("AuthHeaderLayer alone", support::auth_header(&pool, answers()));
    if path.rotates() {
        path.pooled("four layers, nothing saved", support::four_layers, How::Unsaved);
        path.pooled("four layers, a fresh account", support::four_layers, How::NeverLimited);
        path.pooled("one layer, nothing saved", support::one_layer, How::Unsaved);
        path.pooled("one layer, a fresh account", support::one_layer, How::NeverLimited);
    } else {
        let pool = support::one_key();
        path.sends_once("four layers, nothing kept", support::four_layers_once(&pool, answers()));
        path.sends_once("one layer, nothing kept", support::one_layer_once(&pool, answers()));
    }
    reqwest(&mut path);
    path
}

/// reqwest-middleware with reqwest-retry, over a last middleware that answers from memory. Its retry
/// policy waits for no time at all.
fn reqwest(path: &mut Path) {
    let (parts, body) = template().into_parts();
    let request = Request::from_parts(parts, bytes_of(body));
    let template = reqwest::Request::try_from(request).expect("a request of reqwest's");
    let clone = |template: &reqwest::Request| template.try_clone().expect("a body in memory");
    drop(clone(&template));

    let base = path.variants.len();
    let each = if path.rotates() { 2 } else { 1 };
    let (runtime, bare, mut upstream) = (path.runtime.clone(), clone(&template), (path.answers)());
    path.push("reqwest's request and response", base, move |requests| {
        runtime.block_on(async {
            let meter = Meter::start();
            for _ in 0..each * requests {
                black_box(answer(&mut upstream, clone(&bare)).await);
            }
            meter.stop()
        })
    });

    let upstream = (path.answers)();
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(RetryTransientMiddleware::new_with_policy(OnceMore))
        .with(InMemory(upstream.clone()))
        .build();
    middleware(path, "reqwest-middleware + reqwest-retry", base, client, upstream, &template, None);

    #[cfg(feature = "reqwest-middleware")]
    {
        let (upstream, pool) = ((path.answers)(), support::accounts(4));
        let layer = tower_credentials::CredentialsLayer::new(pool.clone());
        let client = ClientBuilder::new(reqwest::Client::new())
            .with(tower_credentials::reqwest::TowerMiddleware::new(layer))
            .with(InMemory(upstream.clone()))
            .build();
        let name = "reqwest-middleware + one layer";
        middleware(path, name, base, client, upstream, &template, Some(pool));
    }
}

/// A client that gets as many requests as are answered with 200.
fn middleware(
    path: &mut Path,
    name: &'static str,
    base: usize,
    client: ClientWithMiddleware,
    upstream: Upstream,
    template: &reqwest::Request,
    pool: Option<Pool>,
) {
    let template = template.try_clone().expect("a body in memory");
    let runtime = path.runtime.clone();
    path.push(name, base, move |requests| {
        let sample = counted(&upstream, requests, || {
            runtime.block_on(async {
                let meter = Meter::start();
                for _ in 0..requests {
                    let request = template.try_clone().expect("a body in memory");
                    let response = client.execute(request).await.expect("an answer");
                    assert_eq!(black_box(response).status(), StatusCode::OK);
                }
                meter.stop()
            })
        });
        if let Some(pool) = &pool {
            // Where nothing saves, what is to be saved would pile up.
            runtime.block_on(pool.save());
        }
        sample
    });
}

fn bytes_of(body: Body) -> bytes::Bytes {
    let collected = at_once(http_body_util::BodyExt::collect(body));
    collected.unwrap_or_else(|never| match never {}).to_bytes()
}

/// Hands a request of reqwest's to the upstream, which looks at none of it but the headers' map.
async fn answer(upstream: &mut Upstream, mut request: reqwest::Request) -> reqwest::Response {
    let mut ours = Request::new(Body::default());
    *ours.headers_mut() = std::mem::take(request.headers_mut());
    drop(request);
    let response = upstream.call(ours).await.unwrap_or_else(|never| match never {});
    let (parts, body) = response.into_parts();
    reqwest::Response::from(Response::from_parts(parts, bytes_of(body)))
}

struct OnceMore;

impl RetryPolicy for OnceMore {
    fn should_retry(&self, began: SystemTime, retries: u32) -> RetryDecision {
        match retries {
            0 => RetryDecision::Retry { execute_after: began },
            _ => RetryDecision::DoNotRetry,
        }
    }
}

struct InMemory(Upstream);

impl Middleware for InMemory {
    // What `async_trait` makes of `async fn handle`.
    fn handle<'this, 'extensions, 'next, 'all>(
        &'this self,
        request: reqwest::Request,
        _: &'extensions mut http::Extensions,
        _: Next<'next>,
    ) -> Pin<Box<dyn Future<Output = reqwest_middleware::Result<reqwest::Response>> + Send + 'all>>
    where
        'this: 'all,
        'extensions: 'all,
        'next: 'all,
        Self: 'all,
    {
        let mut upstream = self.0.clone();
        Box::pin(async move { Ok(answer(&mut upstream, request).await) })
    }
}

/// Medians over the rounds, of one variant.
struct Row {
    name: &'static str,
    nanoseconds: f64,
    /// The same less the bare service's.
    added: f64,
    /// Half of all rounds lie between these.
    quartiles: (f64, f64),
    allocations: f64,
    added_allocations: f64,
}

/// Measures all variants in turn, round by round.
fn rows(path: &mut Path, rounds: usize, per_round: u64) -> Vec<Row> {
    let mut samples = vec![Vec::with_capacity(rounds); path.variants.len()];
    for round in 0..rounds {
        for place in 0..path.variants.len() {
            // Each round begins with another one, so that none always follows the same.
            let index = (place + round) % path.variants.len();
            let run = &mut path.variants[index].run;
            run(WARM_UP);
            samples[index].push(run(per_round));
        }
    }
    let each = |value: f64| value / per_round as f64;
    let sorted = |samples: &[Sample], read: fn(&Sample) -> f64| {
        let mut values: Vec<_> = samples.iter().map(|sample| each(read(sample))).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let times: Vec<_> =
        samples.iter().map(|samples| sorted(samples, |sample| sample.time.as_nanos() as f64)).collect();
    let allocations: Vec<_> =
        samples.iter().map(|samples| sorted(samples, |sample| sample.allocations as f64)).collect();
    let median = |values: &[f64]| values[values.len() / 2];
    let row = |(index, variant): (usize, &Variant)| Row {
        name: variant.name,
        nanoseconds: median(&times[index]),
        added: median(&times[index]) - median(&times[variant.base]),
        quartiles: (times[index][rounds / 4], times[index][rounds * 3 / 4]),
        allocations: median(&allocations[index]),
        added_allocations: median(&allocations[index]) - median(&allocations[variant.base]),
    };
    path.variants.iter().enumerate().map(row).collect()
}

fn print_table(title: &str, rows: &[Row]) {
    println!("\n{title}");
    println!(
        "{:<36} {:>9} {:>17} {:>9} {:>7} {:>7}",
        "", "ns", "half of rounds", "added ns", "allocs", "added"
    );
    for row in rows {
        let Row { name, nanoseconds, added, quartiles: (low, high), .. } = row;
        let quartiles = format!("{low:.0}–{high:.0}");
        let (all, more) = (row.allocations, row.added_allocations);
        println!("{name:<36} {nanoseconds:>9.0} {quartiles:>17} {added:>9.0} {all:>7.2} {more:>7.2}");
    }
}

/// Ours added, divided by the hand-made stack's added.
fn print_ratios(path: &str, rows: &[Row]) {
    let row = |name: &str| rows.iter().find(|row| row.name == name).expect("a row of this name");
    let hand_made = row(HAND_MADE);
    for (prefix, ours) in [("overhead ratio", FOUR), ("overhead one-layer ratio", ONE)] {
        let ours = row(ours);
        println!(
            "{prefix} {path} time={:.2} allocations={:.2}",
            ours.added / hand_made.added,
            ours.added_allocations / hand_made.added_allocations,
        );
    }
}

fn main() {
    // As criterion has it: without `--bench` the benches are only tried out.
    let measures = std::env::args().any(|argument| argument == "--bench");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = Rc::new(runtime.expect("a runtime"));
    let mut happy = path("happy", &runtime, Upstream::good);
    let mut rotate = path("rotate", &runtime, Upstream::limited_first);

    let criterion = Criterion::default().warm_up_time(Duration::from_millis(500));
    let mut criterion = criterion.measurement_time(Duration::from_secs(2)).configure_from_args();
    for path in [&mut happy, &mut rotate] {
        let mut group = criterion.benchmark_group(path.name);
        for variant in &mut path.variants {
            group.bench_function(variant.name, |bencher| {
                bencher.iter_custom(|requests| (variant.run)(requests).time);
            });
        }
        group.finish();
    }
    criterion.final_summary();

    let (rounds, per_round) = if measures { (ROUNDS, PER_ROUND) } else { (1, 3) };
    let mut with_headers = path("happy", &runtime, || Upstream::good().with_headers());
    let happy = rows(&mut happy, rounds, per_round);
    let with_headers = rows(&mut with_headers, rounds, per_round);
    let rotate = rows(&mut rotate, rounds, per_round);
    print_table("200, without headers", &happy);
    print_table("200, with six headers, three of them about limits", &with_headers);
    print_table("429, then 200", &rotate);
    println!();
    print_ratios("happy-with-limit-headers", &with_headers);
    print_ratios("happy", &happy);
    print_ratios("rotate", &rotate);
}

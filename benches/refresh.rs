//! The cost of a refresh for requests that do not wait for it, and for those that do.
//!
//! `others`: a request of one account while another account's token is being exchanged, and the same
//! without an exchange. A user's own client would keep its tokens behind one asynchronous lock, held while
//! a token is renewed, as many clients do: there a request waits for the exchange, which takes 20 ms here.
//!
//! `waiters`: 200 requests wait for one new token. Measured from the token endpoint's response to the
//! moment when the last of them leaves with the new token. Over a vault in memory, and over one on disk, in
//! which the token is durable before anyone uses it. In comparison: the 200 at the same lock, which keeps its
//! token in memory only.
//!
//! The last two lines are for scripts.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use criterion::Criterion;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{MemoryVault, Vault, VaultExt};
use tower_credentials::{
    Credential, CredentialsLayer, OAuthTokens, Pin, Pool, RefreshError, Refresher, Secret,
};

mod support;

use support::{Body, Stack, send, template};

const WAITERS: usize = 200;
const ROUNDS: usize = 101;
const REQUESTS: u64 = 2_000;

/// How long an exchange takes if somebody waits for it.
const EXCHANGE: Duration = Duration::from_millis(20);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// An upstream that refuses old tokens, and records when the last of the expected new ones has come.
fn upstream(
    lasts: Arc<Mutex<Option<Instant>>>,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(move |request: Request<Body>| {
        let is_old = request.headers()["authorization"].as_bytes().ends_with(b"old");
        if !is_old {
            *lasts.lock().expect("no panic") = Some(Instant::now());
        }
        let status = if is_old { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        let response = Response::builder().status(status).body(Full::default());
        std::future::ready(Ok::<_, Infallible>(response.expect("a response")))
    })
}

/// Accounts whose tokens are refused, and a good one before them.
async fn pool(vault: impl Vault, good: bool) -> Pool {
    if good {
        let tokens = OAuthTokens::new("good").refresh("refresh-good");
        vault.put(Credential::new(support::key(), "good", tokens)).await.expect("a vault that stores");
    }
    let tokens = OAuthTokens::new("old").refresh("refresh");
    vault.put(Credential::new(support::key(), "old", tokens)).await.expect("a vault that stores");
    support::builder(vault).sync_every(None).open().await.expect("a pool")
}

/// A refresher that waits for the gate.
fn gated(gate: &Arc<Notify>, begun: &watch::Sender<bool>) -> Refresher {
    let (gate, begun) = (gate.clone(), begun.clone());
    Refresher::new(move |_: Credential| {
        let (gate, begun) = (gate.clone(), begun.clone());
        async move {
            begun.send_replace(true);
            gate.notified().await;
            Ok::<Secret, RefreshError>(OAuthTokens::new("new").refresh("refresh-2").into())
        }
    })
}

fn pinned() -> Request<Body> {
    let mut request = template();
    request.extensions_mut().insert(Pin::label("old"));
    request
}

/// The time of this many requests of the good account, with or without a refresh of another account.
fn others(runtime: &Runtime, requests: u64, refreshing: bool) -> Duration {
    runtime.block_on(async {
        let (gate, begun) = (Arc::new(Notify::new()), watch::Sender::new(false));
        let pool = pool(MemoryVault::new(), true).await;
        let layer = CredentialsLayer::new(pool).refresher(gated(&gate, &begun));
        let mut service = layer.layer(upstream(Arc::default()));
        let waiting = refreshing.then(|| tokio::spawn(service.clone().oneshot(pinned())));
        if refreshing {
            begun.subscribe().wait_for(|begun| *begun).await.expect("an exchange that begins");
        }
        for _ in 0..requests / 10 {
            black_box(send(&mut service, template()).await);
        }
        let start = Instant::now();
        for _ in 0..requests {
            black_box(send(&mut service, template()).await);
        }
        let elapsed = start.elapsed();
        gate.notify_one();
        if let Some(waiting) = waiting {
            let response = waiting.await.expect("no panic").expect("a response");
            assert_eq!(response.status(), StatusCode::OK);
        }
        elapsed
    })
}

/// Tokens behind one lock, which is held while one of them is renewed.
#[derive(Clone)]
struct Locked {
    tokens: Arc<tokio::sync::Mutex<[(HeaderValue, bool); 2]>>,
    gate: Arc<Notify>,
    begun: watch::Sender<bool>,
}

impl Locked {
    fn new() -> Self {
        let tokens = ["Bearer good", "Bearer old"].map(|token| (HeaderValue::from_static(token), false));
        let tokens = Arc::new(tokio::sync::Mutex::new(tokens));
        Self { tokens, gate: Arc::new(Notify::new()), begun: watch::Sender::new(false) }
    }

    async fn send<S: Stack>(&self, service: &mut S, account: usize) -> Response<Body> {
        let token = {
            let mut tokens = self.tokens.lock().await;
            if account == 1 && !tokens[1].1 {
                self.begun.send_replace(true);
                self.gate.notified().await;
                tokens[1] = (HeaderValue::from_static("Bearer new"), true);
            }
            tokens[account].0.clone()
        };
        let mut request = template();
        request.headers_mut().insert("authorization", token);
        send(service, request).await
    }
}

/// The time of the good account's first request while the lock is held.
fn others_locked(runtime: &Runtime) -> Duration {
    runtime.block_on(async {
        let locked = Locked::new();
        let mut service = upstream(Arc::default());
        let (other, mut others_service) = (locked.clone(), service.clone());
        let waiting = tokio::spawn(async move { other.send(&mut others_service, 1).await });
        locked.begun.subscribe().wait_for(|begun| *begun).await.expect("an exchange that begins");
        let gate = locked.gate.clone();
        tokio::spawn(async move {
            tokio::time::sleep(EXCHANGE).await;
            gate.notify_one();
        });
        let start = Instant::now();
        black_box(locked.send(&mut service, 0).await);
        let elapsed = start.elapsed();
        black_box(waiting.await.expect("no panic"));
        elapsed
    })
}

/// The time from the token endpoint's response until the last of the waiters has left.
fn waiters(runtime: &Runtime, vault: impl Vault) -> Duration {
    runtime.block_on(async {
        let (gate, begun) = (Arc::new(Notify::new()), watch::Sender::new(false));
        let lasts = Arc::new(Mutex::new(None));
        let pool = pool(vault, false).await;
        let layer = CredentialsLayer::new(pool).refresher(gated(&gate, &begun));
        let service = layer.layer(upstream(lasts.clone()));
        let requests: Vec<_> =
            (0..WAITERS).map(|_| tokio::spawn(service.clone().oneshot(template()))).collect();
        begun.subscribe().wait_for(|begun| *begun).await.expect("an exchange that begins");
        let start = Instant::now();
        gate.notify_one();
        for request in requests {
            let response = request.await.expect("no panic").expect("a response");
            assert_eq!(response.status(), StatusCode::OK);
        }
        let last = lasts.lock().expect("no panic").expect("one has left");
        last.duration_since(start)
    })
}

fn waiters_locked(runtime: &Runtime) -> Duration {
    runtime.block_on(async {
        let locked = Locked::new();
        let lasts = Arc::new(Mutex::new(None));
        let service = upstream(lasts.clone());
        let requests: Vec<_> = (0..WAITERS)
            .map(|_| {
                let (locked, mut service) = (locked.clone(), service.clone());
                tokio::spawn(async move { locked.send(&mut service, 1).await })
            })
            .collect();
        locked.begun.subscribe().wait_for(|begun| *begun).await.expect("an exchange that begins");
        let start = Instant::now();
        locked.gate.notify_one();
        for request in requests {
            assert_eq!(request.await.expect("no panic").status(), StatusCode::OK);
        }
        let last = lasts.lock().expect("no panic").expect("one has left");
        last.duration_since(start)
    })
}

fn median(rounds: usize, mut measure: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<_> = (0..rounds).map(|_| measure()).collect();
    times.sort();
    times[times.len() / 2]
}

fn file_vault(runtime: &Runtime) -> (tempfile::TempDir, FileVault) {
    let directory = tempfile::tempdir().expect("a directory");
    let key = VaultKey::generate();
    let vault = runtime.block_on(FileVault::open(directory.path().join("vault"), &key));
    (directory, vault.expect("a vault"))
}

fn main() {
    // As with criterion: without `--bench` each case only runs once.
    let measures = std::env::args().any(|argument| argument == "--bench");
    let runtime = &runtime();

    let criterion = Criterion::default().warm_up_time(Duration::from_millis(500));
    let mut criterion = criterion.measurement_time(Duration::from_secs(2)).configure_from_args();
    let mut group = criterion.benchmark_group("refresh");
    for (name, refreshing) in [("others, idle", false), ("others, refreshing", true)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|requests| others(runtime, requests, refreshing));
        });
    }
    group.bench_function("200 waiters, in memory", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| waiters(runtime, MemoryVault::new())).sum());
    });
    group.bench_function("200 waiters, one lock", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| waiters_locked(runtime)).sum());
    });
    group.finish();
    criterion.final_summary();

    let (rounds, requests) = if measures { (ROUNDS, REQUESTS) } else { (1, 10) };
    let per_request = |refreshing| {
        let all = median(rounds, || others(runtime, requests, refreshing));
        all.as_secs_f64() * 1e9 / requests as f64
    };
    let (idle, refreshing) = (per_request(false), per_request(true));
    let locked = median(rounds.min(11), || others_locked(runtime));
    println!("\nns for a request of another account");
    println!("  nothing under way       {idle:>12.0}");
    println!("  a refresh under way     {refreshing:>12.0}");
    println!("  behind one lock         {:>12}", locked.as_nanos());
    let in_memory = median(rounds, || waiters(runtime, MemoryVault::new()));
    let instead = median(rounds, || waiters_locked(runtime));
    let in_files = median(rounds, || {
        let (_directory, vault) = file_vault(runtime);
        waiters(runtime, vault)
    });
    println!("\nµs from the new token to the last of {WAITERS} waiters' requests");
    println!("  vault in memory         {:>12}", in_memory.as_micros());
    println!("  vault in files, durable {:>12}", in_files.as_micros());
    println!("  behind one lock, unsaved{:>12}", instead.as_micros());
    println!("\nrefresh others ratio={:.2}", refreshing / idle);
    println!("refresh waiters ratio={:.2}", in_memory.as_secs_f64() / instead.as_secs_f64());
}

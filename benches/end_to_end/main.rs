//! The cost of the layers over sockets: on loopback, over connections that stay open, with a POST of
//! 2 KiB whose response has 1 KiB; one request at a time, and 64 at once.
//!
//! Each client is compared with the same one bare, and with what a user would stack by hand:
//! - `hyper`: hyper-util's client under `CredentialsLayer`;
//! - `reqwest`: reqwest's client under `ReqwestLayer`, and one of reqwest-middleware's with reqwest-retry;
//! - `middleware`: a client of reqwest-middleware's with `CredentialsMiddleware`, and with `TowerMiddleware`. The
//!   bare one is reqwest's client itself, so that reqwest-middleware counts as well;
//! - `gateway`: `credentials serve` in its own process, with one account; a bare axum proxy in another; and nginx, if it is
//!   installed.
//!
//! A shared machine is faster at one moment than at the next. So a round has only a few requests of each client, in
//! an order that changes, and each client is compared with the bare one of the same round. The median of
//! these ratios counts, and half of them lie in the range printed beside it. The last two lines are for
//! scripts: ours over bare.
//!
//! `--gateway` compares the gateway and the other proxies alone, with the time of a request and the memory. The aims are 0.95
//! of the bare proxy's requests a second, one at a time and 64 at once, 15 µs more at the median, less than 25 MB after 64
//! busy connections, and less than 64 MB with 10,000 idle ones. Cargo builds the gateway like the other proxies here. What
//! `cargo install` installs is optimized as a whole (`[profile.release]`); to measure that, put such a program in the place of
//! `target/release/credentials` before this runs. On two processors of a shared machine it has:
//!
//! | | bare | `credentials serve` | optimized as a whole | nginx |
//! |---|---|---|---|---|
//! | one at a time, over bare | 1 | 0.81 | 0.87–0.95, half of 14 runs above 0.90 | 1.10–1.15 |
//! | 64 at once, over bare | 1 | 0.95 | 0.99–1.10 | 1.23–1.28 |
//! | µs at the median, one at a time | 165–248 | 40 more | 10–26 more, 18 at the median | 10–20 less |
//! | MB after 64 busy connections | 11 | 25.5 | 22–23 | 7 |
//! | MB with 10,000 idle ones | 204 | 58 | 51–57 | 7 |
//!
//! So all aims are reached but those for one request at a time. It costs the gateway 6 calls of the system and two switches of
//! its thread, as it does the bare proxy, but 76,000 instructions instead of 58,000, and 71,000 if it is optimized as a whole.
//! The layers take some 12,000 of them. Since nothing else runs then, most of them come from cold caches.
//!
//! `benches/litellm` compares `credentials serve` with LiteLLM's proxy instead.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

mod clients;
mod gateway;
mod litellm;
mod proxies;
#[path = "../support/mod.rs"]
mod support;

use clients::{Case, OURS};
use proxies::Proxy;

/// How requests are sent.
struct Load {
    at_once: usize,
    /// Requests of a client in a round.
    requests: usize,
    rounds: usize,
}

const ONE_AT_A_TIME: Load = Load { at_once: 1, requests: 32, rounds: 501 };
const BUSY: Load = Load { at_once: 64, requests: 256, rounds: 251 };

/// Requests before the measured ones, since the other clients have filled the caches.
const WARM_UP: usize = 4;

/// An upstream on its own thread, which answers each request with a chat completion of 1 KiB.
fn upstream() -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            sender.send(format!("http://{address}")).expect("somebody waits");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("a socket");
                let serve = hyper::service::service_fn(|request: Request<Incoming>| async move {
                    let _ = request.into_body().collect().await;
                    let response = Response::builder().header("content-type", "application/json");
                    let response = response.body(Full::new(completion())).expect("a response");
                    Ok::<_, Infallible>(response)
                });
                let io = TokioIo::new(stream);
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, serve));
            }
        });
    });
    receiver.recv().expect("a server")
}

fn completion() -> Bytes {
    static COMPLETION: LazyLock<Bytes> = LazyLock::new(|| {
        let (head, tail) = COMPLETION_AROUND;
        let text = "x".repeat(1024 - head.len() - tail.len());
        format!("{head}{text}{tail}").into()
    });
    COMPLETION.clone()
}

const COMPLETION_AROUND: (&str, &str) = (
    concat!(
        r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"bench","#,
        r#""usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2},"#,
        r#""choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":""#,
    ),
    r#""}}]}"#,
);

/// Sends this many requests.
async fn send(case: &Case, at_once: usize, requests: usize) {
    let set = tokio::task::LocalSet::new();
    let left = Rc::new(Cell::new(requests));
    for _ in 0..at_once {
        let (send, left) = (case.send.clone(), left.clone());
        set.spawn_local(async move {
            while let Some(others) = left.get().checked_sub(1) {
                left.set(others);
                send().await;
            }
        });
    }
    set.await;
}

/// The microseconds of a request and their ratio to the bare client's, by round.
#[derive(Clone, Default)]
struct Samples {
    times: Vec<f64>,
    ratios: Vec<f64>,
}

fn measure(runtime: &Runtime, cases: &[Case], load: &Load, rounds: usize) -> Vec<Samples> {
    let mut samples = vec![Samples::default(); cases.len()];
    for number in 0..rounds {
        // Each client follows every other one in turn, since the previous one has left its traces.
        let mut order: Vec<_> = (0..cases.len()).collect();
        order.rotate_left(number % cases.len());
        if number % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let case = &cases[index];
            runtime.block_on(send(case, load.at_once, load.at_once.max(WARM_UP)));
            let start = Instant::now();
            runtime.block_on(send(case, load.at_once, load.requests));
            samples[index].times.push(microseconds(start.elapsed()) / load.requests as f64);
        }
        for (index, case) in cases.iter().enumerate() {
            let ratio = samples[index].times[number] / samples[case.bare].times[number];
            samples[index].ratios.push(ratio);
        }
    }
    for Samples { times, ratios } in &mut samples {
        times.sort_by(f64::total_cmp);
        ratios.sort_by(f64::total_cmp);
    }
    samples
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Prints the table. Returns the line for scripts.
fn print(cases: &[Case], samples: &[Samples], load: &Load) -> String {
    println!(
        "\nµs for a request, {:>2} at once{:>17} {:>10} {:>15}",
        load.at_once, "", "over bare", "half of rounds"
    );
    let mut line = Vec::new();
    for (case, Samples { times, ratios }) in cases.iter().zip(samples) {
        let (time, ratio) = (times[times.len() / 2], ratios[ratios.len() / 2]);
        let half = format!("{:.3}–{:.3}", ratios[ratios.len() / 4], ratios[ratios.len() * 3 / 4]);
        println!("{:<12} {:<24} {time:>8.1} {ratio:>10.3} {half:>15}", case.client, case.stack);
        if case.stack == OURS {
            line.push(format!("{}={ratio:.3}", case.client));
        }
    }
    line.join(" ")
}

fn main() {
    if proxies::be_one_if_asked() {
        return;
    }
    // As with criterion: without `--bench` each case only runs once.
    let measures = std::env::args().any(|argument| argument == "--bench");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let upstream = upstream();
    if let Some(program) = litellm::asked_for() {
        return litellm::compare(&runtime, &upstream, &program, measures);
    }
    let bare_proxy = Proxy::bare(&upstream);
    let gateway = runtime.block_on(Proxy::ours(&upstream));
    let nginx = Proxy::nginx(&upstream);
    if nginx.is_none() {
        println!("nginx is not installed, so it is not in the table");
    }
    if gateway::asked_for() {
        let cases = clients::of_gateways([&bare_proxy, &gateway], nginx.as_ref());
        let proxies: Vec<_> = [&bare_proxy, &gateway].into_iter().chain(&nginx).collect();
        return gateway::compare(&runtime, &cases, &proxies, measures);
    }
    let cases = clients::cases(&upstream, [&bare_proxy, &gateway], nginx.as_ref());
    let cases = runtime.block_on(cases);
    let [one_at_a_time, busy] = [ONE_AT_A_TIME, BUSY].map(|load| {
        // Makes the connections.
        measure(&runtime, &cases, &load, 1);
        let samples = measure(&runtime, &cases, &load, if measures { load.rounds } else { 1 });
        print(&cases, &samples, &load)
    });
    println!("\nend_to_end ratio {one_at_a_time}");
    println!("end_to_end busy ratio {busy}");
}

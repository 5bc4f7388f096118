//! `credentials serve` beside a bare axum proxy, and nginx if it is installed: the time of a request, how many each serves in
//! a second, and its memory.
//!
//! The proxies take turns in short rounds, since a shared machine is faster at one moment than at the next.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::clients::Case;
use crate::proxies::Proxy;
use crate::{microseconds, send};

/// The argument that asks for this comparison.
const FLAG: &str = "--gateway";

/// Rounds, and the requests of a proxy in each: one at a time, and 64 at once.
const ROUNDS: usize = 200;
const ONE_AT_A_TIME: usize = 64;
const AT_ONCE: usize = 64;
const BUSY: usize = 512;

/// Connections that have had a response, and send no other request.
const IDLE: usize = 10_000;

/// How many of them are made at once.
const MAKING: usize = 64;

/// Whether this comparison is asked for.
pub(crate) fn asked_for() -> bool {
    std::env::args().any(|argument| argument == FLAG)
}

/// What was measured of a proxy.
#[derive(Default)]
struct Measured {
    /// The microseconds of each request, one at a time.
    times: Vec<f64>,
    /// The microseconds of a request in each round.
    one_at_a_time: Vec<f64>,
    busy: Vec<f64>,
}

/// Prints the table. The first proxy is what the others are compared with.
pub(crate) fn compare(runtime: &Runtime, cases: &[Case], proxies: &[&Proxy], measures: bool) {
    let mut measured: Vec<_> = cases.iter().map(|_| Measured::default()).collect();
    for number in 0..if measures { ROUNDS } else { 1 } {
        let mut order: Vec<_> = (0..cases.len()).collect();
        order.rotate_left(number % cases.len());
        for index in order {
            measured[index].round(runtime, &cases[index]);
        }
    }
    let memory: Vec<_> = proxies.iter().map(|proxy| proxy.memory()).collect();
    let idle = proxies.iter().map(|proxy| idle_memory(runtime, proxy, if measures { IDLE } else { 1 }));
    let idle: Vec<_> = idle.collect();
    println!(
        "\n{:<18} {:>8} {:>8} {:>10} {:>10} {:>10} {:>10} {:>12}",
        "proxy", "p50, µs", "p99, µs", "1 a time/s", "over bare", "64 busy/s", "over bare", "memory, MB"
    );
    let bare = [median(&measured[0].one_at_a_time), median(&measured[0].busy)];
    for (index, (case, one)) in cases.iter().zip(&measured).enumerate() {
        let (p50, p99) = (quantile(&one.times, 50), quantile(&one.times, 99));
        let rounds = [&one.one_at_a_time, &one.busy].map(|times| median(times));
        let [alone, busy] = rounds.map(|time| 1e6 / time);
        let [alone_ratio, busy_ratio] = [bare[0] / rounds[0], bare[1] / rounds[1]];
        let (memory, idle) = (memory[index], idle[index]);
        println!(
            "{:<18} {p50:>8.1} {p99:>8.1} {alone:>10.0} {alone_ratio:>10.3} {busy:>10.0} {busy_ratio:>10.3} {memory:>5.1} {idle:>6.1}",
            case.stack
        );
    }
    println!("\nThe memory is that after {AT_ONCE} busy connections, and that with {IDLE} idle ones");
}

impl Measured {
    fn round(&mut self, runtime: &Runtime, case: &Case) {
        let times = Rc::new(RefCell::new(Vec::new()));
        runtime.block_on(send(case, 1, 4));
        let start = Instant::now();
        runtime.block_on(async {
            for _ in 0..ONE_AT_A_TIME {
                let start = Instant::now();
                (case.send)().await;
                times.borrow_mut().push(microseconds(start.elapsed()));
            }
        });
        self.one_at_a_time.push(microseconds(start.elapsed()) / ONE_AT_A_TIME as f64);
        self.times.append(&mut times.borrow_mut());
        runtime.block_on(send(case, AT_ONCE, AT_ONCE));
        let start = Instant::now();
        runtime.block_on(send(case, AT_ONCE, BUSY));
        self.busy.push(microseconds(start.elapsed()) / BUSY as f64);
    }
}

/// Returns the memory of a proxy while it has so many idle connections, in megabytes.
fn idle_memory(runtime: &Runtime, proxy: &Proxy, count: usize) -> f64 {
    let (address, path) = proxy.address_and_path();
    let request = format!(
        "POST {path}/v1/messages HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    runtime.block_on(async {
        let mut idle = Vec::new();
        while idle.len() < count {
            let making = MAKING.min(count - idle.len());
            let connections = (0..making).map(|_| connection(&address, &request));
            idle.extend(futures_util::future::join_all(connections).await);
        }
        proxy.memory()
    })
}

/// Makes a connection that has had a response.
async fn connection(address: &str, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("a request that is sent");
    let mut response = Vec::new();
    while !response.ends_with(crate::COMPLETION_AROUND.1.as_bytes()) {
        let read = stream.read_buf(&mut response).await.expect("a response");
        assert!(read > 0, "{address} has closed the connection: {}", String::from_utf8_lossy(&response));
    }
    stream
}

fn median(times: &[f64]) -> f64 {
    quantile(times, 50)
}

fn quantile(times: &[f64], percent: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

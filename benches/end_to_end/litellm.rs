//! `credentials serve` beside LiteLLM's proxy, each in its own process with one account.
//!
//! What each does with a request:
//! - `credentials serve` checks the request against its rules for strangers, reads the model from its body, picks an account,
//!   replaces the headers, forwards the bytes, reads the limits in the response, and counts. Here it takes no token
//!   (`--open`), and writes no line of an access log.
//! - LiteLLM checks its client's key in memory (no database is set up), parses and validates the body, picks a deployment,
//!   makes a request of its own for the vendor, parses the response, counts its tokens and its cost, and writes its own form
//!   of it.

use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::runtime::Runtime;

use crate::clients::{self, Case};
use crate::proxies::{Proxy, TOKEN};
use crate::{microseconds, send};

/// The argument with LiteLLM's program.
const FLAG: &str = "--litellm";

/// Requests in a round: one at a time, and 64 at once.
const LOADS: [(usize, usize); 2] = [(1, 64), (64, 512)];

const ROUNDS: usize = 5;

/// Returns LiteLLM's program, if this comparison is asked for.
pub(crate) fn asked_for() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip_while(|argument| argument != FLAG);
    arguments.next()?;
    Some(arguments.next().unwrap_or_else(|| panic!("{FLAG} needs LiteLLM's program")).into())
}

/// Prints how many requests a second each serves, and its memory after that.
pub(crate) fn compare(runtime: &Runtime, upstream: &str, program: &std::path::Path, measures: bool) {
    let ours = runtime.block_on(Proxy::ours(upstream));
    let theirs = Proxy::litellm(program, upstream);
    let named = [("credentials serve", &ours), ("LiteLLM", &theirs)];
    let cases = clients::of_proxies(named.map(|(name, proxy)| (name, chat(proxy.base()))));
    println!(
        "{:<20} {:>12} {:>12} {:>12}",
        "requests a second", "1 at once", "64 at once", "memory, MB"
    );
    let mut rates = Vec::new();
    for (case, (_, proxy)) in cases.iter().zip(named) {
        let [one, busy] = LOADS.map(|load| rate(runtime, case, load, if measures { ROUNDS } else { 1 }));
        println!("{:<20} {one:>12.0} {busy:>12.0} {:>12.0}", case.stack, proxy.memory());
        rates.push((one, busy));
    }
    let [ours, theirs] = rates[..] else { return };
    println!("\nlitellm ratio {:.1} busy {:.1}", ours.0 / theirs.0, ours.1 / theirs.1);
}

/// The median of the rounds' rates.
fn rate(runtime: &Runtime, case: &Case, (at_once, requests): (usize, usize), rounds: usize) -> f64 {
    runtime.block_on(send(case, at_once, at_once));
    let mut rates: Vec<_> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            runtime.block_on(send(case, at_once, requests));
            requests as f64 / microseconds(start.elapsed()) * 1e6
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// A chat of 2 KiB.
fn chat(base: &str) -> Request<Full<Bytes>> {
    let text = "x".repeat(1970);
    let body = format!(r#"{{"model":"bench","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    let request = Request::post(format!("{base}/v1/chat/completions"));
    let request = request.header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {TOKEN}"));
    request.body(Full::new(body.into())).expect("a request")
}

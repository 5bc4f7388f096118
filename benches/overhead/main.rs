//! What our layers add to a request, beside what a user would use instead, all in one run.
//!
//! A request is a clone of a template: POST, eight headers with shared values, a body of 2 KiB in
//! memory. The service at the end answers at once from memory. Everything runs on one thread of a
//! current-thread runtime with a paused clock (so that no timer ever fires), through a service
//! that the caller keeps: `poll_ready`, `call`, and awaiting the future.
//!
//! Two paths:
//! - *happy*: the response is 200. Its headers cost each layer that reads them, so there is a table for
//!   a response with none, from which the ratios come, and one for a response that has six, three of them
//!   about limits.
//! - *rotate*: the first response is 429 and names no time, the second is 200. The pool's cooldown is set
//!   to nothing, so that its four accounts take turns and each request is a rotation. The bare service
//!   gets two requests, each its own clone.
//!
//! Each account that is rotated to was limited four requests earlier, so that each rotation records
//! two things, a limit and a recovery. The limit is saved before the request is sent again, and the
//! recovery is saved along with the next one. A rotation without a save, and one whose next account
//! was never limited, have their own rows.
//!
//! *rotate-saved* is the rotation again, by those that do the whole job: several accounts, whose
//! state is in a file before the request is sent again. That is `same_job`, which a user would write by
//! hand, beside ours over a vault on the same disk. Ours over a vault in memory shows the cost
//! if a program keeps its accounts elsewhere. Files have fewer rounds, with fewer requests in each. How
//! often something was saved is checked after each round. Allocations are those of the request's thread.
//!
//! The variants are measured in turn, in many short rounds, and the median of the rounds counts. The table's
//! numbers are those of a request less those of the bare service. The lines for scripts, `overhead …`,
//! are what ours adds divided by what another one adds:
//! - `ratio happy`, `ratio rotate`: four layers by the hand-made pair, which is tower-http's
//!   `AddAuthorizationLayer` under tower's `RetryLayer` with a policy that clones;
//! - `one-layer ratio`: all four as one, by the same;
//! - `ratio between`: four layers with a user's own between each two, by the same, if all goes well;
//! - `ratio nothing-kept`: one layer that keeps no copy, since no second attempt is possible, by the same;
//! - `ratio same-job`: one layer over a vault on disk, by the same job done by hand;
//! - `ratio same-job-memory`: one layer over a vault in memory, by the same, which still writes its file;
//! - `counters`: the nanoseconds that a request costs to be counted, and one layer by what it would be uncounted.
//!
//! For clients of reqwest-middleware's and services of reqwest's requests, the base is the same without
//! layers. The sizes at the end are of the services and of their futures.
//!
//! `cargo bench --bench overhead -- happy/four` runs criterion's part for a few variants only;
//! `cargo bench --bench overhead -- none` skips it.

use std::rc::Rc;
use std::time::Duration;

use criterion::Criterion;
use tokio::runtime::Runtime;

#[path = "../support/reqwest.rs"]
mod clients;
mod counting;
#[path = "../../tests/counting_allocator/mod.rs"]
mod counting_allocator;
mod counting_vault;
mod names;
mod path;
mod same_job;
mod sample;
mod sizes;
#[path = "../support/mod.rs"]
mod support;
mod table;

use counting_allocator::Counting;
use names::{
    APART, FOUR, HAND_MADE, HEADER_ALONE, NOTHING_KEPT, ONE, ONE_IN_FILES, ONE_IN_MEMORY, SAME_JOB,
};
use path::{How, Path};
use support::Upstream;
use table::Table;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The number of rounds of a table, and of a variant's requests in each. The rounds are short, so
/// that on a busy machine most of them end before another process gets the processor.
const IN_MEMORY: (usize, u64) = (601, 150);
const IN_FILES: (usize, u64) = (301, 30);

fn path(name: &'static str, runtime: &Rc<Runtime>, upstreams: fn() -> Upstream) -> Path {
    let mut path = Path::new(name, runtime, upstreams);
    path.bare("bare", upstreams());
    path.sends_again(HAND_MADE, support::hand_made);
    path.pooled(FOUR, support::four_layers, How::Saved);
    path.pooled(ONE, support::one_layer, How::Saved);
    path.pooled(APART, support::four_layers_apart, How::Saved);
    path.pooled("three layers, no saving", support::three_layers, How::Unsaved);
    path.sends_once(HEADER_ALONE, support::auth_header(&support::accounts(4), upstreams()));
    if path.rotates() {
        path.pooled("four layers, nothing saved", support::four_layers, How::Unsaved);
        path.pooled("four layers, a fresh account", support::four_layers, How::NeverLimited);
        path.pooled("one layer, nothing saved", support::one_layer, How::Unsaved);
        path.pooled("one layer, a fresh account", support::one_layer, How::NeverLimited);
    } else {
        path.same_job(SAME_JOB);
        let key = support::one_key();
        path.sends_once("four layers, nothing kept", support::four_layers_once(&key, upstreams()));
        path.sends_once(NOTHING_KEPT, support::one_layer_once(&key, upstreams()));
    }
    path.bare("reqwest-middleware, bare", clients::bare(upstreams()));
    path.sends_again("reqwest-retry", clients::retrying);
    #[cfg(feature = "reqwest-middleware")]
    path.pooled("CredentialsMiddleware", clients::credentials_middleware, How::Saved);
    #[cfg(feature = "reqwest-middleware")]
    path.pooled("TowerMiddleware, one layer", clients::tower_middleware, How::Saved);
    path.bare("reqwest's service, bare", clients::service(upstreams()));
    #[cfg(feature = "reqwest-middleware")]
    path.pooled("ReqwestLayer, one layer", clients::reqwest_layer, How::Saved);
    path
}

/// The variants that do the whole job.
fn saved(runtime: &Rc<Runtime>) -> Path {
    let mut path = Path::new("rotate-saved", runtime, Upstream::limited_first);
    path.bare("bare", path.upstream());
    path.same_job(SAME_JOB);
    path.filed(ONE_IN_FILES, support::one_layer);
    path.filed("four layers, a vault of files", support::four_layers);
    path.pooled(ONE_IN_MEMORY, support::one_layer, How::Saved);
    path
}

/// Prints what ours adds divided by what another variant adds.
fn print_ratio(name: &str, table: &Table, ours: &str, theirs: &str) {
    let (ours, theirs) = (table.row(ours), table.row(theirs));
    println!(
        "{name} time={:.2} allocations={:.2}",
        ours.added / theirs.added,
        ours.added_allocations / theirs.added_allocations,
    );
}

fn print_same_job(table: &Table) {
    let added = |name| table.row(name).added;
    let (files, memory) =
        (added(ONE_IN_FILES) / added(SAME_JOB), added(ONE_IN_MEMORY) / added(SAME_JOB));
    println!("overhead ratio same-job time={files:.2}");
    println!("overhead ratio same-job-memory time={memory:.2}");
    for (vault, ratio) in [("of files", files), ("in memory", memory)] {
        let (which, factor) = if ratio <= 1.0 { ("ahead", 1.0 / ratio) } else { ("behind", ratio) };
        println!("A saved rotation, a vault {vault}: ours {which} by a factor of {factor:.1}");
    }
}

/// Prints what counting costs, and what one layer adds divided by what it would add uncounted.
fn print_counting(counting: f64, table: &Table) {
    let added = table.row(ONE).added;
    println!("overhead counters ns={counting:.1} ratio={:.3}", added / (added - counting));
    println!("Counters: {counting:.1} of the {added:.0} ns that one layer adds; the aim is under 20");
}

fn main() {
    // As with criterion: without `--bench` each case only runs once.
    let measures = std::env::args().any(|argument| argument == "--bench");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = Rc::new(runtime.expect("a runtime"));
    let mut happy = path("happy", &runtime, Upstream::good);
    let mut rotate = path("rotate", &runtime, Upstream::limited_first);
    let mut saved = saved(&runtime);

    let criterion = Criterion::default().warm_up_time(Duration::from_millis(500));
    let mut criterion = criterion.measurement_time(Duration::from_secs(2)).configure_from_args();
    for path in [&mut happy, &mut rotate, &mut saved] {
        let mut group = criterion.benchmark_group(path.name);
        for variant in &mut path.variants {
            group.bench_function(variant.name, |bencher| {
                bencher.iter_custom(|requests| (variant.run)(requests).time);
            });
        }
        group.finish();
    }
    criterion.final_summary();

    let measure = |path: &mut Path, (rounds, per_round)| match measures {
        true => Table::measure(path, rounds, per_round),
        false => Table::measure(path, 1, 3),
    };
    let mut with_headers = path("happy", &runtime, || Upstream::good().with_headers());
    let happy = measure(&mut happy, IN_MEMORY);
    let with_headers = measure(&mut with_headers, IN_MEMORY);
    let rotate = measure(&mut rotate, IN_MEMORY);
    let saved = measure(&mut saved, IN_FILES);
    happy.print("200, without headers");
    with_headers.print("200, with six headers, three of them about limits");
    rotate.print("429, then 200");
    saved.print("429, then 200, saved");
    sizes::print();
    println!();
    for (path, table) in
        [("happy-with-limit-headers", &with_headers), ("happy", &happy), ("rotate", &rotate)]
    {
        print_ratio(&format!("overhead ratio {path}"), table, FOUR, HAND_MADE);
        print_ratio(&format!("overhead one-layer ratio {path}"), table, ONE, HAND_MADE);
    }
    print_ratio("overhead ratio between", &happy, APART, HAND_MADE);
    print_ratio("overhead ratio nothing-kept", &happy, NOTHING_KEPT, HAND_MADE);
    print_same_job(&saved);
    let (rounds, per_round) = if measures { IN_MEMORY } else { (1, 3) };
    print_counting(counting::nanoseconds(rounds, per_round), &happy);
}

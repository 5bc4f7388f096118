//! The cost of the encrypted vault beside what a user would write instead, all in one run.
//!
//! - *secret*: a secret of 1 KiB through the sealing layer over a vault in memory, beside AES-256-GCM alone.
//!   The layer also writes or reads JSON, binds the secret to its record, and keeps the record.
//! - *put*: a credential put durably into a `FileVault`, beside a file of as many bytes written, synced,
//!   renamed, and its directory synced; and beside the same without that last sync, which most programs
//!   leave out, and which a power cut may undo.
//! - *cooldown*: an outcome that a task records in an open vault of four accounts, in a runtime of
//!   one thread and in one of many; beside the same by hand, both on the task's thread,
//!   which blocks it, and on one for blocking work. That needs two changes of thread, which every vault
//!   needs that does not block the runtime's threads.
//! - *request*: how much longer a rotation takes because the cooldown is saved before the second attempt.
//!   A request that gets a 429 and then a 200 goes through the four layers, over a vault in memory
//!   and over one on disk.
//! - *open*: a vault of 10,000 records opened and its pool loaded, beside reading the same files and
//!   decrypting their secrets with as little code as possible; and the same vault listed, and checked. All files
//!   are in the system's cache.
//! - *reseal*: a vault of 500 records sealed again with another key, beside as many files replaced durably, one after
//!   another.
//! - *follow*: how soon a pool knows what another process has recorded, once it asks; beside the same call
//!   without a change.
//! - *get*: one credential read, beside its file read and decrypted.
//! - *killed*: how long a request goes on waiting for a lock whose holder was killed. The holder is this
//!   program again, in its own process.
//!
//! The cases of a table are measured in turn, in many rounds; the medians count. Files are on the build's disk,
//! since the temporary directory may be in memory, where a sync costs nothing.
//!
//! The last line is for scripts: the time to open divided by that of its bare counterpart, the same for a put
//! (the one whose directory is synced), and a recorded cooldown in microseconds, in the runtime of many
//! threads. Aims: 1.5 for opening, 50 µs for a cooldown, 10 ms for a killed holder.

use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, SamplingMode};

mod by_hand;
mod cooldown;
mod follow;
mod get;
mod killed;
mod opening;
mod place;
mod put;
mod request;
mod resealing;
mod secret;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod timing;

use timing::Runtimes;

fn main() {
    if let Some(path) = std::env::var_os(killed::HOLDER) {
        return killed::hold(Path::new(&path));
    }
    // As with criterion: without `--bench` each case only runs once.
    let measures = std::env::args().any(|argument| argument == "--bench");
    let runtimes = Runtimes::new();
    let mut secret = secret::table();
    let mut put = put::table(&runtimes);
    let mut cooldown = cooldown::table(&runtimes);
    let mut request = request::table(&runtimes);
    let mut opening = opening::table(&runtimes);
    let mut resealing = resealing::table(&runtimes);
    let mut follow = follow::table(&runtimes);
    let mut get = get::table(&runtimes);

    let criterion = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(100));
    let mut criterion = criterion.measurement_time(Duration::from_millis(400)).configure_from_args();
    let tables = [&mut secret, &mut put, &mut cooldown, &mut request, &mut opening, &mut resealing];
    for table in tables.into_iter().chain([&mut follow, &mut get]) {
        let mut group = criterion.benchmark_group(table.name);
        group.sampling_mode(SamplingMode::Flat);
        for case in &mut table.cases {
            group.bench_function(case.name, |bencher| bencher.iter_custom(|times| (case.run)(times)));
        }
        group.finish();
    }
    criterion.final_summary();

    secret.measure(measures);
    get.measure(measures);
    follow.measure(measures);
    killed::measure(&runtimes, if measures { 60 } else { 1 });
    let request = request.measure(measures);
    for [memory, files] in request::NAMES {
        println!("{files}: {:.1} µs more", request[files] - request[memory]);
    }
    let put = put.measure(measures);
    let opening = opening.measure(measures);
    resealing.measure(measures);
    let cooldown = cooldown.measure(measures);
    println!(
        "\nvault ratio open={:.2} put={:.2} cooldown_us={:.1}",
        opening[opening::LOADED] / opening[opening::BARE],
        put[put::PUT] / put[put::BARE],
        cooldown[cooldown::RECORDED],
    );
}

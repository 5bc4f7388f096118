//! How long a request waits for a lock after the process that holds it was killed.

use std::fs::OpenOptions;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tower_credentials::vault::VaultExt;

use crate::place::Place;
use crate::support::key;
use crate::timing::Runtimes;

/// The variable that makes a process the holder, with the file that it must lock.
pub(crate) const HOLDER: &str = "TOWER_CREDENTIALS_BENCH_HOLDER";

/// Locks the file, says so, and waits until it is killed or the other process has gone.
pub(crate) fn hold(path: &Path) {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let file = file.expect("a lock file");
    file.lock().expect("a lock");
    println!("locked");
    let _ = std::io::stdin().read(&mut [0]);
}

/// How long a request goes on waiting after the lock's holder was killed, in milliseconds, sorted.
fn after_kill<F: Future<Output = ()> + Send + 'static>(
    runtime: &Runtime,
    rounds: u64,
    lock: &Path,
    request: impl Fn() -> F,
) -> Vec<f64> {
    let mut times = Vec::new();
    for round in 0..rounds {
        let mut holder = Command::new(std::env::current_exe().expect("this program"))
            .env(HOLDER, lock)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("another process");
        let said = holder.stdout.as_mut().expect("a pipe").read(&mut [0]);
        assert_eq!(said.expect("a pipe"), 1, "the other process holds the lock");
        let waits = runtime.spawn(request());
        // So that the kill falls anywhere between two of its tries.
        std::thread::sleep(Duration::from_micros(25_000 + round % 16 * 331));
        assert!(!waits.is_finished(), "it waits");
        holder.kill().expect("a process that can be killed");
        holder.wait().expect("a process that has ended");
        let start = Instant::now();
        runtime.block_on(waits).expect("no panic");
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    times
}

pub(crate) fn measure(runtimes: &Runtimes, rounds: u64) {
    let place = Place::new(&runtimes.many);
    let id = place.fill(&runtimes.many, 4)[0];
    let (lock, lease) = (place.root().join("lock"), place.root().join(format!("leases/{id}.lock")));
    let vault = &place.vault;
    let load = after_kill(&runtimes.many, rounds, &lock, || {
        let vault = vault.clone();
        async move {
            vault.load_pool(key()).await.expect("a pool");
        }
    });
    let refresh = after_kill(&runtimes.many, rounds, &lease, || {
        let vault = vault.clone();
        async move {
            vault.lease_refresh(&key(), id).await.expect("a lease");
        }
    });
    println!("\n{:<52} {:>9} {:>9}", "after the holder was killed", "ms", "at most");
    for (name, times) in
        [("the vault's lock, and the pool loaded", load), ("a refresh's lease", refresh)]
    {
        println!("{name:<52} {:>9.1} {:>9.1}", times[times.len() / 2], times[times.len() - 1]);
    }
}

//! How much longer a rotation takes because it saves the cooldown to a file.

use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tower_credentials::Pool;
use tower_credentials::vault::MemoryVault;

use crate::place::Place;
use crate::support::{Stack, Upstream, accounts_in, four_layers, send, template};
use crate::table::Table;
use crate::timing::{Runtimes, task};

/// Requests that get a 429 and then a 200, each with accounts that have no earlier failures.
fn rotations<S: Stack + Send + 'static>(
    runtime: Rc<Runtime>,
    pool: Pool,
    stack: impl Fn(&Pool, Upstream) -> S,
) -> impl FnMut(u64) -> Duration {
    let service = stack(&pool, Upstream::limited_first());
    move |times| {
        let (pool, mut service) = (pool.clone(), service.clone());
        task(&runtime, async move {
            let mut sum = Duration::ZERO;
            let before = pool.counters();
            // Of four accounts, three can be rotated to before the first one's turn comes again.
            for begun in (0..times).step_by(3) {
                for status in pool.status() {
                    pool.reset(status.credential.id).await.expect("a reset");
                }
                let start = Instant::now();
                for _ in begun..times.min(begun + 3) {
                    black_box(send(&mut service, template()).await);
                }
                sum += start.elapsed();
            }
            assert_eq!(pool.counters().rotations - before.rotations, times, "rotations");
            sum
        })
    }
}

pub(crate) const NAMES: [[&str; 2]; 2] = [
    ["over a vault in memory, one thread", "over a vault in files, one thread"],
    ["over a vault in memory, many threads", "over a vault in files, many threads"],
];

pub(crate) fn table(runtimes: &Runtimes) -> Table {
    let mut table = Table::new("request that rotates", 201, 12);
    for (runtime, names) in [&runtimes.one, &runtimes.many].into_iter().zip(NAMES) {
        let pool = runtime.block_on(accounts_in(MemoryVault::new(), 4));
        table.beside(names[0], rotations(runtime.clone(), pool, four_layers));
        let place = Place::new(runtime);
        let pool = runtime.block_on(accounts_in(place.vault.clone(), 4));
        let mut run = rotations(runtime.clone(), pool, four_layers);
        table.case(names[1], move |times| {
            let _place = &place;
            run(times)
        });
    }
    table
}

//! How soon a pool knows what another process has recorded.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tower_credentials::standing::Change;
use tower_credentials::vault::VaultExt;

use crate::place::{Place, cooled, open};
use crate::support::{self, key};
use crate::table::Table;
use crate::timing::{Runtimes, task};

pub(crate) fn table(runtimes: &Runtimes) -> Table {
    let runtime = runtimes.many.clone();
    let mut table = Table::new("what another process has recorded", 51, 4);
    for (count, names) in [
        (4, ["nothing new, asked of the vault, 4 accounts", "known in the pool, 4 accounts"]),
        (
            1_000,
            ["nothing new, asked of the vault, 1,000 accounts", "known in the pool, 1,000 accounts"],
        ),
    ] {
        let place = Place::new(&runtime);
        let ids = place.fill(&runtime, count);
        let pool = runtime.block_on(support::builder(place.vault.clone()).open()).expect("a pool");
        table.beside(names[0], {
            let (runtime, vault) = (runtime.clone(), place.vault.clone());
            move |times| {
                let vault = vault.clone();
                task(&runtime, async move {
                    let start = Instant::now();
                    for _ in 0..times {
                        black_box(vault.revision(key()).await.expect("a revision"));
                    }
                    start.elapsed()
                })
            }
        });
        let other = open(&runtime, &place.root());
        let (runtime, mut turn) = (runtime.clone(), 0);
        table.case(names[1], move |times| {
            let _place = &place;
            let mut sum = Duration::ZERO;
            for _ in 0..times {
                turn += 1;
                let id = ids[turn % ids.len()];
                let outcome = cooled(id);
                let Change::CooledDown { cooldown, .. } = outcome.change.clone() else { continue };
                runtime.block_on(other.record(key(), vec![outcome])).expect("a vault that records");
                let pool = pool.clone();
                sum += task(&runtime, async move {
                    let start = Instant::now();
                    pool.sync().await.expect("a pool in sync");
                    let status = pool.status();
                    let time = start.elapsed();
                    let status = status.iter().find(|status| status.credential.id == id);
                    let known = status.and_then(|status| status.standing.cooldown(None));
                    assert_eq!(known.map(|known| known.until), Some(cooldown.until));
                    time
                });
            }
            sum
        });
    }
    table
}

//! A vault resealed with another key, beside its files replaced by hand.

use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;

use crate::by_hand::replace;
use crate::place::{Place, vault_key};
use crate::table::Table;
use crate::timing::{Runtimes, task, timed};

/// Enough records for the disk to matter, and few enough not to take minutes one by one.
const RESEALED: usize = 500;

pub(crate) fn table(runtimes: &Runtimes) -> Table {
    let runtime = runtimes.many.clone();
    let place = Rc::new(Place::new(&runtime));
    let ids = place.fill(&runtime, RESEALED);
    let mut table = Table::new("500 records sealed again", 7, 1);
    table.beside("each replaced by hand, and synced twice", {
        let directory = place.directory.path().join("bare");
        fs::create_dir(&directory).expect("a directory");
        let bytes = fs::read(place.record(ids[0])).expect("a record");
        move |times| {
            timed(|| {
                for number in 0..times as usize * RESEALED {
                    let name = directory.join(format!("{}.json", number % RESEALED));
                    replace(&name, &bytes, true, true);
                }
            })
        }
    });
    let mut key = vault_key();
    table.case("sealed again with another key", move |times| {
        let mut sum = Duration::ZERO;
        for _ in 0..times {
            let old = std::mem::replace(&mut key, VaultKey::generate());
            let builder = FileVault::builder(place.root()).old_key(&old);
            let vault = runtime.block_on(builder.open(&key)).expect("a vault");
            sum += task(&runtime, async move {
                let start = Instant::now();
                let resealing = vault.reseal(|_| ()).await.expect("a vault that stores");
                assert_eq!((resealing.sealed, resealing.left), (RESEALED, 0));
                start.elapsed()
            });
        }
        sum
    });
    table
}

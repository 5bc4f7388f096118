//! A credential put into a vault, beside a file replaced by hand.

use std::fs;
use std::rc::Rc;
use std::time::Instant;

use tower_credentials::vault::VaultExt;

use crate::by_hand::replace;
use crate::place::{Place, account};
use crate::table::Table;
use crate::timing::{Runtimes, task, timed};

pub(crate) const PUT: &str = "put";
pub(crate) const BARE: &str = "write, fsync, rename, fsync the directory";

pub(crate) fn table(runtimes: &Runtimes) -> Table {
    let runtime = runtimes.many.clone();
    let place = Rc::new(Place::new(&runtime));
    let mut number = 0;
    let mut next = move || {
        number += 1;
        account(number)
    };
    let first = runtime.block_on(place.vault.put(next())).expect("a vault that stores").id;
    let bytes = Rc::new(fs::read(place.record(first)).expect("a record"));
    let mut by_hand = {
        let (place, bytes) = (place.clone(), bytes.clone());
        let directory = place.directory.path().join("bare");
        fs::create_dir(&directory).expect("a directory");
        let mut number = 0;
        move |times, syncs_names| {
            timed(|| {
                for _ in 0..times {
                    number += 1;
                    let name = directory.join(format!("{number}-{syncs_names}.json"));
                    replace(&name, &bytes, true, syncs_names);
                }
            })
        }
    };
    let mut table = Table::new("put", 301, 1);
    table.beside(BARE, {
        let mut by_hand = by_hand.clone();
        move |times| by_hand(times, true)
    });
    table.case("write, fsync, rename", move |times| by_hand(times, false));
    table.case(PUT, move |times| {
        let vault = place.vault.clone();
        let credentials: Vec<_> = (0..times).map(|_| next()).collect();
        task(&runtime, async move {
            let start = Instant::now();
            for credential in credentials {
                vault.put(credential).await.expect("a vault that stores");
            }
            start.elapsed()
        })
    });
    table
}

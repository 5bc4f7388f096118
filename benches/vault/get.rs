//! One credential read, beside its file read by hand.

use std::fs;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;

use tower_credentials::vault::VaultExt;

use crate::by_hand::decrypt;
use crate::place::{Place, aes};
use crate::support::key;
use crate::table::Table;
use crate::timing::{Runtimes, blocking, task, timed};

pub(crate) fn table(runtimes: &Runtimes) -> Table {
    let runtime = runtimes.many.clone();
    let place = Rc::new(Place::new(&runtime));
    let id = place.fill(&runtime, 4)[0];
    let path = place.record(id);
    let by_hand = move || {
        black_box(decrypt(&aes(), &fs::read(&path).expect("a record")));
    };
    let mut table = Table::new("get", 301, 20);
    table.beside("read and decrypted by hand, in place", {
        let by_hand = by_hand.clone();
        move |times| timed(|| (0..times).for_each(|_| by_hand()))
    });
    table.beside("read and decrypted by hand, spawn_blocking", {
        let runtime = runtime.clone();
        move |times| blocking(&runtime, times, by_hand.clone())
    });
    table.case("get", move |times| {
        let (vault, key) = (place.vault.clone(), key());
        task(&runtime, async move {
            let start = Instant::now();
            for _ in 0..times {
                black_box(vault.get(&key, id).await.expect("a credential"));
            }
            start.elapsed()
        })
    });
    table
}

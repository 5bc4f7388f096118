//! A large vault opened, listed and checked, beside its files read by hand.

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::{Check, FileVault};
use tower_credentials::vault::key::Keys;

use crate::by_hand::decrypt;
use crate::place::{Place, aes, vault_key};
use crate::support::key;
use crate::table::Table;
use crate::timing::{Runtimes, task};

const RECORDS: usize = 10_000;
pub(crate) const LOADED: &str = "opened, and the pool loaded";
pub(crate) const BARE: &str = "read and decrypted by hand";

/// Repeats a measurement in the directory of this vault.
fn repeated<F>(
    runtime: Rc<Runtime>,
    place: Rc<Place>,
    once: impl Fn(PathBuf) -> F + Copy + Send + 'static,
) -> impl FnMut(u64) -> Duration
where
    F: Future<Output = Duration> + Send + 'static,
{
    move |times| {
        let root = place.root();
        task(&runtime, async move {
            let mut sum = Duration::ZERO;
            for _ in 0..times {
                sum += once(root.clone()).await;
            }
            sum
        })
    }
}

pub(crate) fn table(runtimes: &Runtimes) -> Table {
    let runtime = runtimes.many.clone();
    let place = Rc::new(Place::new(&runtime));
    let began = Instant::now();
    let count = place.fill(&runtime, RECORDS).len();
    println!("{count} records written: {:.1?}", began.elapsed());
    let mut table = Table::new("vault of 10,000 records", 21, 1);
    table.beside(BARE, {
        let records = place.root().join("records");
        move |times| {
            let mut sum = Duration::ZERO;
            for _ in 0..times {
                let start = Instant::now();
                let aes = aes();
                let mut secrets = Vec::new();
                for entry in fs::read_dir(&records).expect("a directory") {
                    let path = entry.expect("an entry").path();
                    secrets.push(decrypt(&aes, &fs::read(path).expect("a record")));
                }
                sum += start.elapsed();
                assert_eq!(secrets.len(), count);
            }
            sum
        }
    });
    let listed = move |root: PathBuf| async move {
        let start = Instant::now();
        let vault = FileVault::open(&root, &vault_key()).await.expect("a vault");
        let listing = vault.list().await.expect("a listing");
        let time = start.elapsed();
        assert_eq!((listing.credentials.len(), listing.damaged.len()), (count, 0));
        time
    };
    table.case("opened, and all accounts listed", repeated(runtime.clone(), place.clone(), listed));
    let checked = move |root: PathBuf| async move {
        let start = Instant::now();
        let report = Check::new(&root).keys(&Keys::new(vault_key())).run().await.expect("a report");
        let time = start.elapsed();
        assert_eq!((report.opened, report.is_healthy()), (count, true));
        time
    };
    table.case("checked", repeated(runtime.clone(), place.clone(), checked));
    let opened = move |root: PathBuf| async move {
        let start = Instant::now();
        let vault = FileVault::open(&root, &vault_key()).await.expect("a vault");
        let pool = vault.load_pool(key()).await.expect("a pool");
        let time = start.elapsed();
        assert_eq!((pool.credentials.len(), pool.damaged.len()), (count, 0));
        time
    };
    table.case(LOADED, repeated(runtime, place, opened));
    table
}

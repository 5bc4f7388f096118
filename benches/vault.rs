//! What the encrypted vault costs beside what a user would write instead, all in one run.
//!
//! - *secret*: a secret of 1 KiB through the sealing layer over a vault in memory, beside AES-256-GCM alone.
//!   The layer also writes or reads JSON, binds the secret to its record, and keeps the record.
//! - *put*: a credential put durably into a [`FileVault`], beside a file of as many bytes written, synced,
//!   renamed, and its directory synced; and beside the same without that last sync, which most programs
//!   leave out, and which a power cut may undo.
//! - *cooldown*: an outcome recorded in an open vault of four accounts, as a task does it, in a runtime of
//!   one thread and in one of many; beside the lines that do the same by hand, both on the task's thread,
//!   which blocks it, and on one for blocking work, which takes the two changes of thread that no vault can
//!   avoid that leaves the runtime's threads alone.
//! - *request*: what a rotation takes longer because the cooldown is in the file before the second attempt.
//!   A request that is answered 429 first and 200 then goes through the four layers, over a vault in memory
//!   and over one in files.
//! - *open*: a vault of 10,000 records opened and its pool loaded, beside reading the same files and
//!   decrypting their secrets with the least that this takes; and the same vault listed, and checked. All of them
//!   are in the system's cache.
//! - *reseal*: a vault of 500 records sealed anew with another key, beside as many files replaced durably, one after
//!   another.
//! - *follow*: how soon a pool knows what another process has recorded, once it asks; beside the question
//!   alone, where nothing has changed.
//! - *get*: one credential read, beside its file read and decrypted.
//! - *killed*: how long a request goes on waiting for a lock whose holder was killed. The holder is this
//!   program again, in a process of its own.
//!
//! The cases of a table are measured in turn, in many rounds; the medians count. Files are on the disk that
//! the build is on, since others may keep the temporary directory in memory, where a sync is nothing.
//!
//! The last line is for scripts: what opening takes divided by its bare counterpart, the same for a put
//! (the one whose directory is synced), and a recorded cooldown in microseconds, in the runtime of many
//! threads. Aims: 1.5 for opening, 50 µs for a cooldown, 10 ms for a killed holder.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use criterion::{Criterion, SamplingMode};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{spawn, spawn_blocking};
use tower::{Layer, Service};
use tower_credentials::standing::{Change, Cooldown, Outcome, Reason};
use tower_credentials::vault::file::{Check, FileVault};
use tower_credentials::vault::key::{Keys, VaultKey};
use tower_credentials::vault::seal::{Seal, SealLayer, Sealed, VaultId};
use tower_credentials::vault::{MemoryVault, VaultExt, VaultRequest, VaultResponse};
use tower_credentials::{
    Credential, CredentialId, Metadata, OAuthTokens, Pool, Record, Secret, Timestamp,
};

mod support;

use support::{Stack, Upstream, accounts_in, at_once, four_layers, key, send, template};

const KEY: [u8; 32] = [7; 32];

fn vault_key() -> VaultKey {
    VaultKey::from_bytes(KEY)
}

fn aes() -> Aes256Gcm {
    Aes256Gcm::new(&KEY.into())
}

/// A way to do something: how long it takes to do it so many times.
struct Case {
    name: &'static str,
    /// Which case it is compared with, by index.
    base: usize,
    run: Box<dyn FnMut(u64) -> Duration>,
}

/// Cases that are measured in turn.
struct Table {
    name: &'static str,
    rounds: usize,
    per_round: u64,
    cases: Vec<Case>,
}

impl Table {
    fn new(name: &'static str, rounds: usize, per_round: u64) -> Self {
        Self { name, rounds, per_round, cases: Vec::new() }
    }

    /// A case with which those that follow are compared.
    fn beside(&mut self, name: &'static str, run: impl FnMut(u64) -> Duration + 'static) {
        let base = self.cases.len();
        self.cases.push(Case { name, base, run: Box::new(run) });
    }

    fn case(&mut self, name: &'static str, run: impl FnMut(u64) -> Duration + 'static) {
        let base = self.cases.last().map_or(0, |last| last.base);
        self.cases.push(Case { name, base, run: Box::new(run) });
    }

    /// Measures and prints; answers the medians in microseconds.
    fn measure(&mut self, measures: bool) -> BTreeMap<&'static str, f64> {
        let (rounds, per_round) = if measures { (self.rounds, self.per_round) } else { (1, 3) };
        let mut times = vec![Vec::with_capacity(rounds); self.cases.len()];
        for round in 0..rounds {
            for place in 0..self.cases.len() {
                // Each round begins with another one, and every other one goes backwards, so that none
                // always follows the same: a sync also writes what those before it have left.
                let forwards = (place + round / 2) % self.cases.len();
                let index = if round % 2 == 0 { forwards } else { self.cases.len() - 1 - forwards };
                let time = (self.cases[index].run)(per_round);
                times[index].push(time.as_secs_f64() * 1e6 / per_round as f64);
            }
        }
        times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
        println!("\n{:<52} {:>9} {:>19} {:>7}", self.name, "µs", "half of rounds", "ratio");
        for (case, sorted) in self.cases.iter().zip(&times) {
            let quartiles = format!("{:.1}–{:.1}", sorted[rounds / 4], sorted[rounds * 3 / 4]);
            let median = sorted[rounds / 2];
            let ratio = median / times[case.base][rounds / 2];
            println!("{:<52} {median:>9.1} {quartiles:>19} {ratio:>7.2}", case.name);
        }
        let medians = times.iter().map(|sorted| sorted[rounds / 2]);
        self.cases.iter().map(|case| case.name).zip(medians).collect()
    }
}

/// How long this takes as a task of the runtime, by the task's own clock.
fn task(runtime: &Runtime, work: impl Future<Output = Duration> + Send + 'static) -> Duration {
    runtime.block_on(async { spawn(work).await.expect("no panic") })
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The runtimes: one whose task shares its only thread with everything but file work, and one with many.
struct Runtimes {
    one: Rc<Runtime>,
    many: Rc<Runtime>,
}

impl Runtimes {
    fn new() -> Self {
        let runtime = |mut builder: Builder| Rc::new(builder.enable_all().build().expect("a runtime"));
        Self { one: runtime(Builder::new_current_thread()), many: runtime(Builder::new_multi_thread()) }
    }
}

/// A directory on the disk that the build is on, and a vault in it.
struct Place {
    directory: TempDir,
    vault: FileVault,
}

impl Place {
    fn new(runtime: &Runtime) -> Self {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let vault = open(runtime, &directory.path().join("vault"));
        Self { directory, vault }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("vault")
    }

    fn record(&self, id: CredentialId) -> PathBuf {
        self.root().join("records").join(format!("{id}.json"))
    }

    /// The ids of so many accounts, whose records are written at once: to put them, each with its own
    /// syncs, would take minutes.
    fn fill(&self, runtime: &Runtime, count: usize) -> Vec<CredentialId> {
        #[derive(Serialize)]
        struct Written {
            version: u32,
            metadata: Metadata,
            secret: Sealed,
        }
        let mut backend = MemoryVault::<Sealed>::new();
        let report = runtime.block_on(Check::new(self.root()).run()).expect("a report");
        let id = report.vault.expect("a vault with an id");
        let seal = SealLayer::new(&vault_key()).vault(id).layer(backend.clone());
        for number in 0..count {
            at_once(seal.put(account(number))).expect("a vault that stores");
        }
        let VaultResponse::Pool(pool) =
            at_once(backend.call(VaultRequest::Load(key()))).expect("a vault that loads")
        else {
            panic!("no pool");
        };
        let mut ids = Vec::new();
        for Record { metadata, secret } in pool.credentials {
            ids.push(metadata.id);
            let path = self.record(metadata.id);
            let written = Written { version: 1, metadata, secret };
            let bytes = serde_json::to_vec_pretty(&written).expect("a record in JSON");
            create(&path).write_all(&bytes).expect("a file that can be written");
        }
        // Makes the log name them, and then makes it as short as it gets.
        runtime.block_on(async {
            self.vault.load_pool(key()).await.expect("a pool");
            self.vault.record(key(), vec![cooled(ids[0])]).await.expect("a vault that records");
        });
        // Compacting comes after the response, and whoever takes the vault's lock comes after that.
        std::thread::sleep(Duration::from_millis(100));
        runtime.block_on(self.vault.load_pool(key())).expect("a pool");
        ids
    }
}

fn open(runtime: &Runtime, root: &Path) -> FileVault {
    runtime.block_on(FileVault::open(root, &vault_key())).expect("a vault")
}

/// As large as a subscription's record is.
fn account(number: usize) -> Credential {
    let token = |kind: &str| format!("{kind}-{number:06}-{}", "0123456789abcdef".repeat(6));
    let tokens = OAuthTokens::new(token("access")).refresh(token("refresh"));
    let secret = tokens.expires_at(Timestamp::from_millis(1_900_000_000_000));
    Credential::new(key(), format!("account {number}"), secret)
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// What a 429 teaches of an account.
fn cooled(id: CredentialId) -> Outcome {
    let (until, set_at) = (now().after(Duration::from_secs(60)), now());
    let cooldown =
        Cooldown { until, set_at, reason: Reason::Limited, scope: None, generation: None, cause: None };
    Outcome { id, change: Change::CooledDown { cooldown, failure: true, to_back: true } }
}

fn create(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path).expect("a new file")
}

/// Replaces a file by hand, as durably as is said.
fn replace(path: &Path, bytes: &[u8], syncs_file: bool, syncs_names: bool) {
    let temporary = path.with_extension("tmp");
    let mut file = create(&temporary);
    file.write_all(bytes).expect("a file that can be written");
    if syncs_file {
        file.sync_all().expect("a disk");
    }
    fs::rename(&temporary, path).expect("a file that can be renamed");
    if syncs_names {
        let directory = path.parent().expect("a directory");
        File::open(directory).and_then(|directory| directory.sync_all()).expect("a disk");
    }
}

/// What of a record's file is needed to decrypt its secret.
#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    metadata: Bound<'a>,
    #[serde(borrow)]
    secret: Encrypted<'a>,
}

#[derive(Deserialize)]
struct Bound<'a> {
    id: &'a str,
    #[serde(borrow)]
    pool: Names<'a>,
    kind: &'a str,
    generation: u64,
}

#[derive(Deserialize)]
struct Names<'a> {
    provider: &'a str,
    namespace: &'a str,
}

#[derive(Deserialize)]
struct Encrypted<'a> {
    version: u32,
    vault: &'a str,
    nonce: &'a str,
    ciphertext: &'a str,
}

/// Decrypts what is in a record's file by hand.
fn decrypt(aes: &Aes256Gcm, bytes: &[u8]) -> Secret {
    let Stored { metadata, secret } = serde_json::from_slice(bytes).expect("a record in JSON");
    let id: CredentialId = metadata.id.parse().expect("an id");
    let mut nonce = [0; 12];
    STANDARD.decode_slice(secret.nonce, &mut nonce).expect("a nonce");
    let mut buffer = STANDARD.decode(secret.ciphertext).expect("a ciphertext");
    let mut data = Vec::with_capacity(256);
    let mut bind = |field: &[u8]| {
        data.extend_from_slice(&(field.len() as u64).to_be_bytes());
        data.extend_from_slice(field);
    };
    bind(b"tower-credentials sealed secret");
    bind(&secret.version.to_be_bytes());
    bind(&secret.vault.parse::<VaultId>().expect("an id").to_bytes());
    bind(id.as_bytes());
    bind(metadata.pool.provider.as_bytes());
    bind(metadata.pool.namespace.as_bytes());
    bind(metadata.kind.as_bytes());
    bind(&metadata.generation.to_be_bytes());
    aes.decrypt_in_place(&Nonce::from(nonce), &data, &mut buffer).expect("a secret");
    serde_json::from_slice(&buffer).expect("a secret in JSON")
}

const ONE_KIB: usize = 1024;

fn secret() -> Table {
    let text = "x".repeat(ONE_KIB);
    let mut table = Table::new("secret of 1 KiB", 201, 100);
    table.beside("encrypted by AES-256-GCM", {
        let (aes, text) = (aes(), text.clone());
        move |times| {
            let mut nonce = [0; 12];
            timed(|| {
                for _ in 0..times {
                    getrandom::fill(&mut nonce).expect("random numbers");
                    let mut buffer = Vec::with_capacity(text.len() + 16);
                    buffer.extend_from_slice(text.as_bytes());
                    aes.encrypt_in_place(&Nonce::from(nonce), b"data", &mut buffer).expect("room");
                    black_box(buffer);
                }
            })
        }
    });
    table.case("put through Seal<MemoryVault>", {
        let text = text.clone();
        move |times| {
            let vault = Seal::new(MemoryVault::<Sealed>::new(), &vault_key());
            let new = |number| Credential::new(key(), format!("{number}"), Secret::api_key(&*text));
            let credentials: Vec<_> = (0..times).map(new).collect();
            timed(|| {
                for credential in credentials {
                    at_once(vault.put(credential)).expect("a vault that stores");
                }
            })
        }
    });
    table.beside("decrypted by AES-256-GCM", {
        let (aes, nonce, mut buffer) = (aes(), [1; 12], text.clone().into_bytes());
        aes.encrypt_in_place(&Nonce::from(nonce), b"data", &mut buffer).expect("room");
        move |times| {
            timed(|| {
                for _ in 0..times {
                    let mut buffer = buffer.clone();
                    aes.decrypt_in_place(&Nonce::from(nonce), b"data", &mut buffer).expect("a text");
                    black_box(buffer);
                }
            })
        }
    });
    let vault = Seal::new(MemoryVault::<Sealed>::new(), &vault_key());
    let stored = at_once(vault.put(Credential::new(key(), "account", Secret::api_key(text))));
    let id = stored.expect("a vault that stores").id;
    table.case("get through Seal<MemoryVault>", move |times| {
        timed(|| {
            for _ in 0..times {
                black_box(at_once(vault.get(id)).expect("a credential"));
            }
        })
    });
    table
}

const PUT: &str = "put";
const PUT_BARE: &str = "write, fsync, rename, fsync the directory";

fn put(runtimes: &Runtimes) -> Table {
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
    table.beside(PUT_BARE, {
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

const COOLDOWN: &str = "recorded, many threads";

/// Replaces the pool's file, and keeps nothing else.
fn rename_by_hand(path: &Path, bytes: &[u8]) {
    replace(path, bytes, false, false);
}

/// Appends a line to a log that is kept open, under a lock.
fn append_by_hand(mut log: &File, line: &[u8]) {
    log.lock().expect("a lock");
    log.write_all(line).expect("a file that can be written");
    log.unlock().expect("a lock");
}

fn cooldown(runtimes: &Runtimes) -> Table {
    let mut table = Table::new("cooldown of one of four accounts", 301, 20);
    let place = Rc::new(Place::new(&runtimes.many));
    let pool = place.root().join("pools/example+default.log");
    let ids = place.fill(&runtimes.many, 4);
    let snapshot = Rc::new(fs::read(&pool).expect("a log"));
    let line = serde_json::to_vec(&cooled(ids[0])).expect("an outcome in JSON");
    let bare = place.directory.path().join("bare");
    let log = || OpenOptions::new().append(true).create(true).open(bare.with_extension("log"));
    let log = Arc::new(log().expect("a log"));

    table.beside("temporary file and rename, in place", {
        let (snapshot, bare) = (snapshot.clone(), bare.clone());
        move |times| timed(|| (0..times).for_each(|_| rename_by_hand(&bare, &snapshot)))
    });
    table.case("flock and append, in place", {
        let (log, line) = (log.clone(), line.clone());
        move |times| timed(|| (0..times).for_each(|_| append_by_hand(&log, &line)))
    });
    for (runtime, names) in [
        (
            &runtimes.one,
            [
                "temporary file and rename, spawn_blocking, one thread",
                "flock and append, spawn_blocking, one thread",
                "recorded, one thread",
            ],
        ),
        (
            &runtimes.many,
            [
                "temporary file and rename, spawn_blocking, many",
                "flock and append, spawn_blocking, many",
                COOLDOWN,
            ],
        ),
    ] {
        table.beside(names[0], {
            let (runtime, snapshot, bare) = (runtime.clone(), snapshot.to_vec(), bare.clone());
            move |times| {
                let (snapshot, bare) = (snapshot.clone(), bare.clone());
                blocking(&runtime, times, move || rename_by_hand(&bare, &snapshot))
            }
        });
        table.case(names[1], {
            let (runtime, log, line) = (runtime.clone(), log.clone(), line.clone());
            move |times| {
                let (log, line) = (log.clone(), line.clone());
                blocking(&runtime, times, move || append_by_hand(&log, &line))
            }
        });
        table.case(names[2], {
            let (runtime, place, ids) = (runtime.clone(), place.clone(), ids.clone());
            move |times| {
                let vault = place.vault.clone();
                let outcomes = (0..times as usize).map(|turn| vec![cooled(ids[turn % 4])]);
                let outcomes: Vec<_> = outcomes.collect();
                task(&runtime, async move {
                    let start = Instant::now();
                    for outcomes in outcomes {
                        vault.record(key(), outcomes).await.expect("a vault that records");
                    }
                    start.elapsed()
                })
            }
        });
    }
    table
}

/// How long it takes to do this so many times, each on a thread for blocking work.
fn blocking(runtime: &Runtime, times: u64, work: impl Fn() + Clone + Send + 'static) -> Duration {
    task(runtime, async move {
        let start = Instant::now();
        for _ in 0..times {
            spawn_blocking(work.clone()).await.expect("no panic");
        }
        start.elapsed()
    })
}

/// Requests that are answered 429 and then 200, each with an account that is as good as new.
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

const REQUESTS: [[&str; 2]; 2] = [
    ["over a vault in memory, one thread", "over a vault in files, one thread"],
    ["over a vault in memory, many threads", "over a vault in files, many threads"],
];

fn request(runtimes: &Runtimes) -> Table {
    let mut table = Table::new("request that rotates", 201, 12);
    for (runtime, names) in [&runtimes.one, &runtimes.many].into_iter().zip(REQUESTS) {
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

const RECORDS: usize = 10_000;
const OPEN: &str = "opened, and the pool loaded";
const OPEN_BARE: &str = "read and decrypted by hand";

/// Measures this so many times, in the directory of this vault.
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

fn opening(runtimes: &Runtimes) -> Table {
    let runtime = runtimes.many.clone();
    let place = Rc::new(Place::new(&runtime));
    let began = Instant::now();
    let count = place.fill(&runtime, RECORDS).len();
    println!("{count} records written: {:.1?}", began.elapsed());
    let mut table = Table::new("vault of 10,000 records", 21, 1);
    table.beside(OPEN_BARE, {
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
    table.case(OPEN, repeated(runtime, place, opened));
    table
}

/// As many records as make the waiting for the disk count, and don't take minutes one by one.
const RESEALED: usize = 500;

fn resealing(runtimes: &Runtimes) -> Table {
    let runtime = runtimes.many.clone();
    let place = Rc::new(Place::new(&runtime));
    let ids = place.fill(&runtime, RESEALED);
    let mut table = Table::new("500 records sealed anew", 7, 1);
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
    table.case("sealed anew with another key", move |times| {
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

fn follow(runtimes: &Runtimes) -> Table {
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

fn get(runtimes: &Runtimes) -> Table {
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
        let vault = place.vault.clone();
        task(&runtime, async move {
            let start = Instant::now();
            for _ in 0..times {
                black_box(vault.get(id).await.expect("a credential"));
            }
            start.elapsed()
        })
    });
    table
}

/// What tells a process that it is the one to be killed, and which file it is to lock.
const HOLDER: &str = "TOWER_CREDENTIALS_BENCH_HOLDER";

/// Locks the file, says so, and waits to be killed, or for the other process to be gone.
fn hold(path: &Path) {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let file = file.expect("a lock file");
    file.lock().expect("a lock");
    println!("locked");
    let _ = std::io::stdin().read(&mut [0]);
}

/// How long a request goes on waiting after the holder of the lock was killed, in milliseconds and in order.
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
        // At any point between two of its tries.
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

fn killed(runtimes: &Runtimes, rounds: u64) {
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
            vault.lease_refresh(id).await.expect("a lease");
        }
    });
    println!("\n{:<52} {:>9} {:>9}", "after the holder was killed", "ms", "at most");
    for (name, times) in
        [("the vault's lock, and the pool loaded", load), ("a refresh's lease", refresh)]
    {
        println!("{name:<52} {:>9.1} {:>9.1}", times[times.len() / 2], times[times.len() - 1]);
    }
}

fn main() {
    if let Some(path) = std::env::var_os(HOLDER) {
        return hold(Path::new(&path));
    }
    // As criterion has it: without `--bench` the benches are only tried out.
    let measures = std::env::args().any(|argument| argument == "--bench");
    let runtimes = Runtimes::new();
    let mut secret = secret();
    let mut put = put(&runtimes);
    let mut cooldown = cooldown(&runtimes);
    let mut request = request(&runtimes);
    let mut opening = opening(&runtimes);
    let mut resealing = resealing(&runtimes);
    let mut follow = follow(&runtimes);
    let mut get = get(&runtimes);

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
    killed(&runtimes, if measures { 60 } else { 1 });
    let request = request.measure(measures);
    for [memory, files] in REQUESTS {
        println!("{files}: {:.1} µs more", request[files] - request[memory]);
    }
    let put = put.measure(measures);
    let opening = opening.measure(measures);
    resealing.measure(measures);
    let cooldown = cooldown.measure(measures);
    println!(
        "\nvault ratio open={:.2} put={:.2} cooldown_us={:.1}",
        opening[OPEN] / opening[OPEN_BARE],
        put[PUT] / put[PUT_BARE],
        cooldown[COOLDOWN],
    );
}

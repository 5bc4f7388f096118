//! Many processes write to one vault, and are killed and replaced at random moments. What each was told that
//! it had written must be there in the end.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tower_credentials::standing::{Change, Health, Outcome};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{Replaced, VaultError, VaultExt};
use tower_credentials::{Credential, CredentialId, Generation, PoolKey, Secret};

use super::cooled;
use crate::children::{self, Child, say, setting};

const WRITERS: usize = 8;

/// How many credentials a writer has of its own, at most.
const OWN: usize = 6;

/// Few, so that they are taken over and over.
const LABELS: [&str; 3] = ["work", "home", "spare"];

fn pools() -> [PoolKey; 2] {
    [PoolKey::new("stress"), PoolKey::with_namespace("stress", "other")]
}

/// Random numbers that a seed repeats (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

/// A number from the environment, for longer runs than the usual one.
fn number(variable: &str, usually: u64) -> u64 {
    std::env::var(variable).map_or(usually, |value| value.parse().expect("a number"))
}

fn join(ids: &[CredentialId]) -> String {
    ids.iter().map(CredentialId::to_string).collect::<Vec<_>>().join(",")
}

fn split(ids: &str) -> Vec<CredentialId> {
    ids.split(',').map(|id| id.parse().unwrap()).collect()
}

/// A child: writes whatever comes to its mind, and says before each write what it is going to write and
/// after it that it was answered, until its parent hangs up.
pub(super) async fn writer() {
    let stop = Arc::new(AtomicBool::new(false));
    std::thread::spawn({
        let stop = stop.clone();
        move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            stop.store(true, Ordering::Relaxed);
        }
    });
    let vault = children::vault().await;
    say("ready");
    let mut writer = Writer {
        vault,
        random: Random(setting("SEED").unwrap().parse().unwrap()),
        shared: split(&setting("SHARED").unwrap()),
        counters: split(&setting("COUNTERS").unwrap()),
        own: Vec::new(),
        written: 0,
    };
    while !stop.load(Ordering::Relaxed) {
        writer.step().await;
    }
}

struct Writer {
    vault: FileVault,
    random: Random,
    shared: Vec<CredentialId>,
    counters: Vec<CredentialId>,
    own: Vec<CredentialId>,
    written: u64,
}

impl Writer {
    /// A secret that nobody else ever writes.
    fn secret(&mut self, id: CredentialId, generation: Generation) -> String {
        self.written += 1;
        format!("{id}/{generation}/{}/{}", std::process::id(), self.written)
    }

    async fn step(&mut self) {
        match self.random.below(20) {
            0..=2 if self.own.len() < OWN => self.put().await,
            3..=8 => {
                let all: Vec<_> = self.shared.iter().chain(&self.own).copied().collect();
                let id = *self.random.one_of(&all);
                self.swap(id).await;
            }
            9..=14 => self.fail().await,
            15 | 16 => self.relabel().await,
            17 => {
                let id = *self.random.one_of(&self.shared);
                say(format_args!("begin move {id}"));
                self.vault.move_to(id, self.random.below(9) as usize).await.unwrap();
                say(format_args!("done move {id}"));
            }
            18 if !self.own.is_empty() => {
                let at = self.random.below(self.own.len() as u64) as usize;
                let id = self.own.swap_remove(at);
                say(format_args!("begin remove {id}"));
                self.vault.remove(id).await.unwrap();
                say(format_args!("done remove {id}"));
            }
            19 => {
                let loaded = self.vault.load_pool(self.random.one_of(&pools()).clone()).await.unwrap();
                assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
            }
            _ => {}
        }
    }

    async fn put(&mut self) {
        let (pool, label) = (self.random.one_of(&pools()).clone(), *self.random.one_of(&LABELS));
        let mut account = Credential::new(pool, label, Secret::api_key(""));
        let id = account.metadata.id;
        let secret = self.secret(id, Generation::FIRST);
        account.secret = Secret::api_key(secret.clone());
        say(format_args!("begin put {id} {label} {secret}"));
        let stored = self.vault.put(account).await.unwrap();
        say(format_args!("done put {id} {}", stored.label));
        self.own.push(id);
    }

    async fn swap(&mut self, id: CredentialId) {
        let stored = self.vault.get(id).await.unwrap();
        let expected = stored.metadata.generation;
        // As it was sealed for exactly this generation of this credential.
        assert!(stored.secret.token().expose().starts_with(&format!("{id}/{expected}/")));
        let next = expected.next();
        let secret = self.secret(id, next);
        say(format_args!("begin swap {id} {next} {secret}"));
        let secret = Secret::api_key(secret);
        match self.vault.replace_secret(id, expected, secret).await.unwrap() {
            Replaced::Swapped(generation) => say(format_args!("done swap {id} {generation}")),
            Replaced::Conflict(stored) => {
                assert!(stored.metadata.generation > expected);
                say(format_args!("none swap {id}"));
            }
        }
    }

    async fn fail(&mut self) {
        let id = *self.random.one_of(&self.counters);
        let until = self.random.below(1 << 40);
        let cooldown = cooled(id, until, 1, self.random.below(8) == 0);
        // So long that the log is compacted many times.
        let reason = "x".repeat(self.random.below(4000) as usize);
        let health =
            Change::Health(Health::NeedsSignIn { reason, generation: Generation::FIRST, cause: None });
        let padding = Outcome { id, change: health };
        say(format_args!("begin fail {id} {until}"));
        self.vault.record(pools()[0].clone(), vec![padding, cooldown]).await.unwrap();
        say(format_args!("done fail {id}"));
    }

    async fn relabel(&mut self) {
        if self.own.is_empty() {
            return;
        }
        let id = *self.random.one_of(&self.own);
        let label = *self.random.one_of(&LABELS);
        say(format_args!("begin relabel {id} {label}"));
        match self.vault.relabel(id, label).await {
            Ok(_) => say(format_args!("done relabel {id}")),
            Err(VaultError::LabelTaken(_)) => say(format_args!("none relabel {id}")),
            Err(error) => panic!("{error}"),
        }
    }
}

/// What the writers have said of one credential.
#[derive(Default)]
struct Known {
    /// The secrets that were begun, by generation, and which of them were acknowledged.
    secrets: HashMap<u64, HashSet<String>>,
    acknowledged: HashMap<u64, String>,
    /// The label that was acknowledged last, and one that may have taken its place.
    label: String,
    next_label: Option<String>,
    is_put: bool,
    is_removed: bool,
    may_be_removed: bool,
    failures: [u32; 2],
    untils: [HashSet<u64>; 2],
}

const BEGUN: usize = 0;
const DONE: usize = 1;

/// What all writers have said.
#[derive(Default)]
struct Ledger {
    credentials: HashMap<CredentialId, Known>,
    writes: usize,
    in_flight: usize,
}

impl Ledger {
    /// Takes down what one writer has said, in order: of each write that it began, what it was and whether
    /// it was answered.
    fn take_down(&mut self, lines: &[String]) {
        let mut begun: Option<Vec<&str>> = None;
        for line in lines {
            let words: Vec<_> = line.split(' ').collect();
            match words[0] {
                "begin" => {
                    assert!(begun.is_none(), "one at a time: {lines:?}");
                    self.begin(&words[1..]);
                    begun = Some(words[1..].to_vec());
                }
                "done" => {
                    let begun = begun.take().expect("it was begun");
                    assert_eq!(begun[..2], words[1..3]);
                    self.done(&begun, words.get(3).copied());
                    self.writes += 1;
                }
                // Answered: nothing was written.
                "none" => {
                    let id = begun.take().expect("it was begun")[1].parse().unwrap();
                    self.credentials.entry(id).or_default().next_label = None;
                }
                _ => {}
            }
        }
        self.in_flight += usize::from(begun.is_some());
    }

    fn begin(&mut self, words: &[&str]) {
        let known = self.credentials.entry(words[1].parse().unwrap()).or_default();
        match words[0] {
            "put" => {
                known.secrets.entry(1).or_default().insert(words[3].to_owned());
                known.next_label = Some(words[2].to_owned());
            }
            "swap" => {
                let generation = words[2].parse().unwrap();
                known.secrets.entry(generation).or_default().insert(words[3].to_owned());
            }
            "fail" => {
                known.failures[BEGUN] += 1;
                known.untils[BEGUN].insert(words[2].parse().unwrap());
            }
            "relabel" => known.next_label = Some(words[2].to_owned()),
            "remove" => known.may_be_removed = true,
            _ => {}
        }
    }

    fn done(&mut self, begun: &[&str], answer: Option<&str>) {
        let known = self.credentials.entry(begun[1].parse().unwrap()).or_default();
        match begun[0] {
            "put" => {
                known.is_put = true;
                known.acknowledged.insert(1, begun[3].to_owned());
                known.next_label = None;
                known.label = answer.unwrap().to_owned();
            }
            "swap" => {
                let generation = answer.unwrap();
                assert_eq!(generation, begun[2]);
                let before = known.acknowledged.insert(generation.parse().unwrap(), begun[3].to_owned());
                assert_eq!(before, None, "two have replaced one generation");
            }
            "fail" => {
                known.failures[DONE] += 1;
                known.untils[DONE].insert(begun[2].parse().unwrap());
            }
            "relabel" => known.label = known.next_label.take().unwrap(),
            "remove" => known.is_removed = true,
            _ => {}
        }
    }

    /// That a credential as it is stored is as the writers have said, or may be.
    fn check(&self, stored: &Credential) {
        let id = stored.metadata.id;
        let known = self.credentials.get(&id).unwrap_or_else(|| panic!("nobody has put {id}"));
        assert!(!known.is_removed, "{id} was removed");
        let generation = stored.metadata.generation.get();
        let token = stored.secret.token().expose();
        let last = known.acknowledged.keys().max().copied().unwrap_or(1);
        assert!(generation >= last, "{id} is at {generation}, and {last} was acknowledged");
        match known.acknowledged.get(&generation) {
            Some(secret) => assert_eq!(token, secret),
            None => assert!(known.secrets[&generation].contains(token), "{token} was never begun"),
        }
        let label = &*stored.metadata.label;
        let may_be = match &known.next_label {
            // One that is put where its label is taken gets a number.
            Some(next) => label == next || (!known.is_put && label.starts_with(next.as_str())),
            None => false,
        };
        assert!(label == known.label || may_be, "{id} has the label {label}, not {}", known.label);
    }
}

fn start(root: &Path, key: &VaultKey, ids: &(String, String), random: &mut Random) -> Child {
    let seed = random.below(u64::MAX) | 1;
    let job = super::job("writer").vault(root, key).set("SEED", seed.to_string());
    job.set("SHARED", &ids.0).set("COUNTERS", &ids.1).start()
}

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost_while_writers_are_killed_and_replaced() {
    let seconds = Duration::from_secs(number("TOWER_CREDENTIALS_STRESS_SECONDS", 3));
    let kills = number("TOWER_CREDENTIALS_STRESS_KILLS", 40) as u32;
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).unwrap();
    let seed = number("TOWER_CREDENTIALS_STRESS_SEED", u64::from_ne_bytes(seed)) | 1;
    // Shown where the test fails.
    println!("TOWER_CREDENTIALS_STRESS_SEED={seed}");
    let mut random = Random(seed);

    let (place, key) = (TempDir::new().unwrap(), VaultKey::generate());
    let root = place.path().join("vault");
    let vault = FileVault::open(&root, &key).await.unwrap();
    let mut ledger = Ledger::default();
    let (mut shared, mut counters) = (Vec::new(), Vec::new());
    for number in 0..6 {
        let ids = if number < 4 { &mut shared } else { &mut counters };
        let pool = &pools()[if number < 4 { number % 2 } else { 0 }];
        let mut account = Credential::new(pool.clone(), format!("s{number}"), Secret::api_key(""));
        let id = account.metadata.id;
        let secret = format!("{id}/1/parent/{number}");
        account.secret = Secret::api_key(secret.clone());
        vault.put(account).await.unwrap();
        ids.push(id);
        let said = [format!("begin put {id} s{number} {secret}"), format!("done put {id} s{number}")];
        ledger.take_down(&said);
    }
    drop(vault);
    ledger.writes = 0;

    let ids = (join(&shared), join(&counters));
    let mut writers: Vec<_> = (0..WRITERS).map(|_| start(&root, &key, &ids, &mut random)).collect();
    let mut killed = Vec::new();
    for writer in &mut writers {
        writer.wait_for("ready");
    }
    let begin = Instant::now();
    let mut most_temporary = 0;
    for number in 1..=kills {
        let at = random.below(WRITERS as u64) as usize;
        // At any moment of any write, also of opening.
        for _ in 0..random.below(30) {
            listen(&mut writers[at]);
        }
        spin(Duration::from_micros(random.below(3000)));
        writers[at].kill();
        killed.push(std::mem::replace(&mut writers[at], start(&root, &key, &ids, &mut random)));
        let temporary = children::temporary_files(&root).len();
        assert!(temporary <= WRITERS, "{temporary} temporary files have piled up");
        most_temporary = most_temporary.max(temporary);
        while begin.elapsed() < seconds * number / kills {
            let other = random.below(WRITERS as u64) as usize;
            listen(&mut writers[other]);
        }
    }
    for writer in &mut writers {
        writer.hang_up();
    }
    for writer in writers {
        ledger.take_down(&writer.succeed());
    }
    for writer in killed {
        let (lines, status) = writer.end();
        assert_eq!(status.signal(), Some(9), "it had failed before it was killed: {status}");
        ledger.take_down(&lines);
    }
    println!(
        "{} writes acknowledged, {} in flight at {kills} kills, at most {most_temporary} temporary files",
        ledger.writes, ledger.in_flight
    );
    assert!(ledger.writes > WRITERS, "they have written");
    everything_is_there(&root, &key, &ledger, &counters).await;
}

/// Waits for a writer's next line, which also shows that it has not failed.
fn listen(writer: &mut Child) {
    assert!(writer.next().is_some(), "a writer has ended by itself; see what it said on stderr");
}

/// Lets a moment pass that no event marks.
fn spin(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        std::thread::yield_now();
    }
}

async fn everything_is_there(root: &Path, key: &VaultKey, ledger: &Ledger, counters: &[CredentialId]) {
    // No lock stays behind: whoever comes next gets each at once.
    let vault = FileVault::builder(root).lock_timeout(Duration::from_millis(50));
    let vault = vault.lease_timeout(Duration::from_millis(50)).open(key).await.unwrap();
    assert_eq!(children::temporary_files(root), Vec::<std::path::PathBuf>::new());
    let mut found = HashSet::new();
    for pool in pools() {
        let loaded = vault.load_pool(pool.clone()).await.unwrap();
        assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
        for stored in &loaded.credentials {
            ledger.check(stored);
            assert!(found.insert(stored.metadata.id));
            drop(vault.lease_refresh(stored.metadata.id).await.unwrap());
        }
        let unique = |all: &mut dyn Iterator<Item = String>| {
            let mut seen = HashSet::new();
            let twice: Vec<_> = all.filter(|item| !seen.insert(item.clone())).collect();
            assert!(twice.is_empty(), "twice in {pool}: {twice:?}");
        };
        let text = |item: &dyn Display| item.to_string();
        unique(&mut loaded.credentials.iter().map(|stored| text(&stored.metadata.label)));
        unique(&mut loaded.standings.order.iter().map(|id| text(id)));
        assert_eq!(loaded.standings.order.len(), loaded.credentials.len(), "each has one place");
        for id in counters.iter().filter(|_| pool == pools()[0]) {
            let (standing, known) = (&loaded.standings.credentials[id], &ledger.credentials[id]);
            let [most, least] = known.failures;
            let failures = standing.failures;
            assert!((least..=most).contains(&failures), "{failures} of {least} to {most} failures");
            let until = standing.cooldown(None).map_or(0, |cooldown| cooldown.until.as_millis());
            assert!(until >= known.untils[DONE].iter().max().copied().unwrap_or(0));
            assert!(until == 0 || known.untils[BEGUN].contains(&until));
        }
    }
    for (id, known) in &ledger.credentials {
        let must_be = known.is_put && !known.may_be_removed;
        assert!(!must_be || found.contains(id), "{id} was put, and is lost");
    }
    // Whoever comes next can write, too.
    let stored = vault.put(Credential::new(pools()[0].clone(), "last", Secret::api_key("k"))).await;
    vault.remove(stored.unwrap().id).await.unwrap();
}

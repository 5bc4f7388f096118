//! A process that is killed at any system call leaves a vault that is as before its change or as after it.
//!
//! strace kills the child when it enters the system call, so everything before that call is done, and nothing
//! of it. First the child runs once to the end, which shows the calls that it makes; then once for each of them.
//!
//! Where strace is missing, nothing is tested, and that is printed; where the tests are to be
//! thorough it is an error. Otherwise they try one in four of the calls, of each sort.

#![cfg(all(target_os = "linux", feature = "file"))]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tower_credentials::standing::{Change, Cooldown, Health, Outcome, Reason};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{StoredPool, VaultExt};
use tower_credentials::{Credential, CredentialId, Generation, PoolKey, Secret, Timestamp};

use crate::children::{self, Job, say, setting};
use crate::thorough::is_thorough;

/// The calls that change files, and those between them. Not every machine has all; `?` passes over those.
const CALLS: &str = "?open,openat,read,write,?pwrite64,fsync,fdatasync,?rename,?renameat,renameat2,?link,linkat,\
                     ?unlink,unlinkat,ftruncate,flock,?chmod,fchmod,fchmodat,?mkdir,mkdirat,statx,\
                     ?newfstatat,?stat,?lstat,?fstat,lseek,close,?getdents,getdents64";

/// What the child looks at, and nobody else, when its change begins.
const MARKER: &str = "/tower-credentials-begin";

/// A log is compacted when it is longer, in bytes; see `src/vault/file/pool.rs`.
const COMPACTED_FROM: u64 = 64 * 1024;

/// How many calls of each sort the thread makes before. strace counts each thread's calls by itself, so the
/// other threads must never get as far.
const AHEAD: usize = 150;

/// From how many calls on not each that only looks is tried: it is as the one before.
const MANY: usize = 100;

const LOOKS: [&str; 10] = [
    "read",
    "statx",
    "newfstatat",
    "stat",
    "lstat",
    "fstat",
    "lseek",
    "close",
    "getdents",
    "getdents64",
];

const KEPT: [&str; 3] = ["a", "b", "c"];

fn pool() -> PoolKey {
    PoolKey::new("example")
}

fn account(label: &str, secret: &str) -> Credential {
    Credential::new(pool(), label, Secret::api_key(secret))
}

fn failed(id: CredentialId) -> Outcome {
    let cooldown = Cooldown {
        until: Timestamp::from_millis(5_000),
        set_at: Timestamp::from_millis(1),
        reason: Reason::Limited,
        scope: None,
        generation: None,
        cause: None,
    };
    Outcome { id, change: Change::CooledDown { cooldown, failure: true, to_back: false } }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    FirstRun,
    Put,
    Swap,
    Outcome,
    Compaction,
    Relabel,
    Move,
    Remove,
    Reseal,
}

const DEEDS: [Deed; 9] = [
    Deed::FirstRun,
    Deed::Put,
    Deed::Swap,
    Deed::Outcome,
    Deed::Compaction,
    Deed::Relabel,
    Deed::Move,
    Deed::Remove,
    Deed::Reseal,
];

#[test]
fn a_child_does_its_job() {
    let Some(job) = children::job() else { return };
    let deed = DEEDS.into_iter().find(|deed| format!("{deed:?}") == job).expect("a deed");
    // One thread does all that concerns files, so its calls come in one order.
    children::on_two_threads(async {
        spawn_blocking(get_ahead).await.unwrap();
        do_it(deed).await;
        say("answered");
        // What was left for later was queued before this.
        spawn_blocking(|| ()).await.unwrap();
    });
}

/// Makes calls, so that this thread is ahead of all others with each of those that others make, too.
fn get_ahead() {
    use std::io::{Read, Seek};
    for _ in 0..AHEAD {
        let mut null = fs::File::options().read(true).write(true).open("/dev/null").unwrap();
        null.metadata().unwrap();
        null.write_all(b"-").unwrap();
        null.rewind().unwrap();
        assert_eq!(null.read(&mut [0]).unwrap(), 0);
        assert!(fs::read_dir(children::path("PLACE")).unwrap().all(|entry| entry.is_ok()));
    }
}

async fn begin() {
    spawn_blocking(|| drop(fs::metadata(MARKER))).await.unwrap();
}

async fn do_it(deed: Deed) {
    let place = children::path("PLACE");
    let root = place.join("vault");
    match deed {
        Deed::FirstRun => {
            begin().await;
            let key = VaultKey::load_or_create(place.join("keys/vault.key")).await.unwrap();
            let vault = FileVault::open(root, &key).await.unwrap();
            vault.put(account("first", "secret")).await.unwrap();
            return;
        }
        Deed::Reseal => {
            begin().await;
            let vault = FileVault::builder(root).old_key(&children::key("KEY"));
            let vault = vault.open(&children::key("NEW")).await.unwrap();
            assert_eq!(vault.reseal(|_| {}).await.unwrap().left, 0);
            return;
        }
        _ => {}
    }
    let vault = FileVault::open(root, &children::key("KEY")).await.unwrap();
    let id: CredentialId = setting("ID").unwrap().parse().unwrap();
    begin().await;
    match deed {
        Deed::Put => drop(vault.put(account("a", "secret of a-2")).await.unwrap()),
        Deed::Swap => {
            let secret = Secret::api_key("swapped");
            drop(vault.replace_secret(id, Generation::FIRST, secret).await.unwrap());
        }
        Deed::Outcome | Deed::Compaction => drop(vault.record(pool(), vec![failed(id)]).await.unwrap()),
        Deed::Relabel => drop(vault.relabel(id, "z").await.unwrap()),
        Deed::Move => vault.move_to(id, 0).await.unwrap(),
        Deed::Remove => vault.remove(id).await.unwrap(),
        Deed::FirstRun | Deed::Reseal => unreachable!(),
    }
}

/// What is there before a deed.
struct Before {
    deed: Deed,
    template: TempDir,
    key: VaultKey,
    new_key: VaultKey,
    /// Whom the deed is done to: the last.
    id: CredentialId,
    records: Records,
}

/// Label, generation and secret of each credential.
type Records = BTreeMap<CredentialId, (String, u64, String)>;

fn records(loaded: &StoredPool) -> Records {
    let record = |stored: &Credential| {
        let label = stored.metadata.label.to_string();
        let secret = stored.secret.token().expose().to_owned();
        (stored.metadata.id, (label, stored.metadata.generation.get(), secret))
    };
    loaded.credentials.iter().map(record).collect()
}

impl Before {
    async fn prepare(deed: Deed) -> Self {
        let template = TempDir::new().unwrap();
        let (key, new_key) = (VaultKey::generate(), VaultKey::generate());
        let mut before = Self {
            deed,
            template,
            key,
            new_key,
            id: CredentialId::from_bytes([0; 16]),
            records: Records::new(),
        };
        if deed == Deed::FirstRun {
            return before;
        }
        let root = before.template.path().join("vault");
        let vault = FileVault::open(&root, &before.key).await.unwrap();
        for label in KEPT {
            let secret = format!("secret of {label}");
            before.id = vault.put(account(label, &secret)).await.unwrap().id;
        }
        let id = before.id;
        vault.record(pool(), vec![failed(id)]).await.unwrap();
        if deed == Deed::Compaction {
            // One more outcome makes the log too long.
            let log = root.join("pools/example+default.log");
            let limit = COMPACTED_FROM - 100;
            loop {
                let room = limit.saturating_sub(fs::metadata(&log).unwrap().len());
                if room < 400 {
                    break;
                }
                let reason = "x".repeat((room as usize - 300).min(4000));
                let health = Health::NeedsSignIn { reason, generation: Generation::FIRST, cause: None };
                let outcome = Outcome { id, change: Change::Health(health) };
                vault.record(pool(), vec![outcome]).await.unwrap();
            }
            while fs::metadata(&log).unwrap().len() < limit {
                let outcome = Outcome { id, change: Change::Health(Health::Good) };
                vault.record(pool(), vec![outcome]).await.unwrap();
            }
            assert!(fs::metadata(&log).unwrap().len() <= COMPACTED_FROM);
        }
        before.records = records(&vault.load_pool(pool()).await.unwrap());
        before
    }

    /// What of the deed is done, by what is there now; all else must be as before.
    async fn check(&self, place: &Path, is_answered: bool) -> Result<(), String> {
        let root = place.join("vault");
        let key = match self.deed {
            Deed::FirstRun => VaultKey::load_or_create(place.join("keys/vault.key")).await.unwrap(),
            Deed::Reseal => self.new_key.clone(),
            _ => self.key.clone(),
        };
        let builder = match self.deed {
            Deed::Reseal => FileVault::builder(&root).old_key(&self.key),
            _ => FileVault::builder(&root),
        };
        // Whoever comes next finds no lock held.
        let impatient = builder.clone().lock_timeout(Duration::from_millis(50));
        impatient.open(&key).await.map_err(|error| error.to_string())?;
        let vault = builder.open(&key).await.map_err(|error| error.to_string())?;
        let expect = |is_so: bool, what: &str| if is_so { Ok(()) } else { Err(what.to_owned()) };
        expect(children::temporary_files(&root).is_empty(), "a temporary file is left")?;

        // Before a pool is loaded, which mends what it finds: the labels that the deed is about, twice.
        let labels: &[&str] = match self.deed {
            Deed::Put => &["a-2", "a-2", "a-2"],
            Deed::Relabel => &["c", "z", "z", "c"],
            Deed::Remove => &["c", "c"],
            _ => &[],
        };
        let mut probes = BTreeSet::new();
        for label in labels {
            probes
                .insert(vault.put(account(label, "probe")).await.map_err(|error| error.to_string())?.id);
        }
        let loaded = vault.load_pool(pool()).await.map_err(|error| error.to_string())?;
        expect(loaded.damaged.is_empty(), &format!("damaged: {:?}", loaded.damaged))?;
        let mut now = records(&loaded);
        let labels: BTreeSet<_> = now.values().map(|(label, ..)| label).collect();
        expect(labels.len() == now.len(), &format!("one label for two: {now:?}"))?;
        let order: BTreeSet<_> = loaded.standings.order.iter().collect();
        expect(order == now.keys().collect(), "the order names each once")?;
        now.retain(|id, _| !probes.contains(id));

        let failures =
            loaded.standings.credentials.get(&self.id).map_or(0, |standing| standing.failures);
        let is_first = loaded.standings.order.first() == Some(&self.id);
        let mut after = self.records.clone();
        match self.deed {
            Deed::FirstRun | Deed::Put => {
                let label = if self.deed == Deed::Put { "a-2" } else { "first" };
                let is_new = |id: &&CredentialId| !self.records.contains_key(*id);
                if let Some(id) = now.keys().find(is_new) {
                    let secret = if self.deed == Deed::Put { "secret of a-2" } else { "secret" };
                    after.insert(*id, (label.to_owned(), 1, secret.to_owned()));
                }
                expect(!is_answered || after.len() > self.records.len(), "it was put and is lost")?;
            }
            Deed::Swap => after.get_mut(&self.id).unwrap().1 = 2,
            Deed::Relabel => after.get_mut(&self.id).unwrap().0 = "z".to_owned(),
            Deed::Remove => drop(after.remove(&self.id)),
            Deed::Outcome | Deed::Compaction | Deed::Move | Deed::Reseal => {}
        }
        if self.deed == Deed::Swap {
            after.get_mut(&self.id).unwrap().2 = "swapped".to_owned();
        }
        let is_as_before = now == self.records && failures == u32::from(self.deed != Deed::FirstRun);
        let is_done = match self.deed {
            Deed::Outcome | Deed::Compaction => now == after && failures == 2,
            Deed::Move => now == after && failures == 1 && is_first,
            Deed::Remove => now == after && failures == 0,
            _ => now == after && failures == u32::from(self.deed != Deed::FirstRun),
        };
        expect(is_done || is_as_before && !is_answered, &format!("{failures} failures, {now:?}"))?;

        for path in children::all_below(&root) {
            let metadata = fs::metadata(&path).unwrap();
            let meant = if metadata.is_dir() { 0o700 } else { 0o600 };
            let mode = metadata.permissions().mode() & 0o777;
            expect(mode == meant, &format!("{} has mode {mode:o}", path.display()))?;
        }
        self.go_on(&vault, failures).await
    }

    /// What is left of the deed can be done, and anything else.
    async fn go_on(&self, vault: &FileVault, failures: u32) -> Result<(), String> {
        let expect = |is_so: bool, what: &str| if is_so { Ok(()) } else { Err(what.to_owned()) };
        if self.deed == Deed::Reseal {
            let resealing = vault.reseal(|_| {}).await.map_err(|error| error.to_string())?;
            expect(resealing.left == 0, &format!("{resealing:?}"))?;
            let new_alone = FileVault::open(vault.directory(), &self.new_key).await.unwrap();
            let loaded = new_alone.load_pool(pool()).await.unwrap();
            expect(records(&loaded) == self.records, "sealed anew, all opens")?;
        }
        let id = vault.put(account("more", "more")).await.map_err(|error| error.to_string())?.id;
        vault
            .record(pool(), vec![failed(id), failed(self.id)])
            .await
            .map_err(|error| error.to_string())?;
        let loaded = vault.load_pool(pool()).await.map_err(|error| error.to_string())?;
        let standing = |id| loaded.standings.credentials.get(id).map_or(0, |standing| standing.failures);
        let is_there = loaded.standings.order.contains(&self.id);
        expect(standing(&id) == 1, "an outcome counts")?;
        expect(!is_there || standing(&self.id) == failures + 1, "an outcome is added to those before")
    }

    fn job(&self, place: &Path) -> Job {
        let job = Job::new(module_path!(), &format!("{:?}", self.deed))
            .key("KEY", &self.key)
            .key("NEW", &self.new_key);
        job.set("PLACE", place).set("ID", self.id.to_string())
    }

    /// A place of its own for a run, with all as before.
    fn copy(&self) -> TempDir {
        let place = TempDir::new().unwrap();
        for path in children::all_below(self.template.path()).into_iter().skip(1) {
            let to = place.path().join(path.strip_prefix(self.template.path()).unwrap());
            if path.is_dir() {
                fs::create_dir(&to).unwrap();
                fs::set_permissions(&to, fs::Permissions::from_mode(0o700)).unwrap();
            } else {
                fs::copy(&path, &to).unwrap();
            }
        }
        place
    }

    /// The calls that the deed makes, each with its number among those of its sort.
    fn calls(&self) -> Vec<(String, usize)> {
        let place = self.copy();
        let log = place.path().join("strace.log");
        let under = strace(&log).into_iter().chain([format!("--trace={CALLS}")]);
        let heard = self.job(place.path()).under(under).start().succeed();
        assert_eq!(heard, ["answered"]);
        if self.deed == Deed::Compaction {
            let log = place.path().join("vault/pools/example+default.log");
            assert!(fs::metadata(log).unwrap().len() < COMPACTED_FROM / 2, "it was compacted");
        }
        let log = fs::read_to_string(log).unwrap();
        let marker = log.lines().find(|line| line.contains(MARKER)).expect("it has begun");
        let thread = marker.split(' ').next().unwrap();
        let (mut counts, mut others) = (HashMap::<_, usize>::new(), HashMap::<_, usize>::new());
        let mut calls = Vec::new();
        let mut has_begun = false;
        for line in log.lines() {
            let Some((of, call)) = line.split_once(' ') else { continue };
            // Not the second half of a call that another thread's came into.
            let Some((call, _)) = call.trim().split_once('(').filter(|(call, _)| !call.starts_with('<'))
            else {
                continue;
            };
            if of != thread {
                *others.entry((of, call)).or_default() += 1;
                continue;
            }
            let count = counts.entry(call).or_default();
            *count += 1;
            if has_begun {
                calls.push((call.to_owned(), *count));
            }
            has_begun |= line.contains(MARKER);
        }
        for (call, number) in &calls {
            let most =
                others.iter().filter(|((_, other), _)| other == call).map(|(_, count)| *count).max();
            assert!(most.unwrap_or(0) < *number, "another thread may come first to {number} of {call}");
        }
        calls
    }

    /// Runs it with a kill at this call. Whether it was killed, and what is wrong then.
    fn kill_at(&self, call: &str, number: usize) -> (bool, Result<(), String>) {
        let place = self.copy();
        let inject = format!("--inject={call}:signal=KILL:when={number}");
        let under =
            strace(Path::new("/dev/null")).into_iter().chain([format!("--trace={call}"), inject]);
        let (heard, status) = self.job(place.path()).under(under).start().end();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let is_answered = heard.iter().any(|line| line == "answered");
        (!status.success(), runtime.block_on(self.check(place.path(), is_answered)))
    }
}

fn strace(log: &Path) -> Vec<String> {
    let log = log.display().to_string();
    ["strace", "--follow-forks", "--quiet=all", "-o", &log].map(str::to_owned).to_vec()
}

/// Whether strace can be used; where it should be and can't, that is an error.
fn has_strace() -> bool {
    let mut command = Command::new("strace");
    command.args(&strace(Path::new("/dev/null"))[1..]).args(["--trace=close", "true"]);
    let works = command.stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    assert!(works || !is_thorough(), "the tests are to be thorough, and strace does not work");
    if !works {
        // Not by a macro: what a test that passes prints so, nobody sees.
        let _ = std::io::stderr().write_all(
            b"NOT RUN: no process was killed at its system calls; strace isn't installed, or can't trace\n",
        );
    }
    works
}

fn survives_a_kill_at_any_call(deeds: &[Deed]) {
    if !has_strace() {
        return;
    }
    for deed in deeds {
        let begin = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let before = runtime.block_on(Before::prepare(*deed));
        let mut calls = before.calls();
        if calls.len() > MANY {
            let mut looks = 0..;
            calls.retain(|(call, _)| !LOOKS.contains(&&**call) || looks.next().unwrap() % 3 == 0);
        }
        if !is_thorough() {
            let mut of_each = HashMap::<_, usize>::new();
            calls.retain(|(call, _)| {
                let number = of_each.entry(call.clone()).or_default();
                *number += 1;
                *number % 4 == 1
            });
        }
        let (next, kills) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let wrong = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Some((call, number)) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let (is_killed, checked) = before.kill_at(call, *number);
                        kills.fetch_add(usize::from(is_killed), Ordering::Relaxed);
                        if let Err(reason) = checked {
                            let at = calls.iter().position(|known| known == &(call.clone(), *number));
                            let at = at.unwrap_or_default();
                            wrong.lock().unwrap().push(format!("call {at}, {call} {number}: {reason}"));
                        }
                    }
                });
            }
        });
        let kills = kills.into_inner();
        println!("{deed:?}: {kills} kills at {} calls, in {:?}", calls.len(), begin.elapsed());
        let wrong = wrong.into_inner().unwrap();
        assert!(wrong.is_empty(), "{deed:?}: {}", wrong.join("\n"));
        assert!(kills > 5 && kills * 10 >= calls.len() * 9, "{kills} kills at {} calls", calls.len());
    }
}

#[test]
fn a_put_that_is_killed_at_any_call_is_done_or_not() {
    survives_a_kill_at_any_call(&[Deed::Put]);
}

#[test]
fn a_swap_that_is_killed_at_any_call_is_done_or_not() {
    survives_a_kill_at_any_call(&[Deed::Swap]);
}

#[test]
fn an_outcome_that_is_killed_at_any_call_is_counted_or_not() {
    survives_a_kill_at_any_call(&[Deed::Outcome]);
}

#[test]
fn a_log_whose_compaction_is_killed_at_any_call_is_whole() {
    survives_a_kill_at_any_call(&[Deed::Compaction]);
}

#[test]
fn a_new_label_whose_storing_is_killed_at_any_call_is_nobody_elses() {
    survives_a_kill_at_any_call(&[Deed::Relabel]);
}

#[test]
fn a_move_or_a_removal_that_is_killed_at_any_call_is_done_or_not() {
    survives_a_kill_at_any_call(&[Deed::Move, Deed::Remove]);
}

#[test]
fn a_resealing_that_is_killed_at_any_call_is_resumed() {
    survives_a_kill_at_any_call(&[Deed::Reseal]);
}

#[test]
fn a_first_run_that_is_killed_at_any_call_is_begun_again() {
    survives_a_kill_at_any_call(&[Deed::FirstRun]);
}

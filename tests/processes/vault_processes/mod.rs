//! One vault, many processes: real ones, that are really killed.
//!
//! `TOWER_CREDENTIALS_STRESS_SECONDS` and `TOWER_CREDENTIALS_STRESS_KILLS` make the test of many writers
//! longer; the seed that it prints repeats its choices as `TOWER_CREDENTIALS_STRESS_SEED`.

#![cfg(all(unix, feature = "file"))]

mod stress;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::{Change, Cooldown, Outcome, Reason};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{Replaced, Vault, VaultError, VaultExt};
use tower_credentials::{Credential, CredentialId, Generation, Pool, PoolKey, Secret, Timestamp};

use crate::children::{self, Child, Job, eventually, hear, say, setting};
use crate::place::Place;

fn pool() -> PoolKey {
    PoolKey::new("example")
}

fn account(label: &str) -> Credential {
    Credential::new(pool(), label, Secret::api_key(format!("secret of {label}")))
}

fn cooled(id: CredentialId, until: u64, set_at: u64, to_back: bool) -> Outcome {
    let cooldown = Cooldown {
        until: Timestamp::from_millis(until),
        set_at: Timestamp::from_millis(set_at),
        reason: Reason::Limited,
        scope: None,
        generation: None,
        cause: None,
    };
    Outcome { id, change: Change::CooledDown { cooldown, failure: true, to_back } }
}

async fn token(vault: &impl Vault, id: CredentialId) -> String {
    vault.get(id).await.unwrap().secret.token().expose().to_owned()
}

impl Place {
    fn job(&self, name: &str) -> Job {
        job(name).vault(&self.root(), &self.key)
    }
}

/// A child of this module.
fn job(name: &str) -> Job {
    Job::new(module_path!(), name)
}

/// The id that the parent has named.
fn id() -> CredentialId {
    setting("ID").unwrap().parse().unwrap()
}

/// What the children of the other tests are.
#[test]
fn a_child_does_its_job() {
    let Some(job) = children::job() else { return };
    children::on_two_threads(async {
        match &*job {
            "writer" => stress::writer().await,
            "cooler" => cooler().await,
            "swapper" => swapper().await,
            "contender" => contender().await,
            "holder" => holder().await,
            "waiter" => waiter().await,
            "follower" => follower().await,
            "newcomer" => newcomer().await,
            "stranger" => stranger().await,
            "resealer" => resealer().await,
            "old hand" => old_hand().await,
            "user" => user().await,
            "keeper" => keeper().await,
            "latecomer" => latecomer().await,
            other => panic!("no such job: {other}"),
        }
    });
}

// Outcomes and swaps at once.

const COOLERS: u64 = 4;
const COOLDOWNS: u64 = 60;
const SWAPS: u64 = 25;

async fn cooler() {
    let (vault, id) = (children::vault().await, id());
    let number: u64 = setting("NUMBER").unwrap().parse().unwrap();
    say("ready");
    hear();
    for at in 0..COOLDOWNS {
        // The longest is somewhere in between, and not the last.
        let until = 1_000 + (at * 7 % COOLDOWNS) * COOLERS + number;
        vault.record(pool(), vec![cooled(id, until, 1, at % 2 == 0)]).await.unwrap();
    }
}

async fn swapper() {
    let (vault, id) = (children::vault().await, id());
    say("ready");
    hear();
    for generation in 1..=SWAPS {
        let secret = Secret::api_key(format!("rotated {}", generation + 1));
        let replaced = vault.replace_secret(id, Generation::new(generation), secret).await.unwrap();
        assert!(matches!(replaced, Replaced::Swapped(_)), "nobody else swaps: {replaced:?}");
        // Its own write, whatever else is written beside it.
        assert_eq!(token(&vault, id).await, format!("rotated {}", generation + 1));
    }
}

/// Lets them begin at once, and waits until all have done well.
fn race(mut children: Vec<Child>) {
    children.iter_mut().for_each(|child| child.wait_for("ready"));
    children.iter_mut().for_each(|child| child.tell("go"));
    children.into_iter().for_each(|child| drop(child.succeed()));
}

fn coolers(place: &Place, id: CredentialId) -> Vec<Child> {
    let job = |number: u64| place.job("cooler").set("NUMBER", number.to_string());
    (0..COOLERS).map(|number| job(number).set("ID", id.to_string()).start()).collect()
}

async fn assert_cooled(vault: &FileVault, id: CredentialId) {
    let standing = &vault.load_pool(pool()).await.unwrap().standings.credentials[&id];
    assert_eq!(u64::from(standing.failures), COOLERS * COOLDOWNS);
    let longest = 1_000 + COOLERS * COOLDOWNS - 1;
    assert_eq!(standing.cooldown(None).unwrap().until.as_millis(), longest);
}

#[tokio::test]
async fn outcomes_of_several_processes_merge_and_change_no_secret() {
    let place = Place::new();
    let vault = place.open().await;
    let ids = [vault.put(account("a")).await.unwrap().id, vault.put(account("b")).await.unwrap().id];
    let record = place.root().join(format!("records/{}.json", ids[0]));
    let before = fs::read(&record).unwrap();
    race(coolers(&place, ids[0]));
    assert_cooled(&vault, ids[0]).await;
    assert_eq!(fs::read(&record).unwrap(), before);
    assert_eq!(token(&vault, ids[1]).await, "secret of b");
}

#[tokio::test]
async fn a_flood_of_cooldowns_never_loses_a_rotated_secret() {
    let place = Place::new();
    let vault = place.open().await;
    let id = vault.put(account("a")).await.unwrap().id;
    let mut children = coolers(&place, id);
    children.push(place.job("swapper").set("ID", id.to_string()).start());
    race(children);
    assert_cooled(&vault, id).await;
    assert_eq!(token(&vault, id).await, format!("rotated {}", SWAPS + 1));
    assert_eq!(vault.get(id).await.unwrap().metadata.generation, Generation::new(SWAPS + 1));
}

// Compare and swap.

async fn contender() {
    let (vault, id) = (children::vault().await, id());
    say("ready");
    loop {
        let generation: u64 = hear().parse().unwrap();
        let secret = format!("{generation} by {}", std::process::id());
        let expected = Generation::new(generation);
        match vault.replace_secret(id, expected, Secret::api_key(secret.clone())).await.unwrap() {
            Replaced::Swapped(next) => {
                assert_eq!(next, expected.next());
                say(format_args!("won {secret}"));
            }
            Replaced::Conflict(stored) => {
                assert_eq!(stored.metadata.generation, expected.next());
                say(format_args!("lost to {}", stored.secret.token().expose()));
            }
        }
    }
}

#[tokio::test]
async fn of_many_processes_that_replace_one_generation_exactly_one_wins() {
    let place = Place::new();
    let vault = place.open().await;
    let id = vault.put(account("a")).await.unwrap().id;
    let job = || place.job("contender").set("ID", id.to_string());
    let mut children: Vec<_> = (0..6).map(|_| job().start()).collect();
    children.iter_mut().for_each(|child| child.wait_for("ready"));
    for generation in 1..=20 {
        children.iter_mut().for_each(|child| child.tell(&generation.to_string()));
        let said: Vec<_> = children.iter_mut().map(|child| child.next().unwrap()).collect();
        let mut winners = said.iter().filter_map(|said| said.strip_prefix("won "));
        let winner = winners.next().expect("one wins");
        assert_eq!(winners.next(), None, "two have won: {said:?}");
        let lost = said.iter().filter(|said| **said == format!("lost to {winner}")).count();
        assert_eq!(lost, children.len() - 1, "the others are told who has won: {said:?}");
        assert_eq!(token(&vault, id).await, winner);
    }
}

// Leases.

async fn holder() {
    let vault = children::vault().await;
    let _lease = vault.lease_refresh(id()).await.unwrap();
    say("held");
    hear();
    panic!("it was to be killed");
}

async fn waiter() {
    let (vault, id) = (children::vault().await, id());
    let mut lease = pin!(vault.lease_refresh(id));
    let work = async {
        // Whoever waits for a lease goes on with all else, also with the credential itself.
        let other = vault.put(account("other")).await.unwrap().id;
        vault.record(pool(), vec![cooled(id, 5_000, 1, false)]).await.unwrap();
        vault.replace_secret(id, Generation::FIRST, Secret::api_key("meanwhile")).await.unwrap();
        assert_eq!(token(&vault, id).await, "meanwhile");
        vault.move_to(other, 0).await.unwrap();
        vault.relabel(other, "another").await.unwrap();
        assert_eq!(vault.load_pool(pool()).await.unwrap().credentials.len(), 2);
        drop(vault.lease_refresh(other).await.unwrap());
        vault.remove(other).await.unwrap();
    };
    tokio::select! {
        biased;
        lease = &mut lease => panic!("another process holds it, and this one got {lease:?}"),
        () = work => say("worked"),
    }
    let lease = lease.await.unwrap();
    say("leased");
    hear();
    drop(lease);
}

#[tokio::test]
async fn a_lease_of_a_killed_process_passes_to_the_next_which_worked_meanwhile() {
    let place = Place::new();
    let vault = place.open().await;
    let id = vault.put(account("a")).await.unwrap().id;
    let mut holder = place.job("holder").set("ID", id.to_string()).start();
    holder.wait_for("held");
    let mut waiter = place.job("waiter").set("ID", id.to_string()).start();
    waiter.wait_for("worked");

    let impatient = FileVault::builder(place.root()).lease_timeout(Duration::from_millis(30));
    let impatient = impatient.open(&place.key).await.unwrap();
    let error = impatient.lease_refresh(id).await.unwrap_err();
    assert!(matches!(error, VaultError::Locked { .. }), "{error:?}");
    if cfg!(target_os = "linux") {
        let VaultError::Locked { holder: named, .. } = &error else { unreachable!() };
        assert_eq!(*named, Some(holder.id()), "{error}");
    }

    holder.kill();
    waiter.wait_for("leased");
    assert!(matches!(impatient.lease_refresh(id).await, Err(VaultError::Locked { .. })));
    waiter.tell("let go");
    waiter.succeed();
    impatient.lease_refresh(id).await.unwrap();
    assert_eq!(token(&vault, id).await, "meanwhile");
}

// A pool in another process.

/// A pool, which takes over by itself what other processes save.
async fn following(vault: FileVault) -> Pool {
    let provider = GenericProvider::bearer("example").origin("https://api.example.com").unwrap();
    Pool::builder(provider, vault).open().await.unwrap()
}

async fn follower() {
    let pool = following(children::vault().await).await;
    assert_eq!(pool.status()[0].standing.failures, 0);
    say("open");
    let cooled = eventually("the cooldown is known here", async || {
        let status = pool.status().remove(0);
        (status.standing.failures > 0).then_some(status)
    });
    let until = cooled.await.standing.cooldown(None).unwrap().until.as_millis();
    say(format_args!("cooled until {until}"));
    let renewed = eventually("the new secret is known here", async || {
        let credential = pool.status().remove(0).credential;
        (credential.generation > Generation::FIRST).then_some(credential)
    });
    say(format_args!("renewed {}", renewed.await.generation));
}

#[tokio::test]
async fn what_one_process_saves_is_soon_in_the_pool_of_another() {
    let place = Place::new();
    let vault = place.open().await;
    let id = vault.put(account("a")).await.unwrap().id;
    let mut followers: Vec<_> = (0..2).map(|_| place.job("follower").start()).collect();
    followers.iter_mut().for_each(|follower| follower.wait_for("open"));
    let until = Timestamp::from_millis(4_000_000_000_000).as_millis();
    let saved = Instant::now();
    vault.record(pool(), vec![cooled(id, until, 1, false)]).await.unwrap();
    for follower in &mut followers {
        assert_eq!(follower.wait_for_one_of("cooled until"), until.to_string());
    }
    println!("a cooldown was known after {:?}", saved.elapsed());
    // It looks every 50 ms; the rest is for a machine with much to do.
    assert!(saved.elapsed() < Duration::from_secs(5), "{:?}", saved.elapsed());
    vault.replace_secret(id, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    for mut follower in followers {
        assert_eq!(follower.wait_for_one_of("renewed"), "2");
        follower.succeed();
    }
}

// First runs.

/// Opens one new vault after another as a program does on its first run, and puts something there.
async fn newcomer() {
    say("ready");
    loop {
        let place = hear();
        let Some((key, vault)) = place.split_once('\t') else { panic!("{place:?}") };
        let key = VaultKey::load_or_create(key).await.unwrap();
        let vault = FileVault::open(vault, &key).await.unwrap();
        let id = vault.put(account("work")).await.unwrap().id;
        assert_eq!(token(&vault, id).await, "secret of work");
        say(format_args!("{} {id}", key.id()));
    }
}

#[tokio::test]
async fn first_runs_at_once_agree_on_the_key_and_keep_what_each_has_put() {
    let mut children: Vec<_> = (0..8).map(|_| job("newcomer").start()).collect();
    children.iter_mut().for_each(|child| child.wait_for("ready"));
    for round in 0..24 {
        let place = TempDir::new().unwrap();
        let parent = place.path().join("a").join("b");
        // The key beside the vault, far from it, or in it.
        let (key, root) = match round % 3 {
            0 => (parent.join("vault.key"), parent.join("vault")),
            1 => (parent.join("keys/c/vault.key"), parent.join("vaults/d/vault")),
            _ => (parent.join("vault/vault.key"), parent.join("vault")),
        };
        let is_over = Arc::new(AtomicBool::new(false));
        // Now and then another program makes the same directories just now.
        let maker = (round % 2 == 0).then(|| {
            let (is_over, directories) = (is_over.clone(), [place.path().join("a"), parent.clone()]);
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    directories.iter().for_each(|directory| drop(fs::create_dir(directory)));
                    std::thread::yield_now();
                }
            })
        });
        let told = format!("{}\t{}", key.display(), root.display());
        children.iter_mut().for_each(|child| child.tell(&told));
        let said: Vec<_> = children.iter_mut().map(|child| child.next()).collect();
        is_over.store(true, Ordering::Relaxed);
        maker.into_iter().for_each(|maker| maker.join().unwrap());
        let said: Vec<_> =
            said.into_iter().map(|said| said.expect("it has not failed; see stderr")).collect();

        let key = VaultKey::load_or_create(&key).await.unwrap();
        let vault = FileVault::open(&root, &key).await.unwrap();
        let mut labels = BTreeSet::new();
        for said in &said {
            let (key_id, id) = said.split_once(' ').unwrap();
            assert_eq!(key_id, key.id().to_string(), "one key for all");
            labels.insert(vault.get(id.parse().unwrap()).await.unwrap().metadata.label.to_string());
        }
        assert_eq!(labels.len(), children.len(), "each has a label of its own: {labels:?}");
        assert_eq!(children::temporary_files(place.path()), Vec::<PathBuf>::new());
    }
}

/// Opens one new vault after another with a key that only it has.
async fn stranger() {
    let key = children::key("KEY");
    say("ready");
    loop {
        match FileVault::open(hear(), &key).await {
            Ok(vault) => {
                let id = vault.put(account("mine")).await.unwrap().id;
                say(format_args!("put {id}"));
            }
            Err(VaultError::Key(reason)) => say(format_args!("refused {reason}")),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn of_two_first_runs_with_two_keys_one_wins_and_the_other_is_refused() {
    let keys = [VaultKey::generate(), VaultKey::generate()];
    let [one, two] = &keys;
    let mut children = keys.each_ref().map(|key| job("stranger").key("KEY", key).start());
    children.iter_mut().for_each(|child| child.wait_for("ready"));
    let mut wins = [0; 2];
    for round in 0..20 {
        let place = TempDir::new().unwrap();
        let root = place.path().join("vault");
        // Whoever is told first has the lead.
        for at in [round % 2, 1 - round % 2] {
            children[at].tell(&root.display().to_string());
        }
        let said = children.each_mut().map(|child| child.next().expect("see stderr"));
        let winner = said.iter().position(|said| said.starts_with("put ")).expect("one wins");
        wins[winner] += 1;
        let refused = said[1 - winner].strip_prefix("refused ").expect("the other is refused");
        for key in [one, two] {
            assert!(refused.contains(&key.id().to_string()), "{refused}");
        }
        let vault = FileVault::open(&root, &keys[winner]).await.unwrap();
        let loaded = vault.load_pool(pool()).await.unwrap();
        let ids: Vec<_> =
            loaded.credentials.iter().map(|stored| stored.metadata.id.to_string()).collect();
        assert_eq!(ids, [said[winner].trim_start_matches("put ")]);
        assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
        assert_eq!(fs::read_dir(root.join("records")).unwrap().count(), 1);
    }
    println!("{wins:?} of 20 first runs were won");
}

// Sealing anew.

/// Seals the vault anew, and waits for its parent after each record.
async fn resealer() {
    let vault = FileVault::builder(children::path("VAULT")).old_key(&children::key("OLD"));
    let vault = vault.open(&children::key("KEY")).await.unwrap();
    let progress = |so_far: &tower_credentials::vault::file::Resealing| {
        say(format_args!("looked at {}", so_far.done));
        hear();
    };
    let resealing = vault.reseal(progress).await.unwrap();
    assert!(resealing.damaged.is_empty(), "{:?}", resealing.damaged);
    say(format_args!("left {}", resealing.left));
}

/// Has the vault open with the old key all along.
async fn old_hand() {
    let vault = children::vault().await;
    say("ready");
    loop {
        let label = hear();
        match vault.put(account(&label)).await {
            Ok(stored) => say(format_args!("put {}", stored.id)),
            Err(VaultError::Key(reason)) => say(format_args!("refused {reason}")),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_resealing_that_is_killed_after_any_record_is_resumed() {
    const RECORDS: usize = 5;
    let place = Place::new();
    let (old, new) = (place.key.clone(), VaultKey::generate());
    let mut secrets = BTreeMap::new();
    let vault = place.open().await;
    for number in 0..RECORDS {
        let label = format!("a{number}");
        secrets.insert(vault.put(account(&label)).await.unwrap().id, format!("secret of {label}"));
    }
    drop(vault);
    let mut old_hand = place.job("old hand").start();
    old_hand.wait_for("ready");

    let all_open = async |vault: &FileVault, secrets: &BTreeMap<CredentialId, String>| {
        let loaded = vault.load_pool(pool()).await.unwrap();
        assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
        let found: BTreeMap<_, _> = loaded
            .credentials
            .iter()
            .map(|stored| (stored.metadata.id, stored.secret.token().expose().to_owned()))
            .collect();
        assert_eq!(found, *secrets);
    };
    let sealed_anew = || {
        let new = new.id().to_string();
        let files = fs::read_dir(place.root().join("records")).unwrap();
        files
            .filter(|file| fs::read_to_string(file.as_ref().unwrap().path()).unwrap().contains(&new))
            .count()
    };
    let resealer = || job("resealer").vault(&place.root(), &new).key("OLD", &old).start();
    let mut most = 0;
    for stop_after in 1..=RECORDS {
        let mut child = resealer();
        for done in 1..stop_after {
            child.wait_for(&format!("looked at {done}"));
            child.tell("go on");
        }
        child.wait_for(&format!("looked at {stop_after}"));
        child.kill();
        let both = FileVault::builder(place.root()).old_key(&old).open(&new).await.unwrap();
        all_open(&both, &secrets).await;
        assert!(sealed_anew() >= most, "what is done stays done");
        most = sealed_anew();
        // Meanwhile another process goes on with the old key.
        let label = format!("late{stop_after}");
        old_hand.tell(&label);
        let id = old_hand.wait_for_one_of("put").parse().unwrap();
        secrets.insert(id, format!("secret of {label}"));
        all_open(&both, &secrets).await;
    }
    assert!(most >= 1, "some was sealed anew before the end");
    // The first takes up what comes while it runs; the second finds nothing to do.
    for round in 0..2 {
        let mut left = usize::MAX;
        let mut child = resealer();
        let mut is_told = false;
        while let Some(said) = child.next() {
            if let Some(said) = said.strip_prefix("left ") {
                left = said.parse().unwrap();
                break;
            }
            if round == 0 && !std::mem::replace(&mut is_told, true) {
                old_hand.tell("last");
                let id = old_hand.wait_for_one_of("put").parse().unwrap();
                secrets.insert(id, "secret of last".to_owned());
            }
            child.tell("go on");
        }
        child.succeed();
        assert_eq!(left, 0, "what came with the old key while it ran is taken up, in round {round}");
    }

    let vault = FileVault::open(place.root(), &new).await.unwrap();
    all_open(&vault, &secrets).await;
    let Err(VaultError::Key(reason)) = FileVault::open(place.root(), &old).await else {
        panic!("the old key opens nothing any more");
    };
    let names_both =
        |reason: &str| [&old, &new].iter().all(|key| reason.contains(&key.id().to_string()));
    assert!(names_both(&reason), "{reason}");
    let before = contents(&place.root());
    old_hand.tell("too late");
    let reason = old_hand.wait_for_one_of("refused");
    assert!(names_both(&reason), "{reason}");
    assert_eq!(contents(&place.root()), before, "nothing was written");
    all_open(&vault, &secrets).await;
}

/// The files from here on down, with what is in them.
fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = children::all_below(root).into_iter().filter(|path| path.is_file());
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

// Modes and permissions.

/// Whether permissions hold for this process; they don't for root.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    let own = TempDir::new().unwrap();
    fs::metadata(own.path()).unwrap().uid() == 0
}

/// A user who has nothing.
const NOBODY: u32 = 65534;

/// What starts a child as somebody for whom permissions hold, and gives that user the place.
fn as_a_user(place: &TempDir) -> Vec<String> {
    if !is_root() {
        return Vec::new();
    }
    for path in children::all_below(place.path()) {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let user = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into()];
    let words: Vec<_> = std::iter::once("setpriv".into()).chain(user).collect();
    let works = Command::new(&words[0]).args(&words[1..]).arg("true").status();
    let works = works.is_ok_and(|status| status.success());
    assert!(works, "this test runs as root and needs setpriv (util-linux), or another user than root");
    words
}

/// The test binary where that user may run it, whatever the modes above its own place.
fn copy_of_this_test(place: &TempDir) -> PathBuf {
    let copy = place.path().join("test");
    // By another process: a child that another thread starts just now would have the copy open for writing
    // until it is executed, and what is open for writing can't be executed.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&copy).status();
    assert!(copied.unwrap().success());
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

/// Uses all that a vault has.
async fn user() {
    let place = children::path("PLACE");
    let key = VaultKey::load_or_create(place.join("keys/vault.key")).await.unwrap();
    for _ in 0..2 {
        let vault = FileVault::open(place.join("vaults/vault"), &key).await.unwrap();
        let id = vault.put(account("a")).await.unwrap().id;
        vault.replace_secret(id, Generation::FIRST, Secret::api_key("new")).await.unwrap();
        vault.record(pool(), vec![cooled(id, 5_000, 1, false)]).await.unwrap();
        drop(vault.lease_refresh(id).await.unwrap());
        vault.relabel(id, "b").await.unwrap();
        vault.move_to(id, 0).await.unwrap();
        assert_eq!(token(&vault, id).await, "new");
        vault.remove(id).await.unwrap();
        vault.put(account("kept")).await.unwrap();
    }
}

#[test]
fn modes_are_0600_and_0700_whatever_the_umask() {
    let test = TempDir::new().unwrap();
    fs::set_permissions(test.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = copy_of_this_test(&test);
    for umask in ["000", "022", "077", "0777"] {
        let place = TempDir::new().unwrap();
        let mut words = as_a_user(&place);
        let umask_then_run = format!("umask {umask}; exec \"$0\" \"$@\"");
        words.extend(["sh", "-c", &umask_then_run].map(str::to_owned));
        let child = job("user").set("PLACE", place.path()).under(words).binary(&binary).start();
        child.succeed();
        let mut seen = HashSet::new();
        for path in children::all_below(place.path()).split_off(1) {
            let metadata = fs::metadata(&path).unwrap();
            let mode = metadata.permissions().mode() & 0o7777;
            let meant = if metadata.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, meant, "{} has mode {mode:o} under umask {umask}", path.display());
            seen.insert(path.extension().map(|extension| extension.to_owned()));
        }
        for extension in ["json", "log", "lock", "key"] {
            assert!(seen.contains(&Some(extension.into())), "{extension} in {seen:?}");
        }
    }
}

/// Has a vault and a pool of it open, and tries on its parent's word what goes.
async fn keeper() {
    let vault = children::vault().await;
    let id = vault.put(account("kept")).await.unwrap().id;
    vault.record(pool(), vec![cooled(id, 5_000, 1, false)]).await.unwrap();
    let provider = GenericProvider::bearer("example").origin("https://api.example.com").unwrap();
    let pool_here = Pool::builder(provider, vault.clone()).open().await.unwrap();
    say(format_args!("open {id}"));
    loop {
        let outcome = match &*hear() {
            "get" => vault.get(id).await.map(|stored| stored.secret.token().expose().to_owned()),
            "load" => vault.load_pool(pool()).await.map(|loaded| loaded.credentials.len().to_string()),
            "put" => vault.put(account("more")).await.map(|stored| stored.id.to_string()),
            "record" => vault
                .record(pool(), vec![cooled(id, 6_000, 1, false)])
                .await
                .map(|revision| revision.get().to_string()),
            "lease" => vault.lease_refresh(id).await.map(|_| String::new()),
            "sync" => pool_here.sync().await.map(|()| String::new()),
            "status" => Ok(pool_here.status().len().to_string()),
            "failures" => Ok(pool_here.status()[0].standing.failures.to_string()),
            other => panic!("{other}"),
        };
        match outcome {
            Ok(answer) => say(format_args!("ok {answer}")),
            Err(VaultError::DirectoryGone(path)) => say(format_args!("gone {}", path.display())),
            Err(error) => say(format_args!("error {error}")),
        }
    }
}

/// Opens the vault now, and writes if it gets in.
async fn latecomer() {
    let said = match FileVault::open(children::path("VAULT"), &children::key("KEY")).await {
        Ok(vault) => vault.record(pool(), vec![cooled(id(), 5_500, 1, false)]).await,
        Err(error) => Err(error),
    };
    match said {
        Ok(revision) => say(format_args!("ok {}", revision.get())),
        Err(error) => say(format_args!("error {error}")),
    }
}

/// What the keeper answers.
fn try_out(keeper: &mut Child, word: &str) -> String {
    keeper.tell(word);
    keeper.next().expect("it has not failed; see stderr")
}

/// Copies the files and directories from here on down.
fn copy_all(from: &Path, to: &Path) {
    for path in children::all_below(from) {
        let to = to.join(path.strip_prefix(from).unwrap());
        match path.is_dir() {
            true => fs::create_dir(&to).unwrap(),
            false => drop(fs::copy(&path, &to).unwrap()),
        }
    }
}

#[tokio::test]
async fn a_vault_whose_directory_is_removed_says_so_and_works_again_when_it_is_restored() {
    let place = Place::new();
    let root = place.root();
    let mut keeper = place.job("keeper").start();
    let id = keeper.wait_for_one_of("open");
    assert_eq!(try_out(&mut keeper, "lease"), "ok ");
    for round in 0..3 {
        let backup = place.temporary.path().join(format!("backup{round}"));
        copy_all(&root, &backup);
        fs::remove_dir_all(&root).unwrap();
        for word in ["get", "load", "put", "record", "lease", "sync", "put"] {
            let said = try_out(&mut keeper, word);
            let names_it = said.starts_with(&format!("gone {}", root.display()));
            assert!(names_it, "{word} with no directory: {said}");
        }
        assert_eq!(try_out(&mut keeper, "status"), format!("ok {}", round + 1), "it keeps them");
        assert!(!root.exists(), "nobody has made it anew by a request");
        // Back by another name, or as other files.
        match round {
            1 => fs::rename(&backup, &root).unwrap(),
            _ => copy_all(&backup, &root),
        }
        assert_eq!(try_out(&mut keeper, "get"), "ok secret of kept");
        assert!(try_out(&mut keeper, "put").starts_with("ok "));
        assert!(try_out(&mut keeper, "record").starts_with("ok "));
        assert_eq!(try_out(&mut keeper, "lease"), "ok ");
        assert_eq!(try_out(&mut keeper, "sync"), "ok ");
        assert_eq!(try_out(&mut keeper, "load"), format!("ok {}", round + 2));
        assert_eq!(try_out(&mut keeper, "status"), format!("ok {}", round + 2));
        assert_eq!(try_out(&mut keeper, "failures"), format!("ok {}", round + 2));
    }
    let loaded = place.open().await.load_pool(pool()).await.unwrap();
    assert_eq!(loaded.standings.credentials[&id.parse().unwrap()].failures, 4);
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
}

/// Takes away the write permission, or gives it back.
fn set_writable(root: &Path, directories: bool, files: bool) {
    let mut all = children::all_below(root);
    // A directory that can't be written still lets its files be changed.
    all.reverse();
    for path in all {
        let mode = match path.is_dir() {
            true => 0o500 | if directories { 0o200 } else { 0 },
            false => 0o400 | if files { 0o200 } else { 0 },
        };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_named_and_costs_nothing_that_is_there() {
    let place = Place::new();
    let root = place.root();
    fs::set_permissions(place.temporary.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = copy_of_this_test(&place.temporary);
    let under = as_a_user(&place.temporary);
    let mut keeper = place.job("keeper").under(&under).binary(&binary).start();
    let id = keeper.wait_for_one_of("open");
    let (mut kept, mut failures) = (1, 1);
    let refused = |said: &str, word: &str| {
        let names_it = said.starts_with("error ") && said.contains(&*root.display().to_string());
        assert!(names_it && said.contains("make it yours to read and write"), "{word}: {said}");
    };
    for (directories, files) in [(false, true), (false, false), (true, false)] {
        let what = format!("directories writable: {directories}, files writable: {files}");
        set_writable(&root, directories, files);
        assert_eq!(try_out(&mut keeper, "get"), "ok secret of kept", "{what}");
        assert_eq!(try_out(&mut keeper, "load"), format!("ok {kept}"), "{what}");
        assert_eq!(try_out(&mut keeper, "sync"), "ok ", "{what}");
        let said = try_out(&mut keeper, "put");
        // A file is replaced, which only a directory can forbid.
        match said.starts_with("ok ") {
            true if directories => kept += 1,
            _ => refused(&said, "put"),
        }
        // Its log may be open from before.
        match try_out(&mut keeper, "record") {
            said if said.starts_with("ok ") => failures += 1,
            said => refused(&said, "record"),
        }
        // So it is for a process that comes new, which may not even get in.
        let said = place.job("latecomer").set("ID", &id).under(&under).binary(&binary).start().succeed();
        match &*said[0] {
            said if said.starts_with("ok ") => failures += 1,
            said => refused(said, "open and record"),
        }
        set_writable(&root, true, true);
        assert!(try_out(&mut keeper, "put").starts_with("ok "), "{what}");
        kept += 1;
        assert!(try_out(&mut keeper, "record").starts_with("ok "), "{what}");
        failures += 1;
        assert_eq!(try_out(&mut keeper, "load"), format!("ok {kept}"), "{what}");
        assert_eq!(try_out(&mut keeper, "sync"), "ok ", "{what}");
        assert_eq!(try_out(&mut keeper, "failures"), format!("ok {failures}"), "{what}");
        assert_eq!(children::temporary_files(&root), Vec::<PathBuf>::new());
    }
    let loaded = place.open().await.load_pool(pool()).await.unwrap();
    assert_eq!(loaded.credentials.len(), kept);
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
}

//! Modes and permissions, and a directory that goes away.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{Generation, Pool, Secret};

use super::{PLANTED, account, cooled, id, job, pool, token};
use crate::children::{self, Child, hear, say};
use crate::place::Place;

/// Whether permissions do not apply to this process.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    let own = TempDir::new().unwrap();
    fs::metadata(own.path()).unwrap().uid() == 0
}

/// A user who owns nothing.
const NOBODY: u32 = 65534;

/// Returns a command that starts a child as a user to whom permissions apply, and gives the place to that user.
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

/// Copies the test binary to where that user may run it, whatever the modes above its own place.
fn copy_of_this_test(place: &TempDir) -> PathBuf {
    let copy = place.path().join("test");
    // Another process copies it. If this one did, a child that another thread is starting would have the copy open for
    // writing until it is executed, and a file that is open for writing cannot be executed.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&copy).status();
    assert!(copied.unwrap().success());
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

/// Uses everything that a vault offers.
pub(super) async fn user() {
    let place = children::path("PLACE");
    let key = VaultKey::load_or_create(place.join("keys/vault.key")).await.unwrap();
    for _ in 0..2 {
        let vault = FileVault::open(place.join("vaults/vault"), &key).await.unwrap();
        let id = vault.put(account("a")).await.unwrap().id;
        vault.replace_secret(&pool(), id, Generation::FIRST, Secret::api_key("new")).await.unwrap();
        vault.record(pool(), vec![cooled(id, 5_000, 1, false)]).await.unwrap();
        drop(vault.lease_refresh(&pool(), id).await.unwrap());
        vault.relabel(&pool(), id, "b").await.unwrap();
        vault.move_to(&pool(), id, 0).await.unwrap();
        assert_eq!(token(&vault, id).await, "new");
        vault.remove(&pool(), id).await.unwrap();
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
            let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, expected, "{} has mode {mode:o} under umask {umask}", path.display());
            seen.insert(path.extension().map(|extension| extension.to_owned()));
        }
        for extension in ["json", "log", "lock", "key"] {
            assert!(seen.contains(&Some(extension.into())), "{extension} in {seen:?}");
        }
    }
}

/// Has a vault and one of its pools open, and does what its parent tells it.
pub(super) async fn keeper() {
    let vault = children::vault().await;
    let id = vault.put(account("kept")).await.unwrap().id;
    vault.record(pool(), vec![cooled(id, 5_000, 1, false)]).await.unwrap();
    let provider = GenericProvider::bearer("example").origin("https://api.example.com").unwrap();
    let pool_here = Pool::builder(provider, vault.clone()).open().await.unwrap();
    say(format_args!("open {id}"));
    loop {
        let outcome = match &*hear() {
            "get" => {
                vault.get(&pool(), id).await.map(|stored| stored.secret.token().expose().to_owned())
            }
            "load" => vault.load_pool(pool()).await.map(|loaded| loaded.credentials.len().to_string()),
            "put" => vault.put(account("more")).await.map(|stored| stored.id.to_string()),
            "record" => vault
                .record(pool(), vec![cooled(id, 6_000, 1, false)])
                .await
                .map(|revision| format!("{revision:?}")),
            "lease" => vault.lease_refresh(&pool(), id).await.map(|_| String::new()),
            "sync" => pool_here.sync().await.map(|()| String::new()),
            "status" => Ok(pool_here.status().len().to_string()),
            "failures" => Ok(pool_here.status()[0].standing.failures.to_string()),
            other => panic!("{other}"),
        };
        match outcome {
            Ok(result) => say(format_args!("ok {result}")),
            Err(VaultError::DirectoryGone(path)) => say(format_args!("gone {}", path.display())),
            Err(error) => say(format_args!("error {error}")),
        }
    }
}

/// Opens the vault now, and writes if that succeeds.
pub(super) async fn latecomer() {
    let said = match FileVault::open(children::path("VAULT"), &children::key("KEY")).await {
        Ok(vault) => vault.record(pool(), vec![cooled(id(), 5_500, 1, false)]).await,
        Err(error) => Err(error),
    };
    match said {
        Ok(revision) => say(format_args!("ok {revision:?}")),
        Err(error) => say(format_args!("error {error}")),
    }
}

/// Tells the keeper to do something, and returns what it says.
fn try_out(keeper: &mut Child, word: &str) -> String {
    keeper.tell(word);
    keeper.next().expect("it has not failed; see stderr")
}

/// Copies everything below `from`.
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
        assert!(!root.exists(), "no request has made it again");
        // Restored by a rename, or as other files.
        match round {
            1 => fs::rename(&backup, &root).unwrap(),
            _ => copy_all(&backup, &root),
        }
        assert_eq!(try_out(&mut keeper, "get"), format!("ok {PLANTED}-kept"));
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
    // In a directory that cannot be written, files can still be changed.
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
        assert_eq!(try_out(&mut keeper, "get"), format!("ok {PLANTED}-kept"), "{what}");
        assert_eq!(try_out(&mut keeper, "load"), format!("ok {kept}"), "{what}");
        assert_eq!(try_out(&mut keeper, "sync"), "ok ", "{what}");
        let said = try_out(&mut keeper, "put");
        // A record is replaced, which only an unwritable directory can prevent.
        match said.starts_with("ok ") {
            true if directories => kept += 1,
            _ => refused(&said, "put"),
        }
        // Its log may still be open.
        match try_out(&mut keeper, "record") {
            said if said.starts_with("ok ") => failures += 1,
            said => refused(&said, "record"),
        }
        // The same goes for a new process, which may not even get in.
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

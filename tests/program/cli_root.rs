//! As root, in another user's vault: what is made there is that user's, so that their programs can go on.
#![cfg(all(unix, feature = "cli"))]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tower_credentials::{Clock, PoolKey};

use crate::authorization_server::{AuthorizationServer, Kind, Rules, Vendor};
use crate::cli::{Home, Run};
use crate::support::seconds;

/// Somebody, and their group.
const USER: (u32, u32) = (12_345, 23_456);

/// Whether the tests are root's. One that can't do without says that it was not run.
fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("not run: only root can make what is another user's");
    }
    is_root
}

fn all(directory: &Path) -> Vec<PathBuf> {
    let mut all = vec![directory.to_owned()];
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => all.extend(self::all(&entry.path())),
            false => all.push(entry.path()),
        }
    }
    all
}

fn give_all(directory: &Path) {
    for path in all(directory) {
        std::os::unix::fs::lchown(path, Some(USER.0), Some(USER.1)).unwrap();
    }
}

#[track_caller]
fn is_all_theirs(directory: &Path, when: &str) {
    for path in all(directory) {
        let metadata = path.symlink_metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), USER, "{when}: {}", path.display());
    }
}

fn as_user(home: &Home, arguments: &[&str]) -> Run {
    let mut command = home.command(arguments);
    Run::of(command.uid(USER.0).gid(USER.1).stdin(Stdio::null()).output().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_root_makes_in_a_users_vault_belongs_to_the_user() {
    if !is_root() {
        return;
    }
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    let mut home = Home::new();
    let more = "models_url = \"/resource\"\n[providers.openai.oauth]";
    // Not in the user's home: settings of theirs could have root run a command.
    let settings = tempfile::tempdir().unwrap();
    fs::set_permissions(settings.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = settings.path().join("config.toml");
    fs::write(&file, server.settings(true).replace("[providers.openai.oauth]", more)).unwrap();
    home.set("TOWER_CREDENTIALS_CONFIG", file.to_str().unwrap());
    let mut tokens = server.account().await.tokens.clone();
    tokens.expires_at = Some(Clock::system().now().before(seconds(60)));
    home.add_to(PoolKey::new("openai"), "work", tokens).await;
    give_all(home.path());
    is_all_theirs(home.path(), "before");
    // The lock, the log, a note of a refresh, a record, key.json.
    home.run(["test", "openai"]).ok();
    assert_eq!(server.granted(Kind::Refresh), 1);
    is_all_theirs(home.path(), "after test");
    home.run_with(["login", "openai", "--api-key", "--label", "more"], "sk-secret-more\n").ok();
    is_all_theirs(home.path(), "after login");
    home.run(["pause", "openai/more"]).ok();
    home.run(["vault", "rotate-key"]).ok();
    home.run(["models", "openai"]);
    is_all_theirs(home.path(), "after a change of keys");
    as_user(&home, &["vault", "check"]).ok();
    let listed = as_user(&home, &["list"]).ok();
    assert!(listed.stdout.contains("work") && listed.stdout.contains("more"), "{listed:?}");
    as_user(&home, &["rename", "openai/work", "home"]).ok();
}

#[test]
fn a_vault_and_a_key_that_root_makes_in_a_users_home_belong_to_the_user() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    chown(home.path(), Some(USER.0), Some(USER.1)).unwrap();
    home.run_with(["login", "openai", "--api-key"], "sk-secret-1\n").ok();
    assert!(home.key_file().exists() && home.vault_directory().exists());
    is_all_theirs(home.path(), "after login");
    home.run(["vault", "init", "--force", "--yes"]).ok();
    is_all_theirs(home.path(), "after init");
    home.run_with(["login", "openai", "--api-key"], "sk-secret-1\n").ok();
    as_user(&home, &["list"]).ok().prints("openai");
}

/// An exported key goes to whoever has the vault, and to nobody else.
#[test]
fn a_key_that_root_exports_to_the_vault_owners_directory_belongs_to_that_owner() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    chown(home.path(), Some(USER.0), Some(USER.1)).unwrap();
    home.run_with(["login", "openai", "--api-key"], "sk-secret-1\n").ok();
    for (directory, owner, expected) in
        [("theirs", USER.0, USER.0), ("others", 777, 0), ("root's", 0, 0)]
    {
        let directory = home.path().join(directory);
        fs::create_dir(&directory).unwrap();
        chown(&directory, Some(owner), None).unwrap();
        let output = directory.join("vault.key");
        home.run(["vault", "export", "--output", output.to_str().unwrap()]).ok();
        home.run(["vault", "export", "--force", "--output", output.to_str().unwrap()]).ok();
        let metadata = output.metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o777), (expected, 0o600), "{directory:?}");
    }
}

/// In a directory of root's nothing is given away, nor in the user's by anybody who is not root.
#[test]
fn files_in_a_directory_of_root_stay_roots() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    home.run_with(["login", "openai", "--api-key"], "sk-secret-1\n").ok();
    for path in all(home.path()) {
        assert_eq!(path.metadata().unwrap().uid(), 0, "{}", path.display());
    }
}

/// A user's link in place of a file is followed by nobody: what it leads to stays whose it is.
#[test]
fn root_gives_away_nothing_that_a_users_link_leads_to() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    home.run_with(["login", "openai", "--api-key"], "sk-secret-1\n").ok();
    let elsewhere = home.path().join("root's");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("file"), "").unwrap();
    give_all(&home.vault_directory());
    for name in ["lock", "pools/openai+default.lock", "pools/openai+default.log"] {
        let path = home.vault_directory().join(name);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(elsewhere.join("file"), &path).unwrap();
    }
    fs::remove_dir_all(home.vault_directory().join("leases")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, home.vault_directory().join("leases")).unwrap();
    home.run_with(["login", "openai", "--api-key", "--label", "more"], "sk-secret-2\n");
    for path in all(&elsewhere) {
        assert_eq!(path.metadata().unwrap().uid(), 0, "{}", path.display());
    }
}

/// A name space in which nobody but root is known: no file can be given to anybody.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_cannot_be_given_to_its_user_is_named() {
    let home = Home::new();
    let mut tried = Command::new("unshare");
    if !is_root() || !tried.args(["-r", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("not run: there are no name spaces of users here");
        return;
    }
    let place = home.path().join("theirs");
    fs::create_dir(&place).unwrap();
    fs::set_permissions(&place, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    chown(&place, Some(USER.0), Some(USER.1)).unwrap();
    let script = r#"exec unshare -r "$0" --vault theirs/vault login openai --api-key"#;
    let mut command = home.script("sh", script);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"sk-secret-1\n").unwrap();
    let run = Run::of(child.wait_with_output().unwrap()).ok();
    run.says("theirs/vault is root's, and could not be given to whoever has its directory");
}

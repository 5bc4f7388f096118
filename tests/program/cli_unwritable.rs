//! A vault whose disk is full, or that is mounted read-only, is read as ever; no refresh token is spent that could not be
//! replaced, and a new one is kept until there is room.
#![cfg(all(target_os = "linux", feature = "cli"))]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Child;
use tower_credentials::vault::VaultExt;
use tower_credentials::{Clock, PoolKey};

use crate::authorization_server::{AuthorizationServer, Kind, Rules, Vendor};
use crate::cli::{Home, PATIENCE, Run};
use crate::support::seconds;

/// Mounts what `$VAULT` names once more, read-only, and runs the program.
const READ_ONLY: &str =
    r#"mount --bind "$VAULT" "$VAULT" && mount -o remount,bind,ro "$VAULT" && exec "$0" "$@""#;

/// Puts `$VAULT` on a file system of its own without any room left, and runs the program.
const FULL: &str = r#"
cp -a "$VAULT" "$VAULT.before"
mount -t tmpfs -o size=512k none "$VAULT" && cp -a "$VAULT.before/." "$VAULT"
head -c 1000000 /dev/zero > "$VAULT/filler" 2> "$VAULT.said"
exec "$0" "$@""#;

/// Puts `$VAULT` on a small file system of its own, runs the program, and puts the vault back as that has left it.
const SMALL: &str = r#"
cp -a "$VAULT" "$VAULT.before"
mount -t tmpfs -o size=512k none "$VAULT" && cp -a "$VAULT.before/." "$VAULT"
"$0" "$@"
code=$?
cp -a "$VAULT" "$VAULT.after"
exit $code"#;

/// Whether there are mounts of one's own here. A test that can't do without says that it was not run.
fn has_mounts() -> bool {
    let tried = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    let has = tried.as_ref().is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("not run: no file system can be mounted here by `unshare -rm` ({tried:?})");
    }
    has
}

/// The program, by a script in mounts of its own.
fn mounted(home: &Home, script: &str, arguments: &[&str]) -> Command {
    let mut command = home.script("unshare", script);
    // In place of the shell's own flag.
    let program = command.get_args().last().unwrap().to_owned();
    let environment: Vec<_> =
        command.get_envs().map(|(name, value)| (name.to_owned(), value.unwrap().to_owned())).collect();
    command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script]).arg(program).args(arguments);
    command.current_dir(home.path()).env_clear().envs(environment).env("VAULT", home.vault_directory());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[track_caller]
fn run(home: &Home, script: &str, arguments: &[&str]) -> Run {
    let before = home.vault_directory().with_extension("before");
    let _ = fs::remove_dir_all(before);
    let run = Run::of(mounted(home, script, arguments).output().unwrap());
    home.check(&run.stderr);
    run
}

struct Scene {
    home: Home,
    server: AuthorizationServer,
}

impl Scene {
    /// A home with an account at a server whose refresh tokens work once. Its token expires then, as from now.
    async fn new(expires_in: i64) -> Self {
        let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
        let home = Home::new();
        let more = "models_url = \"/resource\"\n[providers.openai.oauth]";
        home.settings(&server.settings(true).replace("[providers.openai.oauth]", more));
        let mut tokens = server.account().await.tokens.clone();
        let now = Clock::system().now();
        tokens.expires_at = Some(match u64::try_from(expires_in) {
            Ok(ahead) => now.after(seconds(ahead)),
            Err(_) => now.before(seconds(expires_in.unsigned_abs())),
        });
        home.add_to(PoolKey::new("openai"), "work", tokens).await;
        Self { home, server }
    }

    /// What reads works, and nothing is asked of the token endpoint.
    #[track_caller]
    fn is_read(&self, script: &str) {
        let home = &self.home;
        run(home, script, &["list"]).ok().prints("work");
        run(home, script, &["show", "openai/work"]).ok().prints("work");
        let headers = run(home, script, &["headers", "openai"]).ok();
        assert!(headers.stdout.contains("authorization: Bearer "), "{headers:?}");
        assert_eq!(headers.stderr, "");
        let tested = run(home, script, &["test", "openai"]).ok().prints("works");
        if script == READ_ONLY {
            // On a full disk a line may still fit into the block that the log ends in.
            tested.says("what was learnt about the accounts of openai/default is not saved: could not ");
        }
        assert_eq!(self.server.granted(Kind::Refresh), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_is_mounted_read_only_is_read_and_what_would_change_it_says_so() {
    if !has_mounts() {
        return;
    }
    let scene = Scene::new(3600).await;
    scene.is_read(READ_ONLY);
    let said = run(&scene.home, READ_ONLY, &["vault", "check"]).ok().prints("note: ");
    said.prints("can't be written to").prints("try: it is mounted read-only: mount it writable");
    let said = run(&scene.home, READ_ONLY, &["status"]).ok().prints("no token is renewed");
    said.prints("try: it is mounted read-only: mount it writable");
    let json = run(&scene.home, READ_ONLY, &["status", "--json"]).ok().json();
    assert_eq!(json["troubles"][0]["what"], scene.home.vault_directory().to_str().unwrap());
    for arguments in [
        &["pause", "openai/work"][..],
        &["rename", "openai/work", "home"],
        &["logout", "openai/work", "--yes"],
    ] {
        let said = run(&scene.home, READ_ONLY, arguments).code(5);
        said.says("it is mounted read-only: mount it writable, or keep the vault elsewhere");
    }
    // Nor is a change of the key begun that can't be ended.
    run(&scene.home, READ_ONLY, &["vault", "rotate-key"]).code(5).says("it is mounted read-only");
    assert!(!scene.home.key_file().with_extension("key.old").exists());
    // Nobody signs in, or types a key, in vain.
    let said =
        run(&scene.home, READ_ONLY, &["login", "openai", "--label", "more", "--no-browser"]).code(5);
    assert!(!said.stderr.contains("Sign in on this page"), "{said:?}");
    said.says("it is mounted read-only");
    scene.is_read(READ_ONLY);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_renewed_whose_successor_could_not_be_kept_and_no_account_cools_down_for_it() {
    if !has_mounts() {
        return;
    }
    let scene = Scene::new(-60).await;
    for (script, reason) in [(READ_ONLY, "it is mounted read-only"), (FULL, "make room on the disk")] {
        let said = run(&scene.home, script, &["headers", "openai"]);
        assert_ne!(said.code, Some(0), "{said:?}");
        assert!(
            said.stderr.contains(reason)
                && !said.stderr.contains("is limited")
                && !said.stderr.contains("is cooling down"),
            "{said:#?}"
        );
        // It has expired, so a response does not prove that it was accepted.
        let said = run(&scene.home, script, &["test", "openai"]).code(6);
        assert!(said.stdout.contains(reason) && !said.stderr.contains("login"), "{said:#?}");
        assert_eq!(scene.server.granted(Kind::Refresh), 0);
    }
    scene.server.advance(seconds(1_000_000));
    for (script, reason) in [(READ_ONLY, "it is mounted read-only"), (FULL, "make room on the disk")] {
        let said = run(&scene.home, script, &["test", "openai"]).code(6);
        assert!(said.stdout.contains(reason) && !said.stderr.contains("login"), "{said:#?}");
        assert_eq!(scene.server.granted(Kind::Refresh), 0);
    }
    let listed = scene.home.run(["list", "--json"]).ok().json();
    assert!(listed[0].get("cooling_until").is_none(), "{listed}");
    scene.home.run_showing(["headers", "openai"], "");
    assert_eq!((scene.server.granted(Kind::Refresh), scene.server.reuses()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_on_a_full_disk_is_read_and_a_new_account_waits_for_room() {
    if !has_mounts() {
        return;
    }
    let scene = Scene::new(3600).await;
    scene.is_read(FULL);
    let said = run(&scene.home, FULL, &["login", "openai", "--label", "more", "--no-browser"]).code(5);
    assert!(!said.stderr.contains("Sign in on this page"), "{said:?}");
    said.says("make room on the disk");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_in_the_middle_of_a_key_change_is_read_on_a_full_disk() {
    if !has_mounts() {
        return;
    }
    let scene = Scene::new(3600).await;
    let (key, old) = (scene.home.key_file(), scene.home.key_file().with_extension("key.old"));
    fs::copy(&key, &old).unwrap();
    let (new, _) = scene.home.new_key("new.key");
    fs::copy(new, &key).unwrap();
    for path in [&key, &old] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    scene.is_read(FULL);
    scene.is_read(READ_ONLY);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_has_lost_what_says_which_it_is_is_read_by_what_its_records_say() {
    if !has_mounts() {
        return;
    }
    let scene = Scene::new(3600).await;
    let file = scene.home.vault_directory().join("key.json");
    let id = |file: &Path| {
        let json: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        json["vault"]["id"].as_str().unwrap().to_owned()
    };
    let before = id(&file);
    fs::remove_file(&file).unwrap();
    scene.is_read(READ_ONLY);
    scene.is_read(FULL);
    assert!(!file.exists());
    scene.home.run(["list"]).ok().prints("work");
    assert_eq!(id(&file), before);
}

#[test]
fn a_vault_of_an_older_format_is_read_and_left_as_it_is() {
    if !has_mounts() {
        return;
    }
    for name in ["vault-v1", "vault-v2"] {
        let home = Home::with_fixture(name);
        // The first version had none.
        let file = home.vault_directory().join("key.json");
        let before = fs::read(&file).ok();
        for script in [READ_ONLY, FULL] {
            let listed = run(&home, script, &["list", "--json"]).ok().json();
            assert_eq!(listed.as_array().unwrap().len(), 6, "{name}: {listed}");
            let report = run(&home, script, &["vault", "check", "--json"]).json();
            assert_eq!((&report["older"], &report["opened"]), (&6.into(), &6.into()), "{name}");
        }
        let said = run(&home, READ_ONLY, &["vault", "check", "--fix"]).code(5);
        said.says("it is mounted read-only");
        assert_eq!(fs::read(&file).ok(), before, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_by_the_time_a_new_token_comes_is_waited_for() {
    if !has_mounts() {
        return;
    }
    let scene = Scene::new(-60).await;
    let gate = scene.server.hold_after();
    let command = mounted(&scene.home, SMALL, &["headers", "openai"]);
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    gate.arrived().await;
    let filler = seen_by(&child, &scene.home.vault_directory()).join("filler");
    assert!(fs::write(&filler, vec![0; 1 << 20]).is_err(), "there is room");
    gate.let_go();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = tokio::time::timeout(PATIENCE, said.next_line()).await.unwrap().unwrap().unwrap();
    assert!(line.contains("the new token of openai/work can't be saved"), "{line}");
    assert!(line.contains("make room on the disk"), "{line}");
    fs::remove_file(filler).unwrap();
    let line = tokio::time::timeout(PATIENCE, said.next_line()).await.unwrap().unwrap().unwrap();
    assert!(line.contains("The new token of openai/work is saved"), "{line}");
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert!(ended.success() && shown.contains("authorization: Bearer "), "{ended:?} {shown}");
    assert_eq!((scene.server.granted(Kind::Refresh), scene.server.reuses()), (1, 0));
    // What was written there is the new token.
    let vault = scene.home.vault_directory();
    fs::remove_dir_all(&vault).unwrap();
    fs::rename(vault.with_extension("after"), &vault).unwrap();
    let stored = scene.home.vault().await.load_pool(PoolKey::new("openai")).await.unwrap();
    assert!(shown.contains(stored.credentials[0].secret.token().expose()));
}

/// A path as a process sees it whose mounts are its own.
fn seen_by(child: &Child, path: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", child.id().unwrap()));
    root.join(path.strip_prefix("/").unwrap())
}

/// As a user who may write to nothing in it: directories of mode 0500.
#[tokio::test(flavor = "multi_thread")]
async fn a_vault_whose_directories_may_not_be_written_to_is_read() {
    let scene = Scene::new(3600).await;
    let home = &scene.home;
    let vault = home.vault_directory();
    let mut directories: Vec<_> = ["records", "pools", "leases", ""].map(|name| vault.join(name)).into();
    let user = user();
    if user == 0 {
        // Root may write anywhere: the program runs as somebody else.
        let given =
            Command::new("chown").arg("-R").arg("12345:12345").arg(home.path()).status().unwrap();
        assert!(given.success());
    }
    for directory in &directories {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o500)).unwrap();
    }
    let run = |arguments: &[&str]| {
        let mut command = home.command(arguments);
        if user == 0 {
            std::os::unix::process::CommandExt::uid(&mut command, 12345);
            std::os::unix::process::CommandExt::gid(&mut command, 12345);
        }
        Run::of(command.stdin(Stdio::null()).output().unwrap())
    };
    run(&["list"]).ok().prints("work");
    let headers = run(&["headers", "openai"]).ok();
    assert!(
        headers.stdout.contains("authorization: Bearer ") && headers.stderr.is_empty(),
        "{headers:?}"
    );
    run(&["test", "openai"]).ok().prints("works");
    if user == 0 {
        run(&["status"]).ok().prints("make it yours to read and write");
    }
    run(&["rename", "openai/work", "home"]).code(5).says("make it yours to read and write");
    directories.reverse();
    for directory in &directories {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
    }
    run(&["rename", "openai/work", "home"]).ok();
    // What may not be read is named once.
    let record = fs::read_dir(vault.join("records")).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&record, fs::Permissions::from_mode(0o000)).unwrap();
    for command in [&["list"][..], &["vault", "check"]] {
        let run = run(command).code(5);
        let told = format!("{}{}", run.stdout, run.stderr);
        let told = told.lines().find(|line| line.contains("could not read it")).expect("it is told");
        assert_eq!(told.matches(record.to_str().unwrap()).count(), 1, "{told}");
    }
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

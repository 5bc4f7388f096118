//! The commands over an engine, as several hosts run them.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use tower_credentials::vault::key::VaultKey;

use super::{Scene, host, labels, login, other_host, run};

#[test]
fn hosts_see_each_others_accounts_and_changes() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    let other = other_host(&scene.home);
    login(&other, &scene.url(), "b");
    scene.run("move b --to 1").ok();
    let list = || labels(&run(&other, &scene.url(), "list --json").ok());
    assert_eq!(list(), ["b", "a"]);
    scene.run("rename a c").ok();
    scene.run("pause b").ok();
    assert_eq!(list(), ["b", "c"]);
    let status = run(&other, &scene.url(), "status --json").ok().json();
    assert_eq!(status["pools"][0]["usable"], 1);
    run(&other, &scene.url(), "resume b").ok();
    scene.run("tier c --to 0").ok();
    scene.run("activate c").ok();
    run(&other, &scene.url(), "why x").ok().prints("x/c");
    run(&other, &scene.url(), "token x").ok().prints("a-key");
    run(&other, &scene.url(), "logout b --yes").ok();
    assert_eq!(labels(&scene.run("list --json").ok()), ["c"]);
    run(&other, &scene.url(), "list openai").ok().says("there are accounts of x");
}

#[test]
fn a_host_without_the_key_makes_none_and_takes_that_of_another() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    let other = host();
    run(&other, &scene.url(), "list").code(5).says("the key of the vault").says("vault import");
    let input = ["--vault", &scene.url(), "login", "x", "--api-key"].map(str::to_owned);
    other.run_with(input, "planted\n").code(5);
    assert!(!other.key_file().exists());
    let key = scene.home.path().join("exported");
    scene.run(&format!("vault export --output {}", key.display())).ok();
    run(&other, &scene.url(), &format!("vault import --file {}", key.display())).ok();
    assert_eq!(labels(&run(&other, &scene.url(), "list --json").ok()), ["a"]);
}

#[test]
fn a_wrong_key_is_told_with_the_right_one_and_stores_nothing() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    let other = host();
    let (file, key) = other.new_key("wrong.key");
    let wrong = format!("--key-file {}", file.display());
    let right = scene.run("vault path --json").ok().json()["key_id"].as_str().unwrap().to_owned();
    for command in ["list", "status", "vault check", "serve --listen 127.0.0.1:0"] {
        let run = run(&other, &scene.url(), &format!("{wrong} {command}"));
        run.code(5).says(&right).says(&key.id().to_string());
    }
    run(&other, &scene.url(), &format!("vault import --file {}", file.display())).code(5).says(&right);
    assert!(!other.key_file().exists());
    assert_eq!(labels(&scene.run("list --json").ok()), ["a"]);
}

#[test]
fn the_first_vault_is_made_by_init_or_by_a_sign_in_and_only_once() {
    let Some(scene) = Scene::start() else { return };
    scene.run("list").ok().says("there is no vault in redis://");
    scene.run("vault check").code(3);
    assert!(!scene.home.key_file().exists());
    scene.run("vault init").ok().says("Made the vault redis://");
    scene.run("vault init").code(1).says("prefix");
    scene.run("vault init --force").code(2).says("prefix");
    scene.login("a");
    assert_eq!(labels(&scene.run("list --json").ok()), ["a"]);
}

#[test]
fn a_new_key_comes_by_a_backup_that_is_restored_under_another_prefix() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    scene.run("pause a").ok();
    scene.run("vault rotate-key").code(2).says("backup");
    scene.run("vault revoke-key 33eda49e8c74be7f").code(2).says("backup");
    let file = scene.home.path().join("backup");
    let backup = ["--vault", &scene.url(), "backup", file.to_str().unwrap()].map(str::to_owned);
    scene.home.run_with(backup, "correct horse\n").ok();
    let (key, new) = scene.home.new_key("new.key");
    let url = format!("{}?prefix=second", scene.url());
    let restore =
        ["--vault", &url, "--key-file", key.to_str().unwrap(), "restore", file.to_str().unwrap()];
    scene.home.run_with(restore, "correct horse\n").ok();
    let listed = run(&scene.home, &url, &format!("--key-file {} list --json", key.display())).ok();
    assert_eq!(labels(&listed), ["a"]);
    assert_eq!(listed.json()[0]["state"], "paused");
    run(&scene.home, &url, "list").code(5).says(&new.id().to_string());
    assert_ne!(
        VaultKey::from_base64(&std::fs::read_to_string(scene.home.key_file()).unwrap()).unwrap().id(),
        new.id()
    );
}

#[test]
fn history_and_clients_are_each_hosts_own_in_a_private_directory() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    let other = other_host(&scene.home);
    scene.run("client add laptop").ok();
    scene.run("client list").ok().prints("laptop");
    scene.run("history").ok().prints("signed in");
    let clients = run(&other, &scene.url(), "client list").ok();
    assert!(!clients.stdout.contains("laptop"), "{clients:?}");
    let history = run(&other, &scene.url(), "history").ok();
    assert!(!history.stdout.contains("signed in"), "{history:?}");
    let own = scene.run("vault path --json").ok().json()["directory"].as_str().unwrap().to_owned();
    assert!(own.contains("/.local/state/tower-credentials/engines/"), "{own}");
    let own = std::path::Path::new(&own);
    for directory in [own, own.parent().unwrap()] {
        let mode = std::fs::metadata(directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{directory:?}");
    }
    assert!(own.parent().unwrap().join("vault.clients.json").exists());
}

#[test]
fn a_list_that_is_watched_shows_what_another_host_does() {
    let Some(scene) = Scene::start() else { return };
    scene.run("vault init").ok();
    let watching = ["--vault", &scene.url(), "list", "--watch", "--json"].map(str::to_owned);
    let mut child =
        scene.home.command(watching).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut shows = |text: &str| {
        let shown = lines.by_ref().map_while(Result::ok).any(|line| line.contains(text));
        assert!(shown, "it has ended without {text:?}");
    };
    shows("[]");
    let other = other_host(&scene.home);
    login(&other, &scene.url(), "a");
    shows("\"label\":\"a\"");
    run(&other, &scene.url(), "pause a").ok();
    shows("\"state\":\"paused\"");
    login(&other, &scene.url(), "b");
    shows("\"label\":\"b\"");
    child.kill().unwrap();
    child.wait().unwrap();
}

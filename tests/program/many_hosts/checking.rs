//! `vault check`, `status` and `vault restored` over an engine.

use super::{Scene, labels, run};

#[test]
fn a_vault_that_is_well_has_no_problem_and_a_status_that_says_how_the_engine_is() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    scene.run("vault check").ok().prints("accounts: 1; opened: 1; pools: 1");
    scene.run("vault check --fix").ok().says("Nothing");
    let report = scene.run("vault check --json").ok().json();
    assert_eq!((&report["records"], &report["opened"]), (&1.into(), &1.into()));
    assert_eq!(report["engine"], scene.url());
    let status = scene.run("status").ok().prints(&scene.url()).prints("answered in");
    assert!(!status.stdout.contains("append-only"), "{status:?}");
    let json = scene.run("status --json").ok().json();
    assert_eq!(json["engine"]["url"], scene.url());
    assert!(
        json["engine"]["answered_in_ms"].is_u64() && json["troubles"].as_array().unwrap().is_empty()
    );
}

#[test]
fn an_engine_that_may_lose_secrets_is_told_and_refused_if_the_settings_say_so() {
    let Some(scene) = Scene::with(&["--appendonly", "no"]) else { return };
    scene.login("a");
    scene.run("status").ok().prints("set `appendonly yes`");
    scene.run("vault check").code(5).prints("warning").prints("set `appendonly yes`");
    let before = std::fs::read_to_string(scene.home.settings_file()).unwrap();
    scene.home.settings(&format!("{before}[vault]\nrequire_durable = true\n"));
    scene.run("list").code(5).says("appendonly yes");
}

#[test]
fn damaged_records_are_named_with_the_command_that_removes_them() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    scene.login("b");
    let records = "tower-credentials:{x/default}:records";
    let accounts = scene.run("list --json").ok().json();
    let [a, b] = [0, 1].map(|at| accounts[at]["id"].as_str().unwrap().to_owned());
    // One that can't be read at all, and one whose secret does not open.
    let record: String = scene.server.tell(&["HGET", records, &b]);
    let (before, after) = record.split_once("\"ciphertext\":\"").unwrap();
    let first = if after.starts_with('A') { "B" } else { "A" };
    let broken = format!("{before}\"ciphertext\":\"{first}{}", &after[1..]);
    scene.server.tell::<()>(&["HSET", records, &b, &broken]);
    scene.server.tell::<()>(&["HSET", records, &a, "planted"]);
    let report = scene.run("vault check").code(5).prints("accounts: 2; opened: 0");
    // Each is named once, although its key is looked at, too.
    assert!(report.stderr.contains("the vault has 2 problems"), "{report:#?}");
    for id in [&a, &b] {
        let removal = format!("logout {id} --yes");
        assert!(report.stdout.contains(&removal), "no {removal:?} in {report:#?}");
        scene.run(&removal).ok();
    }
    scene.run("vault check").ok().prints("accounts: 0");
}

#[test]
fn indexes_and_pools_that_are_missing_are_told_and_mended_by_fix() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    scene.server.tell::<()>(&["HDEL", "tower-credentials:{x/default}:labels", "a"]);
    scene.server.tell::<()>(&["DEL", "tower-credentials:pools"]);
    scene
        .run("vault check")
        .code(5)
        .prints("warning: tower-credentials:{x/default}:labels: it lacks \"a\"")
        .prints("warning: tower-credentials:{x/default}: it has accounts, and is not in")
        .prints("vault check --fix")
        .says("2 problems");
    let findings = || scene.run("vault check --json").json()["findings"].clone();
    assert_eq!(findings()[0]["kind"], "labels");
    assert_eq!(
        (&findings()[0]["severity"], &findings()[0]["is_fixed"]),
        (&"warning".into(), &false.into())
    );
    let fixed =
        scene.run("vault check --fix").ok().prints("fixed: tower-credentials:{x/default}:labels");
    assert!(!fixed.stdout.contains("--fix"), "{fixed:#?}");
    assert!(findings().as_array().unwrap().is_empty(), "{:#}", findings());
    assert_eq!(labels(&scene.run("list --json").ok()), ["a"]);
}

#[test]
fn a_key_that_is_not_the_vaults_is_a_note_and_one_of_another_type_is_an_error() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    scene.server.tell::<()>(&["SET", "tower-credentials:planted", "1"]);
    scene.run("vault check").ok().prints("note: tower-credentials:planted: it is no key of the vault");
    scene.server.tell::<()>(&["SET", "tower-credentials:{x/default}:notes", "1"]);
    scene
        .run("vault check --fix")
        .code(5)
        .prints("error: tower-credentials:{x/default}:notes: something else is kept")
        .says("Nothing of this is fixed");
    let other = super::host();
    let (file, _) = other.new_key("wrong.key");
    // It needs no key.
    run(&other, &scene.url(), &format!("--key-file {} vault check", file.display()))
        .code(5)
        .prints("error: tower-credentials:{x/default}:notes");
}

#[test]
fn what_was_restored_on_purpose_is_not_undone() {
    let Some(scene) = Scene::start() else { return };
    scene.run("vault restored --yes").code(3);
    scene.login("a");
    scene.run("vault restored").code(2).says("--yes");
    let epoch = || scene.server.tell::<String>(&["GET", "tower-credentials:{x/default}:epoch"]);
    let before = epoch();
    scene.run("vault restored --yes").ok();
    assert_ne!(epoch(), before);
    assert_eq!(labels(&scene.run("list --json").ok()), ["a"]);
    let directory = scene.home.path().join("v");
    run(&scene.home, directory.to_str().unwrap(), "vault restored --yes").code(2).says("directory");
}

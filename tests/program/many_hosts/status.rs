//! What `status` says of the engine.

use super::{PASSWORD, Scene, run};
use crate::cli::until;
use crate::server::Server;

/// An engine that serves a new replica at once.
const REPLICATES_AT_ONCE: [&str; 2] = ["--repl-diskless-sync-delay", "0"];

/// The line about the engine.
fn line(scene: &Scene) -> String {
    let run = scene.run("status").ok();
    run.stdout.lines().next().unwrap().to_owned()
}

#[test]
fn one_line_says_what_the_engine_is_and_that_all_was_read_now() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    let engine = scene.run("status --json").ok().json()["engine"].clone();
    let (name, version) = (engine["name"].as_str().unwrap(), engine["version"].as_str().unwrap());
    let line = line(&scene);
    let (before, took) = line.split_once("answered in ").unwrap();
    assert_eq!(before, format!("vault: {name} {version} at {}, primary, ", scene.url()));
    took.strip_suffix(" ms, read now").unwrap().parse::<f64>().unwrap();
    assert_eq!(engine["role"], "primary");
    assert_eq!(engine["address"], format!("127.0.0.1:{}", scene.server.port()));
    for number in ["clock_ahead_ms", "used_memory_bytes", "max_memory_bytes", "answered_in_us"] {
        assert!(engine[number].is_i64(), "{number}: {engine:#}");
    }
    for (field, value) in [
        ("is_loading", false),
        ("has_append_only_file", true),
        ("append_only_file_failed", false),
        ("dump_failed", false),
    ] {
        assert_eq!(engine[field], value, "{field}");
    }
    assert!(engine["started_at"].is_string() && engine["replicas"] == serde_json::json!([]));
}

#[test]
fn replicas_memory_and_a_dump_that_failed_are_told() {
    let Some(scene) = Scene::with(&REPLICATES_AT_ONCE) else { return };
    scene.login("a");
    // So it can't be renamed to that.
    std::fs::create_dir(scene.server.files().join("dump.rdb")).unwrap();
    scene.server.tell::<()>(&["BGSAVE"]);
    let info = |words: &str| scene.server.tell::<String>(&["INFO"]).contains(words).then_some(());
    until("the dump has failed", || info("rdb_last_bgsave_status:err"));
    assert!(line(&scene).ends_with("read now; its last dump failed"), "{}", line(&scene));
    std::fs::remove_dir(scene.server.files().join("dump.rdb")).unwrap();
    let port = scene.server.port().to_string();
    let Some(_replica) = Server::start(&["--replicaof", "127.0.0.1", &port]) else { return };
    until("the replica is there", || info("state=online"));
    assert!(line(&scene).contains("; 1 replica"), "{}", line(&scene));
    let engine = scene.run("status --json").ok().json()["engine"].clone();
    assert_eq!(engine["replicas"][0]["is_online"], true, "{engine:#}");
    // The engine takes no new account then, and is read all the same.
    scene.server.tell::<()>(&["CONFIG", "SET", "maxmemory", "1mb"]);
    assert!(line(&scene).contains(" % of its memory is used"), "{}", line(&scene));
}

#[test]
fn a_replica_is_told_with_the_way_out() {
    let Some(scene) = Scene::with(&REPLICATES_AT_ONCE) else { return };
    scene.login("a");
    let port = scene.server.port().to_string();
    let Some(replica) = Server::start(&["--replicaof", "127.0.0.1", &port]) else { return };
    let is_synced = || replica.tell::<String>(&["INFO"]).contains("master_link_status:up").then_some(());
    until("the replica has all", is_synced);
    // It can be read, as a vault in a directory that may not be written to.
    run(&scene.home, &replica.url(), "status")
        .ok()
        .prints(", replica, answered in")
        .prints("x/default: 1 of 1 can be used")
        .prints("try: give the address of the primary");
    run(&scene.home, &replica.url(), "pause a")
        .code(5)
        .says("is a read-only replica")
        .says("try: name the primary, or its Sentinels, in the engine's URL");
}

#[test]
fn an_engine_that_tells_this_user_little_is_shown_with_less() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    let rules = ["ACL", "SETUSER", "vault", "-info", "-config", "-scan"];
    scene.server.tell::<()>(&rules);
    let home = super::other_host(&scene.home).variable("TOWER_CREDENTIALS_VAULT_PASSWORD", PASSWORD);
    let status = run(&home, &scene.named(), "status").ok();
    let line = status.stdout.lines().next().unwrap();
    assert!(line.starts_with(&format!("vault: {}, answered in ", scene.url())), "{line}");
    let engine = run(&home, &scene.named(), "status --json").ok().json()["engine"].clone();
    assert!(engine.get("name").is_none() && engine.get("role").is_none(), "{engine:#}");
    run(&home, &scene.named(), "vault check").ok().prints("note").prints("allow SCAN");
}

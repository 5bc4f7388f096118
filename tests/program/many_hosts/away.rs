//! An engine that is away.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::{Scene, host, run};

#[test]
fn commands_fail_with_the_way_out_and_say_what_they_know() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    scene.server.kill();
    for command in [
        "list",
        "status",
        "show a",
        "why x",
        "pause a",
        "vault check",
        "vault restored --yes",
        "token x",
        "list --watch",
        "exec -- true",
    ] {
        let run = scene.run(command).code(5).says("can't be reached").says("start the engine");
        assert_eq!(run.stderr.matches("Connection refused").count(), 1, "{run:#?}");
        assert!(!run.stderr.contains("engine is away"), "{run:#?}");
    }
    // The log is whole for who asks for it.
    scene.run("-v list").code(5).says("the vault's engine is away");
    let input = ["--vault", &scene.url(), "login", "x", "--api-key"].map(str::to_owned);
    scene.home.run_with(input, "planted-key\n").code(5).says("can't be reached");
    let shown = scene.run("vault path --json").ok().says("can't be reached").json();
    assert!(shown.get("exists").is_none() && shown["engine"] == scene.url(), "{shown}");
    scene.run("history").ok().prints("signed in");
    scene.run("__complete show").ok();
    scene.server.start_again();
    scene.run("list").ok().prints("a");
}

#[test]
fn a_list_that_is_watched_says_once_that_it_is_away_and_once_that_it_is_back() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    let arguments = ["--vault", &scene.url(), "list", "--watch", "--json"].map(str::to_owned);
    let mut command = scene.home.command(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(shown.next().unwrap().contains("ready"));
    scene.server.kill();
    let away = said.next().unwrap();
    assert!(away.starts_with("warning: the vault's engine is away"), "{away}");
    scene.server.start_again();
    scene.run("pause a").ok();
    assert!(shown.next().unwrap().contains("paused"));
    child.kill().unwrap();
    let rest: Vec<_> = said.collect();
    assert!(rest.len() == 1 && rest[0].starts_with("warning: the vault's engine is back"), "{rest:?}");
    child.wait().unwrap();
}

#[test]
fn a_name_that_nobody_has_is_told() {
    run(&host(), "redis://nowhere.invalid", "list")
        .code(5)
        .says("nowhere.invalid:6379 can't be reached");
}

//! An engine that is away.

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
fn a_name_that_nobody_has_is_told() {
    run(&host(), "redis://nowhere.invalid", "list")
        .code(5)
        .says("nowhere.invalid:6379 can't be reached");
}

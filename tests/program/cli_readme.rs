//! The program in five lines, as the README shows them.
#![cfg(feature = "cli")]

use std::fs;

use crate::cli::{Home, Run};
use crate::support::{Canned, Server, Upstream};

const README: &str = include_str!("../../README.md");

/// The README's first block for a shell.
fn script() -> &'static str {
    let (_, rest) = README.split_once("```sh\n").expect("a block for a shell");
    rest.split_once("```").expect("its end").0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_in_five_lines_signs_in_tests_lists_and_hands_headers_to_curl() {
    let script = script();
    assert_eq!(script.lines().count(), 5, "{script}");
    let models = || Canned::ok().body(r#"{"data": [{"id": "a-model"}]}"#);
    let keys = ["sk-secret-work", "sk-secret-spare"];
    let upstream = keys.iter().fold(Upstream::new(), |upstream, key| upstream.answers(key, [models()]));
    let server = Server::start(&upstream).await;

    let home = Home::new();
    // The one thing that differs from what a reader types: the vendor's place is taken by a server here.
    home.settings(&format!("[providers.openai]\norigins = [{:?}]\n", server.origin()));
    let script = script.replace("https://api.openai.com", &server.origin());
    for (file, key) in [("work.key", keys[0]), ("spare.key", keys[1])] {
        fs::write(home.path().join(file), key).unwrap();
        home.secret(key);
    }
    // `$0` is the program.
    let script = format!("set -e\ncredentials() {{ \"$0\" \"$@\"; }}\n{script}");
    let output = tokio::task::spawn_blocking({
        let mut command = home.script("bash", &script);
        move || command.output().unwrap()
    });
    let run = Run::of(output.await.unwrap()).ok();
    home.check(&run.stdout);
    home.check(&run.stderr);

    run.says("Stored: openai/work")
        .says("Stored: openai/spare")
        .prints("openai/spare  200")
        .prints("works")
        .prints("ready")
        .prints("a-model");
    // Two tests of the accounts, and curl with the first of them.
    assert_eq!(upstream.tokens(), [keys[0], keys[1], keys[0]].map(str::to_owned));
}

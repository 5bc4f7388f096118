//! What the README and the tutorial tell people to type.
#![cfg(feature = "cli")]

use std::fs;

use crate::cli::{Home, Run};
use crate::support::{Canned, Server, Upstream};

const KEYS: [&str; 2] = ["sk-secret-work", "sk-secret-spare"];

/// An upstream that has one model, and a home with the two key files and a provider that is this upstream.
async fn rig(provider: &str) -> (Upstream, Server, Home) {
    let models = || Canned::ok().body(r#"{"data": [{"id": "a-model"}]}"#);
    let upstream = KEYS.iter().fold(Upstream::new(), |upstream, key| upstream.answers(key, [models()]));
    let server = Server::start(&upstream).await;
    let home = Home::new();
    home.settings(&provider.replace("ORIGIN", &server.origin()));
    for (file, key) in [("work.key", KEYS[0]), ("spare.key", KEYS[1])] {
        fs::write(home.path().join(file), key).unwrap();
        home.secret(key);
    }
    (upstream, server, home)
}

/// Runs a script to its end, in which `credentials` is the program. The first failure ends it.
async fn bash(home: &Home, script: &str) -> Run {
    // `$0` is the program.
    let script = format!("set -e\ncredentials() {{ \"$0\" \"$@\"; }}\n{script}");
    let mut command = home.script("bash", &script);
    let run = Run::of(tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap());
    home.check(&run.stdout);
    home.check(&run.stderr);
    run.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_in_five_lines_signs_in_tests_lists_and_hands_headers_to_curl() {
    let (_, rest) = include_str!("../../README.md").split_once("```sh\n").expect("a block for a shell");
    let (script, _) = rest.split_once("```").expect("its end");
    assert_eq!(script.lines().count(), 5, "{script}");
    // What differs from what a reader types: the vendor's place is taken by a server here.
    let (upstream, server, home) = rig("[providers.openai]\norigins = [\"ORIGIN\"]\n").await;
    let script = script.replace("https://api.openai.com", &server.origin());

    bash(&home, &script)
        .await
        .says("Stored: openai/work")
        .says("Stored: openai/spare")
        .prints("openai/spare  200")
        .prints("works")
        .prints("ready")
        .prints("a-model");
    // One test of each account, and curl with the first one.
    let mut tokens = upstream.tokens();
    assert_eq!(tokens.pop().as_deref(), Some(KEYS[0]));
    tokens.sort();
    assert_eq!(tokens, [KEYS[1], KEYS[0]].map(str::to_owned));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_tool_takes_all_accounts_at_once() {
    let readme = include_str!("../../README.md");
    let script =
        readme.split("```").find_map(|block| block.strip_prefix("sh\ncredentials exec")).unwrap();
    let (upstream, _server, home) = rig("[providers.openai]\norigins = [\"ORIGIN\"]\n").await;
    for (label, key) in [("work", KEYS[0]), ("spare", KEYS[1])] {
        home.add("openai", label, key).await;
    }
    // In place of the real one: it reads the same variables.
    let ask = "cat > llm <<'END'\n#!/bin/sh\n\
               exec curl -sS -H \"authorization: Bearer $OPENAI_API_KEY\" \"$OPENAI_BASE_URL/models\"\nEND\n\
               chmod +x llm; PATH=\"$PWD:$PATH\"\n";
    bash(&home, &format!("{ask}credentials exec{script}")).await.prints("a-model");
    assert_eq!(upstream.tokens(), [KEYS[0].to_owned()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn why_and_history_print_what_the_readme_shows_after_its_five_lines() {
    let readme = include_str!("../../README.md");
    let block = |start: &str, begin: &str| {
        let (_, rest) = readme.split_once(start).expect("a block");
        format!("{begin}{}", rest.split_once("```").expect("its end").0)
    };
    let (_upstream, server, home) = rig("[providers.openai]\norigins = [\"ORIGIN\"]\n").await;
    let script = block("```sh\n", "").replace("https://api.openai.com", &server.origin());
    bash(&home, &script).await;

    let shown = block("```text\n$ credentials why", "$ credentials why");
    // When it happened, nobody knows before.
    let without_times = |text: &str| {
        let is_time = |word: &str| word.len() == 20 && word.ends_with('Z') && word.contains('T');
        let line = |line: &str| match line.split_once("  ") {
            Some((time, rest)) if is_time(time) => format!("TIME  {rest}\n"),
            _ => format!("{line}\n"),
        };
        text.lines().map(line).collect::<String>()
    };
    let mut printed = String::new();
    for command in shown.lines().filter_map(|line| line.strip_prefix("$ ")) {
        printed.push_str(&format!("$ {command}\n{}", bash(&home, command).await.stdout));
    }
    assert_eq!(without_times(&printed), without_times(&shown));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_tutorial_works() {
    let tutorial = include_str!("../../specs/tutorial.md");
    let (_, rest) = tutorial.split_once("```toml\n").expect("a settings file");
    let (settings, _) = rest.split_once("```").expect("its end");
    let place = "http://127.0.0.1:34803";
    let (_, server, home) = rig(&settings.replace(place, "ORIGIN")).await;
    fs::create_dir(home.path().join(".codex")).unwrap();
    fs::write(home.path().join(".codex/auth.json"), r#"{"OPENAI_API_KEY": "sk-secret-codex"}"#).unwrap();
    let script: String = tutorial
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .map(|line| format!("{line}\n"))
        .collect();
    let run = bash(&home, &script.replace(place, &server.origin())).await;
    run.says("acme/spare is paused").prints("acme/work").prints("a-model");
    assert!(home.path().join("accounts.backup").exists());
}

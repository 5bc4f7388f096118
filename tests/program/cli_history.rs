//! `credentials history`: what has happened to the accounts, for a person and for a script.
#![cfg(all(unix, feature = "cli"))]

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::cli::{Home, PATIENCE, Run};
use crate::support::{Canned, Server, Upstream};

/// What a run prints about each entry, without its time.
fn told(run: &Run) -> Vec<String> {
    let line = |line: &str| {
        let (time, rest) = line.split_once("  ").unwrap();
        assert_eq!((time.len(), &time[10..11], &time[19..]), (20, "T", "Z"), "{line}");
        rest.to_owned()
    };
    run.stdout.lines().map(line).collect()
}

fn entries(run: &Run) -> Vec<Value> {
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Everything in the history's files.
fn text(home: &Home) -> String {
    let entries = fs::read_dir(home.vault_directory().join("history")).unwrap();
    entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn what_a_person_does_to_accounts_is_recorded_without_a_secret() {
    let home = Home::new();
    home.secret("sk-secret-1");
    home.run(["history"]).ok().says("There is no vault in");
    home.run_with(["login", "openai", "--api-key", "--label", "work"], "sk-secret-1\n").ok();
    home.run_with(["login", "openai", "--api-key", "--label", "work"], "sk-secret-1\n").ok();
    home.run_with(["login", "openai", "--api-key", "--label", "spare"], "sk-secret-2\n").ok();
    home.run(["pause", "work"]).ok();
    home.run(["pause", "work"]).ok().says("was paused already");
    home.run(["resume", "work"]).ok();
    home.run(["reset", "openai", "--all"]).ok();
    home.run(["move", "work", "--to", "2"]).ok();
    home.run(["use", "work"]).ok();
    home.run(["tier", "work", "--to", "3"]).ok();
    home.run(["tier", "work", "--usual"]).ok();
    home.run(["rename", "work", "home"]).ok();
    let all = [
        "openai/work  signed in",
        "openai/spare  signed in",
        "openai/work  paused",
        "openai/work  resumed",
        "openai/work  reset",
        "openai/spare  reset",
        "openai/work  moved to place 2",
        "openai/work  moved to place 1",
        "openai/work  moved to tier 3",
        "openai/work  moved to the default tier of its kind",
        "openai/home  renamed from work",
    ];
    assert_eq!(told(&home.run(["history"]).ok()), all);
    let of_one: Vec<_> = all.into_iter().filter(|line| !line.starts_with("openai/spare")).collect();
    let json = entries(&home.run(["history", "openai/home", "--json"]).ok());
    let id = json[0]["account"]["id"].as_str().unwrap();
    for name in ["home", "work", "openai/home", "openai/default/home", &id[..6], id] {
        assert_eq!(told(&home.run(["history", name]).ok()), of_one, "{name}");
    }
    assert_eq!(told(&home.run(["history", "openai", "-n", "default"]).ok()), all);
    home.run(["history", "-n", "other"]).ok().says("Nothing is recorded yet");
    home.run(["history", "nobody"]).ok().says("Nothing about nobody is recorded");
    assert_eq!(json[0]["event"], "signed_in");
    assert!(json[0]["at"].as_str().unwrap().ends_with('Z') && json[0]["process"].is_u64());

    home.run(["logout", "home", "--yes"]).ok();
    let left = told(&home.run(["history"]).ok());
    let gone = format!("openai/{}  removed", &id[..8]);
    assert_eq!(left, ["openai/spare  signed in", "openai/spare  reset", gone.as_str()]);
    home.check(&text(&home));
    home.run(["vault", "check"]).ok();
}

/// A home whose provider `example` is at an upstream with these accounts.
async fn example(upstream: &Upstream, labels: &[&str]) -> (Home, Server) {
    let server = Server::start(upstream).await;
    let home = Home::new();
    home.settings(&format!(
        "[providers.example]\ntype = \"generic\"\norigins = [{:?}]\nmodels_shape = \"openai\"\n",
        server.origin()
    ));
    for label in labels {
        home.add("example", label, &format!("sk-secret-{label}")).await;
    }
    (home, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_vendors_answer_is_recorded_and_read_without_the_vaults_key() {
    let list = || Canned::ok().body(r#"{"data": []}"#);
    let upstream = Upstream::new()
        .answers("sk-secret-limited", [Canned::limited(600)])
        .answers("sk-secret-good", [list()]);
    let (home, _server) = example(&upstream, &["limited", "good"]).await;
    home.run(["models", "example"]).ok();
    let expected = [
        "example/limited  answered 429",
        "example/limited  cooling down for 10m",
        "example/limited  rotated to example/good: limited",
        "example/good  answered 200",
    ];
    fs::remove_file(home.key_file()).unwrap();
    let told = told(&home.run(["history"]).ok());
    // A stated time is spread a little.
    assert!(
        told.len() == 4 && told.iter().zip(expected).all(|(told, expected)| told.starts_with(expected)),
        "{told:?}"
    );
    let json = entries(&home.run(["history", "--json"]).ok());
    assert_eq!(json[1]["reason"], "limited");
    assert_eq!(
        (&json[2]["event"], &json[2]["request"], &json[2]["attempt"]),
        (&"rotated".into(), &1.into(), &2.into())
    );
    assert_eq!(json[2]["reason"], "limited");
    home.check(&text(&home));
}

/// No other account was asked in its place, and none goes first: the program that was refused has ended.
#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_of_a_request_for_one_account_alone_says_so() {
    for status in [401, 403] {
        let upstream = Upstream::new().answers("sk-secret-bad", [Canned::status(status)]);
        let (home, _server) = example(&upstream, &["bad", "good"]).await;
        home.run(["test", "example/bad"]).code(4);
        let expected = [
            format!("example/bad  answered {status}"),
            "example/bad  refused, perhaps because of the request; this account alone was asked".into(),
        ];
        assert_eq!(told(&home.run(["history"]).ok()), expected);
        let json = entries(&home.run(["history", "--json"]).ok());
        assert_eq!((&json[1]["event"], &json[1]["pinned"]), (&"suspected".into(), &true.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_switched_off() {
    let (home, _server) = example(&Upstream::new(), &["a"]).await;
    let settings = fs::read_to_string(home.settings_file()).unwrap();
    home.settings(&format!("vault.history = false\n{settings}"));
    home.run(["pause", "a"]).ok();
    home.run(["models", "example"]);
    assert!(!home.vault_directory().join("history").exists());
    home.run(["history"]).ok().says("`vault.history` is false in");
    home.settings(&format!("vault.history = 1\n{settings}"));
    home.run(["history"]).code(2).says("`vault.history` must be true or false");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_followed_until_ctrl_c_which_ends_it_well() {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    home.run(["pause", "work"]).ok();
    let mut command = home.command(["history", "work", "--follow"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        line.expect("a line").unwrap().unwrap()
    };
    assert!(next().await.ends_with("openai/work  paused"), "what was before comes first");
    home.run(["resume", "work"]).ok();
    assert!(next().await.ends_with("openai/work  resumed"));
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
}

//! `credentials list --watch`: the list, kept up to date.
#![cfg(all(unix, feature = "cli"))]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cli::{Home, end_of};

async fn home() -> Home {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    home
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_gets_a_line_of_json_for_each_change_until_ctrl_c() {
    let home = home().await;
    let mut command = home.command(["list", "--watch", "--json"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || {
        let line = lines.next().unwrap().unwrap();
        home.check(&line);
        serde_json::from_str::<Value>(&line).unwrap()
    };
    assert_eq!(next()[0]["state"], "ready");
    home.run(["pause", "openai/work"]).ok();
    assert_eq!(next()[0]["state"], "paused");
    home.add("anthropic", "new", "sk-secret-2").await;
    assert_eq!(next().as_array().unwrap().len(), 2);
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_settings_are_read_while_it_goes_on_and_wrong_ones_are_said_once() {
    let home = home().await;
    let mut command = home.command(["list", "--watch", "--json"]);
    let pipes = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()[0].get("not_used"), None);
    home.settings("providers.openai.mode = \"subscription\"\n");
    assert_eq!(next()[0]["not_used"], "mode subscription takes only sign-ins");
    home.settings("providers.openai.mode = \"none\"\n");
    let warning = said.next().unwrap().unwrap();
    assert!(warning.starts_with("warning: ") && warning.contains("mode"), "{warning}");
    // It goes on with those before.
    home.run(["list"]).code(2);
    home.settings("");
    let shown = next();
    assert_eq!((&shown[0]["state"], shown[0].get("not_used")), (&"ready".into(), None));
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let rest: Vec<_> = said.map(Result::unwrap).collect();
    assert!(!rest.iter().any(|line| line.contains("warning: ")), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_enough_ends_it_quietly() {
    let home = home().await;
    let script = "\"$0\" list --watch --json | head -1; echo ${PIPESTATUS[0]}";
    let mut shell =
        home.script("bash", script).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    // The next line finds nobody.
    let mut reader = BufReader::new(shell.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    home.run(["pause", "openai/work"]).ok();
    line.clear();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "0\n");
    assert!(shell.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_the_table_is_drawn_again_in_its_place() {
    let home = home().await;
    let mut terminal = home.terminal_of(100, ["list", "--watch"]);
    terminal.exp_string("ready").unwrap();
    home.run(["pause", "openai/work"]).ok();
    let between = terminal.exp_string("paused").unwrap();
    // Up by the lines of the table, each of which is cleared.
    assert!(between.contains("\u{1b}[1A") || between.contains("\u{1b}[2A"), "{between:?}");
    terminal.send_control('c').unwrap();
    let (shown, code) = end_of(terminal);
    assert_eq!(code, 0, "{shown}");
}

#[test]
fn nothing_is_made_where_there_is_nothing() {
    let home = Home::new();
    let mut terminal = home.terminal(["list", "--watch"]);
    terminal.exp_string("There are no accounts").unwrap();
    terminal.send_control('c').unwrap();
    assert_eq!(end_of(terminal).1, 0);
    assert!(home.path().read_dir().unwrap().next().is_none(), "something was made");
}

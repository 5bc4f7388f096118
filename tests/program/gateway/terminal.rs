//! `credentials exec` in a terminal: signals of its keys, and job control.

use rexpect::session::spawn_bash;

use super::process::{home, upstream};
use crate::cli::{PATIENCE, end_of};

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_reaches_the_command_once() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let script = "n=0; trap 'n=$((n+1))' INT; echo ready; \
                  while [ $n -eq 0 ]; do sleep 0.05; done; sleep 0.5; echo count=$n; exit 3";
    let mut terminal = home.terminal(["exec", "--", "bash", "-c", script]);
    terminal.exp_string("ready").unwrap();
    terminal.send_control('c').unwrap();
    let (shown, code) = end_of(terminal);
    assert!(shown.contains("count=1"), "{shown}");
    assert_eq!(code, 3, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_stopped_goes_on_in_the_foreground() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let mut shell = spawn_bash(Some(PATIENCE.as_millis() as u64)).unwrap();
    let program = env!("CARGO_BIN_EXE_credentials");
    let go = home.path().join("go");
    let ask = "curl -sS -H \"authorization: Bearer $OPENAI_API_KEY\" $OPENAI_BASE_URL/models";
    let script = home.path().join("tool");
    std::fs::write(
        &script,
        format!("echo rea''dy; while [ ! -e '{}' ]; do sleep 0.05; done; {ask}\n", go.display()),
    )
    .unwrap();
    let command =
        format!("HOME='{}' {program} exec -- sh '{}'", home.path().display(), script.display());
    shell.send_line("set -m").unwrap();
    shell.send_line(&command).unwrap();
    shell.exp_string("ready").unwrap();
    shell.send_control('z').unwrap();
    shell.exp_string("Stopped").unwrap();
    std::fs::write(&go, "").unwrap();
    shell.send_line("fg").unwrap();
    shell.exp_string("GET /v1/models Bearer good-1-key").unwrap();
    shell.send_line("exit").unwrap();
    shell.exp_eof().unwrap();
}

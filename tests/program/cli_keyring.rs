//! A wait for another program has a bound, or the program says what it waits for.
#![cfg(all(target_os = "linux", feature = "cli", feature = "keyring"))]

use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::cli::{Home, PATIENCE};

/// A session bus that takes connections and never responds.
#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_that_does_not_respond_is_named_and_given_up_with_the_other_ways() {
    let mut home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    let bus = home.path().join("bus");
    let listener = UnixListener::bind(&bus).unwrap();
    std::thread::spawn(move || {
        // Kept open, and not read.
        let _connections: Vec<_> = listener.incoming().take(16).collect();
        std::thread::park();
    });
    home.set("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", bus.display()));
    let began = Instant::now();
    let mut command = home.command(["--keyring", "list"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut next = async || tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
    let line = next().await.unwrap();
    assert!(line.contains("waiting for the desktop's keyring, for 10 s at most"), "{line}");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let mut said = String::new();
    while let Some(line) = next().await {
        said.push_str(&line);
    }
    assert!(said.contains("has not answered within 10 s"), "{said}");
    assert!(said.contains("TOWER_CREDENTIALS_VAULT_KEY, in a key file, or by a command"), "{said}");
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(5));
    assert!(began.elapsed() < Duration::from_secs(14), "{:?}", began.elapsed());
}

/// It may be asking its user for something, so there is no bound.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_command_that_does_not_end_is_named() {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    let mut command = home.command(["--key-command", "sleep 600", "list"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(line.contains("waiting for the key that the command sleep is to print"), "{line}");
    let pid = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(143));
}

/// As over ssh, or in a service.
#[tokio::test]
async fn without_a_session_bus_the_error_says_so_and_names_the_other_ways() {
    let home = Home::new().variable("XDG_RUNTIME_DIR", "/nonexistent");
    home.add("openai", "work", "sk-secret-1").await;
    let run = home.run(["--keyring", "list"]).code(5);
    let run = run.says("can't be reached: there is no D-Bus session here").says("--key-file FILE");
    assert_eq!(run.stderr.matches("the keyring's entry").count(), 1, "{run:#?}");
    assert!(!run.stderr.contains("zbus"), "{run:#?}");
}

//! A program that is told to end does so, whatever the vault's key is waited for.
#![cfg(all(unix, feature = "cli"))]

mod cli;

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cli::{Home, PATIENCE, until};

async fn with_account() -> Home {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    home
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn terminate(child: &Child) {
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
}

/// How it ends; `None` where it doesn't, and then it is killed.
fn end_of(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_a_key_command_has_started_holds_nobody() {
    let home = with_account().await;
    let (started, hold) = (home.path().join("started"), home.path().join("hold"));
    assert!(Command::new("mkfifo").arg(&hold).status().unwrap().success());
    // The shell waits for `cat`, which has its standard output too.
    let script = format!("sh -c \"echo > '{}'; cat '{}'; true\"", started.display(), hold.display());
    let mut child = start(&mut home.command(["--key-command", &script, "list"]));
    until("the command starts", || started.exists().then_some(()));
    terminate(&child);
    let status = end_of(&mut child);
    // Opened for both, it waits for nobody; closed, it is at its end.
    drop(std::fs::File::options().read(true).write(true).open(&hold).unwrap());
    assert_eq!(status.expect("it has to be killed").code(), Some(143));
}

#[cfg(all(target_os = "linux", feature = "keyring"))]
#[tokio::test]
async fn a_keyring_that_does_not_answer_holds_nobody() {
    let mut home = with_account().await;
    let bus = home.path().join("bus");
    let listener = std::os::unix::net::UnixListener::bind(&bus).unwrap();
    listener.set_nonblocking(true).unwrap();
    home.set("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", bus.display()));
    let mut child = start(&mut home.command(["--keyring", "list"]));
    let _asked = until("the keyring is asked", || listener.accept().ok());
    terminate(&child);
    let status = end_of(&mut child);
    assert_eq!(status.expect("it has to be killed").code(), Some(143));
}

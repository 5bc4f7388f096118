//! A signal ends the program even while it waits for the vault's key.
#![cfg(all(unix, feature = "cli"))]

use std::future::Future;
use std::process::{Command, ExitStatus, Stdio};

use tokio::process::Child;

use crate::cli::{Home, PATIENCE};

async fn with_account() -> Home {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    home
}

fn start(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap()
}

fn terminate(child: &Child) {
    assert!(Command::new("kill").arg(child.id().unwrap().to_string()).status().unwrap().success());
}

async fn in_time<T>(what: &str, event: impl Future<Output = T>) -> T {
    let event = tokio::time::timeout(PATIENCE, event).await;
    event.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// Returns how it ends; `None` if it doesn't, and then it is killed.
async fn end_of(child: &mut Child) -> Option<ExitStatus> {
    match tokio::time::timeout(PATIENCE, child.wait()).await {
        Ok(status) => Some(status.unwrap()),
        Err(_) => {
            child.kill().await.unwrap();
            None
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_a_key_command_has_started_delays_no_signal() {
    use tokio::io::AsyncReadExt;
    let home = with_account().await;
    let (started, hold) = (home.path().join("started"), home.path().join("hold"));
    assert!(Command::new("mkfifo").args([&started, &hold]).status().unwrap().success());
    // Opened for both, it is not at its end before anybody writes.
    let mut start_of_it =
        tokio::net::unix::pipe::OpenOptions::new().read_write(true).open_receiver(&started).unwrap();
    // The shell waits for `cat`, which has its standard output too.
    let script = format!("sh -c \"echo > '{}'; cat '{}'; true\"", started.display(), hold.display());
    let mut child = start(home.command(["--key-command", &script, "list"]));
    in_time("the command starts", start_of_it.read_u8()).await.unwrap();
    terminate(&child);
    let status = end_of(&mut child).await;
    // Opened for both, it waits for nobody; closed, it is at its end.
    drop(std::fs::File::options().read(true).write(true).open(&hold).unwrap());
    assert_eq!(status.expect("it has to be killed").code(), Some(143));
}

#[cfg(all(target_os = "linux", feature = "keyring"))]
#[tokio::test]
async fn a_keyring_that_does_not_respond_delays_no_signal() {
    let mut home = with_account().await;
    let bus = home.path().join("bus");
    let listener = tokio::net::UnixListener::bind(&bus).unwrap();
    home.set("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", bus.display()));
    let mut child = start(home.command(["--keyring", "list"]));
    let _asked = in_time("the keyring is asked", listener.accept()).await.unwrap();
    terminate(&child);
    let status = end_of(&mut child).await;
    assert_eq!(status.expect("it has to be killed").code(), Some(143));
}

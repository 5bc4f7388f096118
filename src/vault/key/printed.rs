//! A command that prints a secret.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::future::RunningCommand;
#[cfg(all(feature = "redis", feature = "setup"))]
use crate::secret::SecretString;
use crate::vault::VaultError;

/// What a command is to print.
pub(super) struct Expected<T> {
    /// In one word.
    pub(super) name: &'static str,
    pub(super) words: &'static str,
    /// The maximum number of bytes to read: more than it and white space take.
    pub(super) most: usize,
    pub(super) parse: fn(&str) -> Option<T>,
}

/// Runs a command that prints a password on its first line. If nobody waits for it any more, it is killed.
///
/// # Errors
/// [`VaultError::Layer`] if the command fails or prints no password.
#[cfg(all(feature = "redis", feature = "setup"))]
pub(crate) async fn password(words: &[String]) -> Result<SecretString, VaultError> {
    let parse = |text: &str| {
        let line = text.lines().next().filter(|line| !line.is_empty())?;
        Some(SecretString::from(line.to_owned()))
    };
    let expected = Expected { name: "password", words: "a line with the password", most: 4096, parse };
    let [program, arguments @ ..] = words else {
        return Err(VaultError::Layer("no command prints the password".into()));
    };
    let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
    let (receiver, _running) = start(program.as_ref(), &arguments, expected)?;
    match receiver.await {
        Ok(Err(VaultError::Key(reason))) => Err(VaultError::Layer(reason.into())),
        Ok(printed) => printed,
        Err(_) => Err(VaultError::Layer("the command's thread is gone".into())),
    }
}

/// Starts a command. Errors, also those that are received, are [`VaultError::Key`].
pub(super) fn start<T: Send + 'static>(
    program: &OsStr,
    arguments: &[OsString],
    expected: Expected<T>,
) -> Result<(oneshot::Receiver<Result<T, VaultError>>, RunningCommand), VaultError> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let running = RunningCommand::default();
    let child = running.0.clone();
    let (sender, receiver) = oneshot::channel();
    // If nobody waits for the command any more, only the process that was started here is killed. Its own children (a
    // shell's, a pinentry) may keep the pipe open for as long as they like, so it is read on a thread for which no runtime
    // waits at its end. To kill all of them they would have to be a process group of their own, and then the terminal
    // would stop them (SIGTTIN) when they ask for a passphrase.
    let thread = thread::Builder::new().name("key command".to_owned());
    let (ends, ended) = mpsc::channel::<()>();
    let name = expected.name;
    let started = thread.spawn(move || {
        let _ends = ends;
        drop(sender.send(printed(command, &child, expected)));
    });
    match started {
        Ok(_) => {
            say_if_slow(program.to_owned(), name, ended, Arc::downgrade(&running.0));
            Ok((receiver, running))
        }
        Err(error) => {
            let program = program.display();
            let reason = format!("the command {program} can't be run: no thread for it ({error})");
            Err(VaultError::Key(reason))
        }
    }
}

/// The time after which a warning says that a command has not ended.
const SILENCE: Duration = Duration::from_secs(10);

/// Logs a warning if a command takes long. There is no time limit, since it may be asking for a passphrase.
fn say_if_slow(
    program: OsString,
    what: &'static str,
    ended: mpsc::Receiver<()>,
    running: Weak<Mutex<Option<Child>>>,
) {
    let thread = thread::Builder::new().name("key command's time".to_owned());
    // Without a thread there is no warning.
    let _ = thread.spawn(move || {
        let is_slow = ended.recv_timeout(SILENCE) == Err(mpsc::RecvTimeoutError::Timeout);
        // The second reference belongs to the future that waits for it.
        if is_slow && running.strong_count() > 1 {
            let program = program.display();
            tracing::warn!("waiting for the {what} that the command {program} is to print");
        }
    });
}

/// Runs the command to its end and parses what it prints.
fn printed<T>(
    mut command: Command,
    running: &Arc<Mutex<Option<Child>>>,
    expected: Expected<T>,
) -> Result<T, VaultError> {
    let program = command.get_program().to_owned();
    let failed = |what: fmt::Arguments<'_>| {
        let program = program.display();
        VaultError::Key(format!("the command {program} {what}; run it by hand to see what it prints"))
    };
    let could_not = |error: io::Error| failed(format_args!("can't be run ({error})"));
    let lock = || running.lock().unwrap_or_else(PoisonError::into_inner);
    let output = {
        let mut slot = lock();
        let child = slot.insert(command.spawn().map_err(could_not)?);
        if Arc::strong_count(running) == 1 {
            let _ = child.kill();
        }
        child.stdout.take()
    };
    let mut text = Zeroizing::new(Vec::with_capacity(expected.most));
    if let Some(output) = output {
        output.take(expected.most as u64).read_to_end(&mut text).map_err(could_not)?;
    }
    let status = lock().as_mut().map(Child::wait).transpose().map_err(could_not)?;
    // A command that prints too much has probably failed for that reason.
    let is_too_long = text.len() == expected.most;
    if let Some(status) = status.filter(|status| !status.success() && !is_too_long) {
        return Err(failed(format_args!("has failed ({status})")));
    }
    let parsed = str::from_utf8(&text).ok().and_then(expected.parse);
    parsed.ok_or_else(|| failed(format_args!("has printed something that is not {}", expected.words)))
}

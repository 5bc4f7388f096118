//! A key that a command prints.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::future::{KeyFuture, RunningCommand};
use super::service::{KeyRequest, key_service};
use super::vault_key::{EXPECTED, VaultKey};
use crate::vault::VaultError;

/// A key that a command prints in base64, such as a password manager. Never makes a key.
///
/// The command gets no input, but may ask on its terminal; it shares this program's standard error. Its arguments are
/// visible to every user of the machine, so they must hold no secret.
///
/// ```no_run
/// use tower_credentials::vault::key::{CommandKey, KeyServiceExt};
///
/// # async fn run() -> Result<(), tower_credentials::vault::VaultError> {
/// let key = CommandKey::new("pass").args(["show", "example/vault-key"]).load().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CommandKey {
    program: OsString,
    arguments: Vec<OsString>,
}

impl CommandKey {
    /// Returns the place of the key that `program` prints, without arguments. The program is looked up as by a shell, but no
    /// shell runs it.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), arguments: Vec::new() }
    }

    /// Appends these arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }
}

key_service!(CommandKey);

impl CommandKey {
    pub(crate) fn respond(&self, request: KeyRequest) -> KeyFuture {
        if request == KeyRequest::LoadPrevious {
            return KeyFuture::known(Ok(None));
        }
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let running = RunningCommand::default();
        let child = running.0.clone();
        let (sender, receiver) = oneshot::channel();
        // If nobody waits for the command any more, only the process that was started here is killed. Its own children (a
        // shell's, a pinentry) may keep the pipe open for as long as they like, so it is read on a thread for which no runtime
        // waits at its end. To kill all of them they would have to be a process group of their own, and then the terminal
        // would stop them (SIGTTIN) when they ask for a passphrase.
        let thread = thread::Builder::new().name("key command".to_owned());
        let (ends, ended) = mpsc::channel::<()>();
        let started = thread.spawn(move || {
            let _ends = ends;
            drop(sender.send(printed(command, &child).map(Some)));
        });
        match started {
            Ok(_) => {
                say_if_slow(self.program.clone(), ended, Arc::downgrade(&running.0));
                KeyFuture::running(receiver, running)
            }
            Err(error) => {
                let program = self.program.display();
                let reason = format!("the command {program} can't be run: no thread for it ({error})");
                KeyFuture::known(Err(VaultError::Key(reason)))
            }
        }
    }
}

/// The time after which a warning says that a command has not ended.
const SILENCE: Duration = Duration::from_secs(10);

/// Logs a warning if a command takes long. There is no time limit, since it may be asking for a passphrase.
fn say_if_slow(program: OsString, ended: mpsc::Receiver<()>, running: Weak<Mutex<Option<Child>>>) {
    let thread = thread::Builder::new().name("key command's time".to_owned());
    // Without a thread there is no warning.
    let _ = thread.spawn(move || {
        let is_slow = ended.recv_timeout(SILENCE) == Err(mpsc::RecvTimeoutError::Timeout);
        // The second reference belongs to the future that waits for the key.
        if is_slow && running.strong_count() > 1 {
            let program = program.display();
            tracing::warn!("waiting for the key that the command {program} is to print");
        }
    });
}

/// The maximum number of bytes to read: more than a key and white space take.
const MAX_OUTPUT: usize = 256;

/// Runs the command to its end and parses the key that it prints.
fn printed(mut command: Command, running: &Arc<Mutex<Option<Child>>>) -> Result<VaultKey, VaultError> {
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
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_OUTPUT));
    if let Some(output) = output {
        output.take(MAX_OUTPUT as u64).read_to_end(&mut text).map_err(could_not)?;
    }
    let status = lock().as_mut().map(Child::wait).transpose().map_err(could_not)?;
    // A command that prints too much has probably failed for that reason.
    let is_too_long = text.len() == MAX_OUTPUT;
    if let Some(status) = status.filter(|status| !status.success() && !is_too_long) {
        return Err(failed(format_args!("has failed ({status})")));
    }
    let key = str::from_utf8(&text).ok().and_then(VaultKey::decode);
    key.ok_or_else(|| failed(format_args!("has printed something that is not {EXPECTED}")))
}

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

/// A key that a command prints, in base64: a password manager's, say. Makes none.
///
/// The command gets no input, but may ask its terminal; what it says on its standard error is shown where this
/// program's is. Its arguments are visible to every user of the machine, so no secret belongs there.
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
    /// The key that `program` prints, without arguments. It is looked for as a shell would, but no shell
    /// runs it.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), arguments: Vec::new() }
    }

    /// With these arguments after those that there are.
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
        // Of a command that was given up only the process that was started is killed. One that this one has
        // started (a shell's, a pinentry) may hold the pipe for as long as it likes, so the thread that reads it
        // is one that no runtime waits for at its end. To kill all of them they had to be a process group of
        // their own, and then the terminal would stop them (SIGTTIN) where they ask it for a passphrase.
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

/// After how long a person is told that a command is waited for.
const SILENCE: Duration = Duration::from_secs(10);

/// Tells a person of a command that takes long. It has no bound: it may be asking for a passphrase.
fn say_if_slow(program: OsString, ended: mpsc::Receiver<()>, running: Weak<Mutex<Option<Child>>>) {
    let thread = thread::Builder::new().name("key command's time".to_owned());
    // Without a thread nobody is told.
    let _ = thread.spawn(move || {
        let is_slow = ended.recv_timeout(SILENCE) == Err(mpsc::RecvTimeoutError::Timeout);
        // Of two, one is of whoever waits for the key.
        if is_slow && running.strong_count() > 1 {
            let program = program.display();
            tracing::warn!("waiting for the key that the command {program} is to print");
        }
    });
}

/// More than a key and white space take; of what is longer no more is read.
const MAX_OUTPUT: usize = 256;

/// Runs the command to its end and takes the key that it prints.
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
    // One that prints too much is likely to have failed for that.
    let is_too_long = text.len() == MAX_OUTPUT;
    if let Some(status) = status.filter(|status| !status.success() && !is_too_long) {
        return Err(failed(format_args!("has failed ({status})")));
    }
    let key = str::from_utf8(&text).ok().and_then(VaultKey::decode);
    key.ok_or_else(|| failed(format_args!("has printed something that is not {EXPECTED}")))
}

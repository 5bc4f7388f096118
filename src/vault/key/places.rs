//! The places for keys that come with this crate: a variable, a file, a command.

use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use zeroize::Zeroizing;

use super::change::{self, KeptKey, Rotation, Slot, Slots};
use super::service::{KeyRequest, answers};
use super::{EXPECTED, VaultKey};
use crate::vault::VaultError;
use crate::vault::disk::{self, ops};

/// A key in an environment variable, in base64. Makes none.
#[derive(Clone, Debug)]
pub struct EnvKey {
    variable: OsString,
}

impl EnvKey {
    /// The key in the variable of this name.
    pub fn new(variable: impl Into<OsString>) -> Self {
        Self { variable: variable.into() }
    }
}

impl Default for EnvKey {
    /// The key in [`VaultKey::VARIABLE`].
    fn default() -> Self {
        Self::new(VaultKey::VARIABLE)
    }
}

answers!(EnvKey);

impl EnvKey {
    pub(crate) fn answer(&self, request: KeyRequest) -> KeyFuture {
        KeyFuture::known(match request {
            KeyRequest::LoadPrevious => Ok(None),
            KeyRequest::Load | KeyRequest::LoadOrCreate => super::from_variable(&self.variable),
        })
    }
}

/// A key in a file of mode 0600, in base64. [`KeyRequest::LoadOrCreate`] makes the file where it is missing, and
/// directories that are missing with mode 0700; however many do so at once, in one process or in many, all get
/// the same key. A file that the group or others may touch is refused, and never changed.
#[derive(Clone, Debug)]
pub struct FileKey {
    path: PathBuf,
}

impl FileKey {
    /// The key in the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a new key in place of the one that is there, which is kept as `<file>.old` until
    /// [`Rotation::finish`]; goes on with what was begun and not finished, with that one's new key. Killed at
    /// any moment, both keys are there, or nothing has begun.
    ///
    /// # Errors
    /// [`VaultError::Locked`] while another one does so, [`VaultError::Key`] where there is no key to change
    /// or the file is not kept safely, [`VaultError::Io`] where a file can't be written.
    pub async fn rotate(&self) -> Result<Rotation, VaultError> {
        Rotation::begin(Arc::new(self.clone())).await
    }

    /// Puts this key there, durably. One that is there already is kept beside it, as `<file>.<its id>`; so is
    /// the one before it, where a change of keys was not finished, which ends thereby. Killed at any moment, the
    /// keys are those that were there, or this one.
    ///
    /// # Errors
    /// As at [`rotate`](Self::rotate); that there is no key is none here.
    pub async fn replace(&self, key: &VaultKey) -> Result<Vec<KeptKey>, VaultError> {
        change::replace(Arc::new(self.clone()), key.clone()).await
    }

    fn path_of(&self, slot: Slot) -> PathBuf {
        with_suffix(&self.path, &slot.suffix())
    }

    pub(in crate::vault) fn load_previous(&self) -> Result<Option<VaultKey>, VaultError> {
        let previous = change::previous(self)?;
        if previous.is_some() {
            // The key that took its place was seen just before, and may be sealed with: were it lost in a power
            // cut, so would be what it seals.
            disk::sync_names(&self.path)?;
        }
        Ok(previous)
    }
}

answers!(FileKey);

impl FileKey {
    pub(crate) fn answer(&self, request: KeyRequest) -> KeyFuture {
        let place = self.clone();
        KeyFuture::working(spawn_blocking(move || match request {
            KeyRequest::Load => super::load(&place.path),
            KeyRequest::LoadOrCreate => super::load_or_create(&place.path).map(Some),
            KeyRequest::LoadPrevious => place.load_previous(),
        }))
    }
}

impl Slots for FileKey {
    fn load(&self, slot: Slot) -> Result<Option<VaultKey>, VaultError> {
        super::load(&self.path_of(slot))
    }

    fn store(&self, slot: Slot, key: &VaultKey) -> Result<(), VaultError> {
        super::write(&self.path_of(slot), key, |file, path| file.replace(path))
    }

    fn add(&self, slot: Slot, key: &VaultKey) -> Result<bool, VaultError> {
        let path = self.path_of(slot);
        disk::make_dir(disk::parent(&path))?;
        disk::sync_way(disk::parent(&path))?;
        super::write(&path, key, |file, path| file.claim(path))
    }

    fn remove(&self, slot: Slot) -> Result<(), VaultError> {
        let path = self.path_of(slot);
        match ops::remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(disk::failed("remove", &path)(error))
            }
            _ => disk::sync_names(&path),
        }
    }

    fn name(&self, slot: Slot) -> String {
        self.path_of(slot).display().to_string()
    }

    fn lock(&self) -> Result<PathBuf, VaultError> {
        disk::make_dir(disk::parent(&self.path))?;
        Ok(with_suffix(&self.path, ".lock"))
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

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

answers!(CommandKey);

impl CommandKey {
    pub(crate) fn answer(&self, request: KeyRequest) -> KeyFuture {
        if request == KeyRequest::LoadPrevious {
            return KeyFuture::known(Ok(None));
        }
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let running = Running::default();
        let child = running.0.clone();
        let (sender, answer) = oneshot::channel();
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
                KeyFuture { state: State::Running { answer, _running: running } }
            }
            Err(error) => {
                let program = self.program.display();
                let reason = format!("the command {program} can't be run: no thread for it ({error})");
                KeyFuture::known(Err(VaultError::Key(reason)))
            }
        }
    }
}

/// A command that is killed when nobody waits for its key any more; not those that it has started.
#[derive(Default)]
struct Running(Arc<Mutex<Option<Child>>>);

impl Drop for Running {
    fn drop(&mut self) {
        // Where the lock is held, the command has closed its output and ends by itself.
        if let Ok(mut child) = self.0.try_lock()
            && let Some(child) = &mut *child
        {
            let _ = child.kill();
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

/// The answer of a place for keys.
pub struct KeyFuture {
    state: State,
}

enum State {
    Known(Option<Result<Option<VaultKey>, VaultError>>),
    Working(JoinHandle<Result<Option<VaultKey>, VaultError>>),
    Running { answer: oneshot::Receiver<Result<Option<VaultKey>, VaultError>>, _running: Running },
}

impl KeyFuture {
    fn known(key: Result<Option<VaultKey>, VaultError>) -> Self {
        Self { state: State::Known(Some(key)) }
    }

    pub(super) fn working(work: JoinHandle<Result<Option<VaultKey>, VaultError>>) -> Self {
        Self { state: State::Working(work) }
    }
}

/// What work on another thread has come to. A panic goes on here.
pub(super) fn joined<T>(done: Result<Result<T, VaultError>, JoinError>) -> Result<T, VaultError> {
    done.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(stopped) => Err(VaultError::Key(format!("the runtime has stopped: {stopped}"))),
    })
}

impl Future for KeyFuture {
    type Output = Result<Option<VaultKey>, VaultError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Known(key) => key.take().map_or(Poll::Pending, Poll::Ready),
            State::Working(work) => Pin::new(work).poll(cx).map(joined),
            State::Running { answer, .. } => Pin::new(answer).poll(cx).map(|answer| {
                answer
                    .unwrap_or_else(|_| Err(VaultError::Key("the command's thread is gone".to_owned())))
            }),
        }
    }
}

impl fmt::Debug for KeyFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFuture").finish_non_exhaustive()
    }
}

//! Child processes of a test. The test binary runs itself again, with the test `a_child_does_its_job` of the same
//! module, whose environment says what to do. Parent and child exchange lines, over the child's stdin and stdout.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::{CommandKey, FileKey, VaultKey};

/// The test that does a child's job, in each module with children.
const TEST: &str = "a_child_does_its_job";

const PREFIX: &str = "TOWER_CREDENTIALS_CHILD_";

/// How long a test waits for a child before it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The beginning of every line of a child, since libtest writes to the same stdout.
const MARK: &str = "> ";

/// Returns libtest's name for a test of a module, given by `module_path!()`, which begins with the crate.
pub(crate) fn test_name(module: &str, test: &str) -> String {
    let (_, module) = module.split_once("::").expect("a module of a test crate");
    format!("{module}::{test}")
}

/// Runs a test again, alone in its own process. Returns whether this is that process.
pub(crate) fn is_alone(module: &str, test: &str) -> bool {
    is_alone_with(module, test, &[])
}

/// As [`is_alone`], with these variables in that process's environment.
pub(crate) fn is_alone_with(module: &str, test: &str, variables: &[(&str, &OsStr)]) -> bool {
    if setting("ALONE").is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &test_name(module, test)]).env(format!("{PREFIX}ALONE"), "1");
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

/// A child's side: its job, or `None` in a parent.
pub(crate) fn job() -> Option<String> {
    setting("JOB")
}

/// A child's side: a setting that its parent has made by [`Job::set`].
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var(format!("{PREFIX}{name}")).ok()
}

/// A child's side: the path of this name.
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(format!("{PREFIX}{name}")).expect("the parent has set it"))
}

/// A child's side: the key of this name. It is in the environment, so that no argument shows it.
pub(crate) fn key(name: &str) -> VaultKey {
    VaultKey::from_base64(&setting(name).expect("the parent has set it")).unwrap()
}

/// A child's side: opens the vault that its parent has named, with the key or the key's place that it has named.
pub(crate) async fn vault() -> FileVault {
    let directory = path("VAULT");
    let vault = match (setting("KEY_FILE"), setting("KEY_COMMAND")) {
        (Some(file), _) => FileVault::open_from(directory, FileKey::new(file)).await,
        (_, Some(script)) => {
            FileVault::open_from(directory, CommandKey::new("sh").args(["-c", &script])).await
        }
        _ => FileVault::open(directory, &key("KEY")).await,
    };
    vault.unwrap()
}

/// A child's side: sends its parent a line, all at once.
pub(crate) fn say(line: impl std::fmt::Display) {
    // Starts a new line, since libtest leaves one open.
    let text = format!("\n{MARK}{line}\n");
    let mut stdout = std::io::stdout().lock();
    if stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_err() {
        // The parent is gone.
        std::process::exit(1);
    }
}

/// A child's side: waits for its parent's next line, and blocks its thread until then. Exits if the parent is gone.
pub(crate) fn hear() -> String {
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(1..) => line.trim_end().to_owned(),
        _ => std::process::exit(1),
    }
}

/// A child's side: waits for its parent's next line. Its tasks go on meanwhile, such as one that holds a lease.
pub(crate) async fn hear_while_working() -> String {
    let (heard, line) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || heard.send(hear()));
    line.await.expect("the thread ends with a line, or the process with it")
}

/// A child's side: works on one thread, and one other for file work.
pub(crate) fn on_two_threads<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().max_blocking_threads(1).build().unwrap().block_on(work)
}

/// A child that has not been started.
pub(crate) struct Job {
    before: Vec<OsString>,
    binary: PathBuf,
    test: String,
    settings: Vec<(String, OsString)>,
}

impl Job {
    /// A job of this name, for the child of the module `module_path!()`.
    pub(crate) fn new(module: &str, name: &str) -> Self {
        let binary = std::env::current_exe().unwrap();
        let test = test_name(module, TEST);
        Self { before: Vec::new(), binary, test, settings: Vec::new() }.set("JOB", name)
    }

    /// Makes a setting, which the child reads by [`setting`].
    pub(crate) fn set(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.settings.push((format!("{PREFIX}{name}"), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn vault(self, directory: &Path, key: &VaultKey) -> Self {
        self.set("VAULT", directory).key("KEY", key)
    }

    pub(crate) fn key(self, name: &str, key: &VaultKey) -> Self {
        self.set(name, key.to_base64().expose())
    }

    /// Starts the child by another program with arguments, such as `strace`.
    pub(crate) fn under(mut self, program: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let program = program.into_iter().map(|part| part.as_ref().to_owned());
        self.before.splice(0..0, program);
        self
    }

    /// Runs another copy of this test binary, for a child that may not run this one.
    pub(crate) fn binary(mut self, binary: &Path) -> Self {
        self.binary = binary.to_owned();
        self
    }

    pub(crate) fn start(self) -> Child {
        let mut words = self.before;
        words.push(self.binary.into_os_string());
        words.extend(["--exact", &self.test, "--nocapture", "--test-threads=1"].map(OsString::from));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).envs(self.settings).env_remove(VaultKey::VARIABLE);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", words[0]));
        let stdout = process.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n') {
                let Ok(line) = line else { return };
                let line = String::from_utf8_lossy(&line).into_owned();
                if let Some(line) = line.strip_prefix(MARK)
                    && sender.send(line.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        let stdin = process.stdin.take();
        Child { process, stdin, lines, reader: Some(reader), heard: Vec::new(), status: None }
    }
}

/// A running child. It is killed when this is dropped.
pub(crate) struct Child {
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
    heard: Vec<String>,
    status: Option<ExitStatus>,
}

impl Child {
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the next line, or `None` after the last one.
    pub(crate) fn next(&mut self) -> Option<String> {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => {
                self.heard.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("the child said nothing for {DEADLINE:?}, and before: {:?}", self.heard)
            }
        }
    }

    /// Waits for this line, and skips the lines before it.
    pub(crate) fn wait_for(&mut self, line: &str) {
        while let Some(said) = self.next() {
            if said == line {
                return;
            }
        }
        panic!("the child ended without {line:?}, and said: {:?}", self.heard);
    }

    /// Waits for a line with this beginning. Returns the rest of it.
    pub(crate) fn wait_for_one_of(&mut self, beginning: &str) -> String {
        while let Some(said) = self.next() {
            if let Some(rest) = said.strip_prefix(beginning) {
                return rest.trim().to_owned();
            }
        }
        panic!("the child ended without {beginning:?}, and said: {:?}", self.heard);
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("its stdin is open");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("the child listens");
    }

    /// Closes its stdin.
    pub(crate) fn hang_up(&mut self) {
        self.stdin = None;
    }

    /// Sends the signal of this name.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Sends SIGKILL, and waits for the child's end.
    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        self.status = Some(self.process.wait().unwrap());
    }

    /// Waits for the child's own end. Returns its lines and its exit status.
    pub(crate) fn end(mut self) -> (Vec<String>, ExitStatus) {
        let deadline = Instant::now() + DEADLINE;
        // Its stdout ends when it does.
        while self.next().is_some() {}
        let status = loop {
            match self.status.map_or_else(|| self.process.try_wait().unwrap(), Some) {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("the child does not end"),
                None => std::thread::yield_now(),
            }
        };
        self.status = Some(status);
        (std::mem::take(&mut self.heard), status)
    }

    /// Waits for the child's successful end. Returns its lines.
    pub(crate) fn succeed(self) -> Vec<String> {
        let (heard, status) = self.end();
        assert!(status.success(), "the child ended with {status}, and said: {heard:?}");
        heard
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        // Its stdout is closed now, unless it has left children of its own, which nobody waits for.
        if let Some(reader) = self.reader.take().filter(JoinHandle::is_finished) {
            let _ = reader.join();
        }
    }
}

/// Repeats an attempt until it returns something. Panics after the deadline.
pub(crate) async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns every file and directory below this one, with itself.
pub(crate) fn all_below(root: &Path) -> Vec<PathBuf> {
    let (mut all, mut at) = (vec![root.to_owned()], 0);
    while let Some(path) = all.get(at).cloned() {
        at += 1;
        if path.is_dir() {
            // A directory that is removed meanwhile counts as empty.
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            all.extend(entries.map(|entry| entry.path()));
        }
    }
    all
}

/// Returns the temporary files below a directory.
pub(crate) fn temporary_files(root: &Path) -> Vec<PathBuf> {
    let mut all = all_below(root);
    all.retain(|path| path.extension().is_some_and(|extension| extension == "tmp"));
    all
}

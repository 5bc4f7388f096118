//! The program `credentials` as a process, in a home of its own.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod accounts;
pub mod login;
pub mod tested;
pub mod vault;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rexpect::session::{PtySession, spawn_command};
use tempfile::TempDir;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::{Credential, Metadata, PoolKey, Secret};

/// How long anything is waited for; nothing should ever take it.
pub const PATIENCE: Duration = Duration::from_secs(60);

const PROGRAM: &str = env!("CARGO_BIN_EXE_credentials");

/// A home directory, in which the program runs with nothing of the machine's environment.
pub struct Home {
    directory: TempDir,
    /// What no output may have in it.
    secrets: Mutex<Vec<String>>,
    variables: Vec<(String, String)>,
}

impl Home {
    pub fn new() -> Self {
        let directory = TempDir::new().unwrap();
        Self { directory, secrets: Mutex::default(), variables: Vec::new() }
    }

    /// With an environment variable.
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.into()));
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// One with a copy of a vault of an older version.
    pub fn with_fixture(name: &str) -> Self {
        let home = Self::new();
        let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        home.secret(key);
        fs::create_dir_all(home.config_directory()).unwrap();
        fs::write(home.key_file(), key).unwrap();
        fs::set_permissions(home.key_file(), fs::Permissions::from_mode(0o600)).unwrap();
        let vault = home.vault_directory();
        fs::create_dir_all(vault.parent().unwrap()).unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let status = Command::new("cp").arg("-a").arg(fixture).arg(vault).status();
        assert!(status.unwrap().success());
        home
    }

    pub fn vault_directory(&self) -> PathBuf {
        self.path().join(".local/share/tower-credentials/vault")
    }

    pub fn config_directory(&self) -> PathBuf {
        self.path().join(".config/tower-credentials")
    }

    pub fn key_file(&self) -> PathBuf {
        self.config_directory().join("vault.key")
    }

    pub fn cache_directory(&self) -> PathBuf {
        self.path().join(".cache/tower-credentials")
    }

    pub fn settings_file(&self) -> PathBuf {
        self.config_directory().join("config.toml")
    }

    /// Writes the settings file, which is nobody else's whatever the umask.
    pub fn settings(&self, toml: &str) {
        fs::create_dir_all(self.config_directory()).unwrap();
        fs::set_permissions(self.config_directory(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(self.settings_file(), toml).unwrap();
        fs::set_permissions(self.settings_file(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// No output may have this text in it from here on.
    pub fn secret(&self, text: &str) {
        self.secrets.lock().unwrap().push(text.to_owned());
    }

    /// A key in a file of its own, which no output may show.
    pub fn new_key(&self, name: &str) -> (PathBuf, VaultKey) {
        let (path, key) = (self.path().join(name), VaultKey::generate());
        fs::write(&path, key.to_base64().expose()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self.secret(key.to_base64().expose());
        (path, key)
    }

    /// The vault of this home, as another program opens it.
    pub async fn vault(&self) -> FileVault {
        let key = VaultKey::load_or_create(self.key_file()).await.unwrap();
        FileVault::open(self.vault_directory(), &key).await.unwrap()
    }

    /// Stores an API key, as another program does.
    pub async fn add(&self, provider: &str, label: &str, key: &str) -> Metadata {
        self.add_to(PoolKey::new(provider), label, Secret::api_key(key)).await
    }

    /// Stores a secret, as another program does.
    pub async fn add_to(&self, pool: PoolKey, label: &str, secret: impl Into<Secret>) -> Metadata {
        let secret = secret.into();
        self.secret(secret.token().expose());
        if let Some(refresh) = secret.refresh_token() {
            self.secret(refresh.expose());
        }
        self.vault().await.put(Credential::new(pool, label, secret)).await.unwrap()
    }

    /// The program with these arguments, ready to be run.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.command_of(PROGRAM);
        command.args(arguments);
        command
    }

    /// A shell's script, with `$0` as the program; what is added are its arguments.
    pub fn script(&self, shell: &str, script: &str) -> Command {
        let mut shell = self.command_of(shell);
        shell.args(["-c", script, PROGRAM]);
        shell
    }

    /// Any program, in this home.
    pub fn command_of(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path()).env_clear();
        command.env("HOME", self.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command
    }

    /// Runs the program to its end, without a terminal and with nothing to read. Blocks: a server in the test
    /// needs a runtime with another thread.
    #[track_caller]
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        self.run_with(arguments, "")
    }

    /// Runs the program to its end with this text on its standard input.
    #[track_caller]
    pub fn run_with<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>, input: &str) -> Run {
        let run = self.run_showing(arguments, input);
        self.check(&run.stdout);
        self.check(&run.stderr);
        run
    }

    /// As [`run_with`](Self::run_with), for a command that must show a secret.
    #[track_caller]
    pub fn run_showing<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: &str,
    ) -> Run {
        let mut command = self.command(arguments);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        // One that has failed before it reads has closed its end.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Run::of(child.wait_with_output().unwrap())
    }

    /// Fails if a secret is in the text.
    #[track_caller]
    pub fn check(&self, text: &str) {
        for secret in self.secrets.lock().unwrap().iter() {
            assert!(!text.contains(secret.as_str()), "a secret was shown: {text}");
        }
    }

    /// Runs the program in a terminal.
    pub fn terminal<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> PtySession {
        in_terminal(self.command(arguments))
    }

    /// Runs the program in a terminal of so many columns.
    pub fn terminal_of<A: AsRef<OsStr>>(
        &self,
        columns: usize,
        arguments: impl IntoIterator<Item = A>,
    ) -> PtySession {
        let mut shell = self.script("sh", &format!("stty rows 24 cols {columns}; exec \"$0\" \"$@\""));
        shell.args(arguments);
        in_terminal(shell)
    }
}

fn in_terminal(mut command: Command) -> PtySession {
    command.env("TERM", "xterm");
    spawn_command(command, Some(PATIENCE.as_millis() as u64)).unwrap()
}

/// Asks again until there is a result: no event tells what another process has done.
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(result) = ask() {
            return result;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A program that has ended.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// That it ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// That it ended with this code, and, if that tells of a failure, with a word about it and nothing on its
    /// standard output.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(code == 0 || !self.stderr.is_empty(), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }

    /// That its standard error has this in it.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} in {self:#?}");
        self
    }

    /// That its standard output has this in it.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "no {text:?} in {self:#?}");
        self
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// The rest of what a terminal shows, and the exit code.
#[track_caller]
pub fn end_of(mut terminal: PtySession) -> (String, i32) {
    // It hands out each byte as a letter.
    let bytes = terminal.exp_eof().unwrap().chars().map(|byte| u8::try_from(byte).unwrap()).collect();
    let shown = String::from_utf8(bytes).unwrap();
    match terminal.process().wait().unwrap() {
        rexpect::process::WaitStatus::Exited(_, code) => (shown, code),
        other => panic!("{other:?}: {shown}"),
    }
}
